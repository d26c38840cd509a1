"""A container being written: under a `.part` name until it is whole, playable at any moment, then renamed at once.

MP4 and MOV are written in fragments, so that a crash leaves a file that plays to its last second; at the end the
packets are copied into a plain file with its index in front. Matroska and WebM play from a cut-off file as they are.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.stream

from .description import Chapter, WriteFailed
from .presets import Container

log = logging.getLogger(__name__)

FRAGMENT_SECONDS = 1
FRAGMENTED = {"movflags": "frag_keyframe+delay_moov+use_metadata_tags", "frag_duration": str(FRAGMENT_SECONDS * 10**6)}
# edit lists in ticks of 1/90000 s: the default of 1/1000 would round the start of a late sound track
PLAIN = {"movflags": "faststart+use_metadata_tags", "movie_timescale": "90000"}
SETTLING_RESERVE = 1.02  # room for the second copy's index
DEFAULT_DISPOSITION = 1  # AV_DISPOSITION_DEFAULT; both PyAV versions take the number
REMEDIES = {
    errno.ENOSPC: "the disk is full. Free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up. Free some space or choose another folder",
    errno.EFBIG: "the file grew larger than this disk allows. Choose another disk or a smaller format",
    errno.EACCES: "the folder may not be written to. Choose another folder",
    errno.EPERM: "the folder may not be written to. Choose another folder",
    errno.EROFS: "the disk is read-only. Choose another folder",
    errno.ENOENT: "the folder does not exist. Create it or choose another one",
    errno.ENOTDIR: "the folder does not exist. Create it or choose another one",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
}


@dataclass(frozen=True)
class Label:
    """What a stream says about itself."""

    tags: Mapping[str, str]
    is_default: bool = True


class Muxer:
    """Takes packets for one output file. Nothing appears under `path` before close() has succeeded."""

    def __init__(self, path: Path, container: Container, tags: Mapping[str, str],
                 options: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self.path = path
        self.container = container
        self.notes: list[str] = []
        self._tags = dict(tags) if container.has_tags else {}
        self._labels: list[Label] = []
        self._last: dict[int, tuple[Fraction, Fraction]] = {}  # by stream: when the last frame is shown, how long
        self._part = path.with_name(path.name + ".part")
        settings = dict(options or {}) | (FRAGMENTED if container.is_fragmented else {})
        with reporting(path):
            self._file = self._part.open("wb")
            self.output = av.open(self._file, "w", format=container.muxer, container_options=settings)
        self.output.metadata.update(self._tags)

    def add_encoder(self, codec: str, rate: Fraction | int, label: Label) -> av.stream.Stream:
        """A stream whose packets come from an encoder of this process; not opened yet."""
        return self._labelled(self.output.add_stream(codec, rate=rate), label)

    def add_copy(self, template: av.stream.Stream, label: Label) -> av.stream.Stream:
        """A stream whose packets come from another file unchanged."""
        return self._labelled(_add_copy(self.output, template), label)

    def mux(self, packet: av.Packet) -> None:
        """Write a packet whose stream is one of this file's."""
        if packet.pts is not None and packet.duration:
            shown = packet.pts * packet.time_base
            if shown >= self._last.get(packet.stream_index, (shown, shown))[0]:
                self._last[packet.stream_index] = (shown, packet.duration * packet.time_base)
        with reporting(self.path):
            self.output.mux(packet)

    def close(self, chapters: Sequence[Chapter] = ()) -> None:
        """Finish the file and give it its name."""
        with reporting(self.path):
            if chapters and not self.container.is_fragmented and self.container.has_tags:
                self.output.set_chapters(_as_dicts(chapters))
            self.output.close()
            _close_safely(self._file)
            finished = self._settle(chapters) if self.container.is_fragmented else self._part
            os.replace(finished, self.path)
            self._part.unlink(missing_ok=True)

    def abort(self) -> None:
        """Give up; nothing is left behind."""
        with suppress(Exception):  # the reason for giving up is already on its way
            self.output.close()
        with suppress(OSError):
            self._file.close()
        for leftover in (self._part, self._settled):
            leftover.unlink(missing_ok=True)

    @property
    def _settled(self) -> Path:
        return self.path.with_name(self.path.name + ".final.part")

    def _labelled(self, stream: av.stream.Stream, label: Label) -> av.stream.Stream:
        _apply(label, stream)
        self._labels.append(label)
        return stream

    def _settle(self, chapters: Sequence[Chapter]) -> Path:
        """Copy the fragments into a plain file; keeps them, saying so, where the disk has no room for both."""
        if shutil.disk_usage(self.path.parent).free < self._part.stat().st_size * SETTLING_RESERVE:
            self.notes.append("The disk had no room to move the index to the front: the file is left in fragments.")
            return self._part
        with av.open(f"file:{self._part}") as source, self._open_plain() as output:
            output.metadata.update(self._tags)
            streams = [_add_copy(output, stream) for stream in source.streams]
            for template, stream, label in zip(source.streams, streams, self._labels, strict=True):
                stream.codec_context.codec_tag = template.codec_context.codec_tag  # hvc1, ap4h: same container
                _apply(label, stream)
            if chapters:
                output.set_chapters(_as_dicts(chapters))
            for packet in source.demux():
                if packet.size and packet.dts is not None:
                    self._restore_duration(packet)
                    packet.stream = streams[packet.stream_index]
                    output.mux(packet)
        _sync(self._settled)
        return self._settled

    def _restore_duration(self, packet: av.Packet) -> None:
        """Fragments keep steps between decoding times: how long the last frame is shown is not among them."""
        shown, lasts = self._last.get(packet.stream_index, (None, None))
        if lasts is not None and packet.pts is not None and packet.pts * packet.time_base == shown:
            packet.duration = round(lasts / packet.time_base)

    def _open_plain(self) -> av.container.OutputContainer:
        # a name, not a file object: the index is moved by reading the file back under its name
        return av.open(f"file:{self._settled}", "w", format=self.container.muxer, container_options=PLAIN)


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn what the disk or the muxer says into WriteFailed with the file's name and what to do."""
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        reason = REMEDIES.get(error.errno or 0) or f"{error.strerror or error}"
        raise WriteFailed(f"{path.name} could not be written in {path.parent}: {reason}.") from error


def _add_copy(output: av.container.OutputContainer, template: av.stream.Stream) -> av.stream.Stream:
    # opaque: parameters are taken as they are; otherwise PyAV 16 opens an encoder and its header replaces the source's
    stream = output.add_stream_from_template(template, opaque=True)
    stream.time_base = template.time_base
    return stream


def _apply(label: Label, stream: av.stream.Stream) -> None:
    stream.metadata.update(label.tags)
    stream.disposition = DEFAULT_DISPOSITION if label.is_default else 0  # pyright: ignore[reportAttributeAccessIssue]


def _as_dicts(chapters: Sequence[Chapter]) -> list[av.container.core.Chapter]:
    tick = Fraction(1, 1000)
    return [
        {"id": number, "start": round(chapter.start / tick), "end": round(chapter.end / tick), "time_base": tick,
         "metadata": {"title": chapter.title}}
        for number, chapter in enumerate(chapters, 1)
    ]  # fmt: skip


def _close_safely(file) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
