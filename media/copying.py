"""A clip into another container, or beside other sound, without encoding its pictures again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.video.stream

from .description import MediaInfo, WriteFailed
from .muxing import Label, Muxer, reporting
from .output import Sound, Tagging, Written
from .presets import MKV, MOV, MP4, WEBM, Container
from .remux import Companions
from .sinks import ALPHA_LABEL
from .source import open_container
from .tags import container_tags, moved_chapters

CONTAINERS = {container.suffix: container for container in (MP4, MOV, MKV, WEBM)}
# codecs whose packets each container takes, and players of it know
PICTURES = {
    ".mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"},
    ".mov": {"h264", "hevc", "prores", "mjpeg", "dnxhd", "mpeg4", "mpeg2video"},
    ".webm": {"vp8", "vp9", "av1"},
}


def copy(path: str | Path, info: MediaInfo, sound: Sound | None = None, tagging: Tagging | None = None) -> Written:
    """Copy the pictures of a probed file, whole, packet by packet, with its own sound or another.

    Stamps stay what they are, moved so that the first frame is shown at zero. Raises WriteFailed where the container
    cannot hold the pictures.
    """
    target = Path(path)
    container = _container_for(target, info)
    own = Sound(info.path, info.audio, info.start)
    tagging = tagging or Tagging(info, Fraction(0), info.workflow)
    tags, lost = container_tags(tagging, container)
    muxer = Muxer(target, container, tags)
    try:
        with open_container(info.path) as source:
            frames, end, notes = _copy(source, info, muxer, sound or own, tagging)
        muxer.close(moved_chapters(info.chapters, tagging.start, end))
    except BaseException:
        muxer.abort()
        raise
    return Written(target, info.coded_size, frames, end, info.pixel_format, (*lost, *notes, *muxer.notes))


def _container_for(path: Path, info: MediaInfo) -> Container:
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise WriteFailed(f"Copies are written as {', '.join(CONTAINERS)}; got {path.suffix!r}.")
    if info.kind != "video":
        raise WriteFailed(f"{info.path.name} is no video file: choose a format to encode it.")
    if info.codec not in PICTURES.get(container.suffix, {info.codec}):
        raise WriteFailed(f"{container.suffix} does not take {info.codec} pictures. Copy to .mkv, or choose a format.")
    return container


def _copy(source: av.container.InputContainer, info: MediaInfo, muxer: Muxer, sound: Sound,
          tagging: Tagging) -> tuple[int, Fraction, list[str]]:  # fmt: skip
    """(frames, end in seconds, notes) after all packets of the picture streams went over."""
    streams = _picture_streams(source, info)
    labels = [Label({}), ALPHA_LABEL][: len(streams)]
    targets = {stream.index: muxer.add_copy(stream, label) for stream, label in zip(streams, labels, strict=True)}
    companions = Companions(muxer, sound, tagging.source, info.duration)
    frames, end = 0, Fraction(0)
    with reporting(muxer.path):
        for packet in source.demux(streams):
            if not packet.size or packet.pts is None or packet.dts is None:
                continue
            tick = packet.time_base
            shift = round(info.start / tick)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.stream.index == info.stream_index and packet.pts >= 0:
                frames += 1
                end = max(end, (packet.pts + (packet.duration or 0)) * tick)
            companions.advance(packet.dts * tick)
            packet.stream = targets[packet.stream.index]
            muxer.mux(packet)
        end = info.duration or end
        companions.finish(end)
        companions.close()
    return frames, end, companions.notes


def _picture_streams(source: av.container.InputContainer, info: MediaInfo) -> list[av.video.stream.VideoStream]:
    alpha = [stream for stream in source.streams.video if stream.metadata.get("handler_name") == "alpha"]
    main = [stream for stream in source.streams.video if stream.index == info.stream_index]
    return main + alpha[:1]
