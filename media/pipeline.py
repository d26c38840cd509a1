"""The stages between a file and a batch: decode → deinterlace → window → rate, skip, every, cap → convert.

Each stage is a generator that pulls from the one before, so nothing is decoded that is not asked for.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np

from .colour import override_colour
from .convert import RgbConverter
from .decode import FrameDecoder
from .deinterlace import Deinterlace, deinterlace_filters, deinterlaced, deinterlaced_rate, film_timed
from .description import MediaInfo
from .filling import Batch, Filler, Write
from .opacity import Paired, paired, write_opacity
from .pictures import PictureSource, write_picture
from .selection import Selection, Timed, expected_frames, thinned, within
from .source import check_size
from .timing import to_tick

BATCH_BYTES = 7 << 20  # one frame at 1080p in 8 bit: reading and writing together stay under 400 MB
MOST_FRAMES_PER_BATCH = 16
# pulldown removal and deinterlacing look at neighbours: decode from this much before a window
FILTER_LEAD = Fraction(1, 2)  # seconds


@dataclass(frozen=True)
class Treatment:
    """How frames are prepared; the words are those of the node."""

    deinterlace: Deinterlace = "auto"
    pixel_aspect: Literal["square", "keep"] = "square"
    color_matrix: Literal["auto", "bt601", "bt709", "bt2020"] = "auto"
    color_range: Literal["auto", "limited", "full"] = "auto"
    bits: Literal[8, 16] | None = None  # None: 8 for 8-bit sources, 16 for deeper ones


PLAIN = Treatment()


class Pipeline:
    """All stages for one reading; what they learn on the way (`first`, `skipped`, `end`) fills while batches go out."""

    def __init__(self, info: MediaInfo, selection: Selection, treatment: Treatment, alpha: bool) -> None:
        self.info, self.selection, self.alpha = info, selection, alpha
        self.colour = override_colour(info.colour, treatment.color_matrix, treatment.color_range)
        self.kind = np.dtype(np.uint16 if (treatment.bits or info.bit_depth) > 8 else np.uint8)
        self.is_square = treatment.pixel_aspect == "square"
        self.size = info.square_size if self.is_square else info.size
        check_size(*self.size, info.path.name)
        is_video = info.kind == "video"
        self.opacity = None  # the decoder of the stream that holds it, where there is one
        if alpha and info.alpha_index is not None:
            self.opacity = FrameDecoder(info.path, replace(info, stream_index=info.alpha_index))
            treatment = replace(treatment, deinterlace="off")  # such files are written here and hold whole frames
        self.filters = deinterlace_filters(treatment.deinterlace, info.scan, info.top_field_first) if is_video else []
        self.is_film = info.scan == "soft film" or any(name == "decimate" for name, _ in self.filters)
        self.source_rate = deinterlaced_rate(self.filters, info.rate)
        # two frames from one need ticks half as long
        self.base = info.time_base / 2 if self.source_rate > info.rate else info.time_base
        self.source = FrameDecoder(info.path, info) if is_video else PictureSource(info.path, info)
        self.first: int | None = None  # tick of the window's first frame since the first displayed one
        self.skipped = 0  # ticks of the result from there to the first delivered frame
        self.end: Fraction | None = None  # of the last delivered frame, seconds on the clock of the result's pts

    def stop(self) -> None:
        """End the frames soon, also where many are passed over undelivered; for another thread to call."""
        for source in (self.source, self.opacity):
            if isinstance(source, FrameDecoder):
                source.stop.set()

    @property
    def time_base(self) -> Fraction:
        """Of the pts delivered."""
        return self.selection.time_base(self.base)

    @property
    def start(self) -> Fraction:
        """Seconds from the first displayed frame to the first delivered one."""
        return (self.first or 0) * self.base + self.skipped * self.time_base

    def expected(self) -> int | None:
        """How many frames should come out, None when the source does not say how long it is."""
        count = self.info.frame_count
        if count is not None:
            count = round(count * self.source_rate / self.info.rate)
        return expected_frames(self.selection, self.source_rate, self.info.duration, count)

    def batches(self, per_batch: int | None) -> Generator[Batch]:
        """Filled batches with pts from zero."""
        count = per_batch or self._default_batch()
        filler = Filler(count, self._allocate, partial(self._writer, count))
        with closing(filler):
            for frame in self._wanted():
                tick = frame.tick - self.skipped
                self.end = (tick + frame.duration) * self.time_base
                yield from filler.add(frame.picture, tick)
            yield from filler.rest()

    def _wanted(self) -> Iterator[Timed[Any]]:
        """The selected frames in delivery order, ticks counted from the window's first frame."""
        selected = thinned(self._in_window(), self.selection, self.base)
        for index, frame in enumerate(selected):
            if index == 0:
                self.skipped = frame.tick
            yield frame

    def _in_window(self) -> Iterator[Timed[Any]]:
        for frame in within(self._timed(), self.selection, self.base):
            if self.first is None:
                self.first = frame.tick
            yield frame

    def _timed(self) -> Iterator[Timed[Any]]:
        lead = FILTER_LEAD if self.filters else Fraction(0)
        start = to_tick(self.selection.start, self.info.time_base) - round(lead / self.info.time_base)
        frames: Iterator[Timed[Any]] = self.source.frames(max(0, start))
        if self.opacity is not None:
            return paired(frames, self.opacity.frames(max(0, start)))
        if self.filters:
            frames = deinterlaced(frames, self.filters, self.info.time_base, self.info.rate, self.base)
        return film_timed(frames, self.base, self.source_rate) if self.is_film else frames

    def _writer(self, count: int) -> Write:
        info = self.info
        if info.kind != "video":
            return write_picture
        width, height = self.size
        unturned = (height, width) if info.rotation % 180 else (width, height)
        deep = self.kind == np.uint16
        converter = RgbConverter(self.colour, info.codec, unturned, info.rotation, info.is_mirrored, deep, count == 1)
        return converter.write if self.opacity is None else partial(_write_pair, converter)

    def _allocate(self, count: int) -> Batch:
        width, height = self.size
        rgb, pts = np.empty((count, height, width, 3), self.kind), np.empty(count, np.int64)
        return (rgb, pts, np.empty((count, height, width), self.kind)) if self.alpha else (rgb, pts)

    def _default_batch(self) -> int:
        width, height = self.size
        size = width * height * (4 if self.alpha else 3) * self.kind.itemsize
        return max(1, min(MOST_FRAMES_PER_BATCH, BATCH_BYTES // size))


def _write_pair(converter: RgbConverter, pair: Paired, rgb: np.ndarray,
                alpha: np.ndarray | None) -> np.ndarray | None:  # fmt: skip
    if alpha is not None:
        write_opacity(pair.opacity, alpha)
    return converter.write(pair.frame, rgb, None)
