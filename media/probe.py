"""What a clip is, found out in about a second whatever its length."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.stream
import av.video.stream
from av.audio.stream import AudioStream
from av.sidedata.sidedata import SideData

from . import deinterlace, dolby_vision
from .colour import ColourTags, bit_depth, decide_colour, has_alpha
from .decode import TIME_UNIT, UNTIMED_CONTAINERS, states_own_length
from .description import AudioTrack, Chapter, Colour, MediaInfo, NoVideo, SubtitleTrack, Unsupported
from .mastering import mastering_of
from .opacity import is_labelled
from .pictures import is_picture, probe_picture
from .sampling import Look, sample
from .source import check_size, dvd_title_parts, open_container, resolve
from .timing import Timing, measure_timing, snap_rate

LOCATION_TAGS = ("location", "com.apple.quicktime.location.ISO6709", "location-eng")
TIME_TAGS = ("com.apple.quicktime.creationdate", "creation_time", "DATE_RECORDED", "date")
UPRIGHT_TOLERANCE = 1.0  # degrees


def probe(path: str | Path, allowed: Sequence[str | Path] | None = None) -> MediaInfo:
    """What a file, a VIDEO_TS folder or a folder of images is; `allowed` limits the folders it may lie in.

    Raises a MediaError that says what is wrong and what to do.
    """
    found = resolve(path, allowed)
    if found.is_dir():
        return _probe_video(found) if dvd_title_parts(found) else probe_picture(found)
    if found.is_file() and found.stat().st_size and is_picture(found):
        return probe_picture(found)
    return _probe_video(found)


def count_frames(path: str | Path, info: MediaInfo | None = None) -> int:
    """The exact number of frames a video will show, by reading all of its packets without decoding them.

    `info` saves probing again.
    """
    info = info or probe(path)
    if info.frame_count_exact and info.frame_count is not None:
        return info.frame_count
    with open_container(info.path) as container:
        stream = container.streams[info.stream_index]
        return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)


def video_stream(container: av.container.InputContainer, name: str) -> av.video.stream.VideoStream:
    """The stream to read: the default one, else the largest, never a cover picture. Raises NoVideo."""
    streams = [one for one in container.streams.video if not _has(one, _ATTACHED) and not is_labelled(one.metadata)]
    if not streams:
        what = "sound but no picture" if container.streams.audio else "no picture"
        raise NoVideo(f"{name} holds {what}. Choose a file with video in it.")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise Unsupported(f"{name}: this build of FFmpeg has no decoder for its video. Convert it first.")
    return max(readable, key=lambda stream: (_has(stream, _DEFAULT), stream.width * stream.height))


_DEFAULT, _ATTACHED = 1, 1 << 10  # FFmpeg's AV_DISPOSITION flags; PyAV's own type differs between versions


def _probe_video(path: Path) -> MediaInfo:
    with open_container(path, to_decode=True) as container:
        stream = video_stream(container, path.name)
        check_size(stream.width, stream.height, path.name)
        refuse_dolby_vision(path, container, stream)
        look, runs, counted = sample(path, container, stream)
        return _describe(path, container, stream, look, runs, counted)


def refuse_dolby_vision(path: Path, container: av.container.InputContainer,
                        stream: av.video.stream.VideoStream) -> str | None:  # fmt: skip
    """The Dolby Vision profile as in "8.4", or None. Raises Unsupported where there is no base layer to read."""
    profile = None if path.is_dir() else dolby_vision.find_profile(path, _short_name(container))
    tag = str(stream.codec_tag or "").lower()
    if profile is None and tag in dolby_vision.SAMPLE_ENTRIES:
        profile = (5, 0)  # tracks that carry this code have no other base layer unless their record says so
    if profile is None:
        return None
    if profile[0] in dolby_vision.WITHOUT_BASE_LAYER:
        raise Unsupported(
            f"{path.name} is Dolby Vision profile {profile[0]}, whose picture is not readable without Dolby's own"
            " processing (it would come out green and purple). Export it as HDR10, HLG or SDR, or as profile 8."
        )
    return f"{profile[0]}.{profile[1]}"


def _describe(path: Path, container: av.container.InputContainer, stream: av.video.stream.VideoStream, look: Look,
              runs: list[list[int]], counted: int | None) -> MediaInfo:  # fmt: skip
    frame, context = look.frame, stream.codec_context
    notes: list[str] = []
    base = stream.time_base or TIME_UNIT
    turn, is_mirrored = _orientation(frame, notes)
    codec = context.codec.canonical_name
    aspect = _sample_aspect(stream)
    coded = (frame.width, frame.height)
    size = coded
    if turn % 180:
        size, aspect = (coded[1], coded[0]), 1 / aspect
    tags = dict(container.metadata)
    ticks = _origin_tick(frame, stream)
    timing = _timing(look, runs, base, stream)
    finding = _scan(look, base)
    if finding.scan == "soft film":
        timing = Timing(Fraction(24000, 1001), False)
    start = ticks * base
    duration = _duration(container, stream, start)
    count, is_exact = _count(stream, timing, duration, counted)
    opacity = next((one.index for one in container.streams.video if is_labelled(one.metadata)), None)
    has_opacity = opacity is not None or has_alpha(frame.format.name) or stream.metadata.get("alpha_mode") == "1"
    return MediaInfo(
        path=path, kind="video", container=_short_name(container), codec=codec, pixel_format=frame.format.name,
        stream_index=stream.index, coded_size=coded, size=size, square_size=square_size(size, aspect),
        sample_aspect=aspect, rotation=turn, is_mirrored=is_mirrored, rate=timing.rate, is_vfr=timing.is_vfr,
        time_base=base, start=start, duration=duration or (count / timing.rate if count else None),
        frame_count=count, frame_count_exact=is_exact,
        colour=_colour(stream, frame, coded, tags),
        bit_depth=bit_depth(frame.format.name), has_alpha=has_opacity, alpha_index=opacity, scan=finding.scan,
        top_field_first=finding.top_field_first, audio=tuple(_audio_track(one) for one in container.streams.audio),
        subtitles=tuple(_subtitle_track(one) for one in container.streams.subtitles),
        chapters=_chapters(container, start), tags=tags, creation_time=_first_tag(tags, TIME_TAGS),
        location=_first_tag(tags, LOCATION_TAGS), dolby_vision=refuse_dolby_vision(path, container, stream),
        notes=tuple(notes),
    )  # fmt: skip


def square_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """The size with square pixels that loses none: the narrow direction grows, to an even number."""
    width, height = size
    if aspect > 1:
        return 2 * round(width * aspect / 2), height
    return (width, 2 * round(height / aspect / 2)) if aspect < 1 else size


def _scan(look: Look, base: Fraction) -> deinterlace.ScanFinding:
    if deinterlace.is_soft_film(look.ticks, base):
        return deinterlace.ScanFinding("soft film", True)
    return deinterlace.detect_scan(look.runs, look.flagged, look.top_first)


def _timing(look: Look, runs: list[list[int]], base: Fraction, stream: av.video.stream.VideoStream) -> Timing:
    stated = [stream.average_rate, stream.guessed_rate]
    if stream.container.format.name in UNTIMED_CONTAINERS:
        stated.reverse()  # their average is libavformat's assumption, the guess is the codec's word
    timing = measure_timing(runs, base, stated)
    seen = measure_timing([look.ticks], base, [])
    if len(look.ticks) > 2 and not seen.is_vfr and 1.9 < timing.rate / seen.rate < 2.1:
        return measure_timing([look.ticks], base, [timing.rate / 2])  # packets were single fields
    return replace(timing, rate=snap_rate(timing.rate)) if not timing.is_vfr else timing


def _orientation(frame: av.VideoFrame, notes: list[str]) -> tuple[int, bool]:
    """Counter-clockwise turn and mirroring that show the picture upright, from its display matrix."""
    parts: Iterable[SideData] = frame.side_data  # pyright: ignore[reportAssignmentType]
    matrix = next((bytes(part) for part in parts if part.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    across, down, _, across_y, down_y = struct.unpack("=5i", matrix[:20])
    is_mirrored = across * down_y - down * across_y < 0
    angle = math.degrees(math.atan2(across_y, down_y))
    turn = round(angle / 90) * 90
    if abs(angle - turn) > UPRIGHT_TOLERANCE:
        notes.append(f"The file asks for a turn of {angle:.0f}°; only quarter turns are applied.")
        return 0, False
    return turn % 360, is_mirrored


def _sample_aspect(stream: av.video.stream.VideoStream) -> Fraction:
    aspect = stream.sample_aspect_ratio
    # beyond 4:1 no format exists: a damaged header
    return Fraction(aspect) if aspect and Fraction(1, 4) <= aspect <= 4 else Fraction(1)


def _colour(stream: av.video.stream.VideoStream, frame: av.VideoFrame, coded: tuple[int, int],
            tags: dict[str, str]) -> Colour:  # fmt: skip
    codec = stream.codec_context.codec.canonical_name
    colour = decide_colour(_colour_tags(stream, frame), frame.format.name, codec, coded, tags)
    return replace(colour, mastering=mastering_of(frame)) if colour.is_hdr else colour


def _colour_tags(stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> ColourTags:
    context = stream.codec_context
    matrix = int(frame.colorspace) if int(frame.colorspace) != 2 else int(context.colorspace)
    range_ = int(frame.color_range) or int(context.color_range)
    return ColourTags(matrix, int(context.color_primaries), int(context.color_trc), range_)


def _origin_tick(frame: av.VideoFrame, stream: av.video.stream.VideoStream) -> int:
    if frame.pts is not None:
        return frame.pts
    return frame.dts if frame.dts is not None else stream.start_time or 0


def _duration(container: av.container.InputContainer, stream: av.video.stream.VideoStream,
              start: Fraction) -> Fraction | None:  # fmt: skip
    """Length of the video: its own where stated, else the container's from the first frame on."""
    if _short_name(container) == "avi" and stream.frames and stream.average_rate:
        return stream.frames / Fraction(stream.average_rate)  # libavformat shortens a cut-off file's other length
    if stream.duration is not None and stream.time_base:
        # a stream's length counts from its own first stamp, which an edit list may hide
        skipped = start - (stream.start_time or 0) * stream.time_base if stream.start_time is not None else 0
        return max(stream.duration * stream.time_base - skipped, Fraction(0)) or None
    if states_own_length(stream):
        end = _clock(stream.metadata["DURATION"])
        return end - start if end is not None and end > start else None
    if container.duration is None or container.duration <= 0:
        return None
    skipped = max(Fraction(0), start - (container.start_time or 0) * TIME_UNIT)
    return max(container.duration * TIME_UNIT - skipped, Fraction(0)) or None


def _clock(text: str) -> Fraction | None:
    """Seconds of Matroska's 00:01:02.345000000."""
    try:
        hours, minutes, seconds = text.strip().split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None


def _count(stream: av.video.stream.VideoStream, timing: Timing, duration: Fraction | None,
           counted: int | None) -> tuple[int | None, bool]:  # fmt: skip
    if counted:
        return counted, True
    estimate = round(duration * timing.rate) if duration else None
    if stream.frames and (estimate is None or timing.is_vfr):
        return stream.frames, False
    return estimate, bool(estimate) and estimate == stream.frames and not timing.is_vfr


def _audio_track(stream: AudioStream) -> AudioTrack:
    base = stream.time_base or TIME_UNIT
    track = AudioTrack(
        index=stream.index, codec="unknown", rate=0, channels=0, layout="", start=(stream.start_time or 0) * base,
        duration=None if stream.duration is None else stream.duration * base, bit_rate=None,
        language=_language(stream), title=stream.metadata.get("title"),
        is_default=_has(stream, _DEFAULT), is_decodable=False,
    )  # fmt: skip
    context = stream.codec_context
    if context is None:
        return track  # no decoder in this build, such as Apple's spatial sound
    return replace(track, codec=context.codec.canonical_name, rate=context.sample_rate or 0,
                   channels=context.layout.nb_channels, layout=context.layout.name, bit_rate=context.bit_rate,
                   is_decodable=bool(context.sample_rate and context.layout.nb_channels))  # fmt: skip


def _has(stream: av.stream.Stream, flag: int) -> bool:
    disposition = stream.disposition
    return bool(getattr(disposition, "value", disposition) & flag)


def _subtitle_track(stream: av.stream.Stream) -> SubtitleTrack:
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else "unknown"
    is_default = _has(stream, _DEFAULT)
    return SubtitleTrack(stream.index, codec, _language(stream), stream.metadata.get("title"), is_default)


def _language(stream: av.stream.Stream) -> str | None:
    language = stream.metadata.get("language")
    return None if language in (None, "", "und") else language


def _chapters(container: av.container.InputContainer, start: Fraction) -> tuple[Chapter, ...]:
    chapters = []
    for one in container.chapters():
        base = Fraction(one["time_base"] or TIME_UNIT)
        begin, end = (max(Fraction(0), one[side] * base - start) for side in ("start", "end"))
        chapters.append(Chapter(begin, end, one["metadata"].get("title", "")))
    return tuple(chapters)


def _first_tag(tags: dict[str, str], names: Sequence[str]) -> str | None:
    known = {key.lower(): text for key, text in tags.items()}  # Matroska spells them in capitals
    return next((known[name.lower()] for name in names if known.get(name.lower())), None)


def _short_name(container: av.container.InputContainer) -> str:
    return container.format.name.split(",")[0]
