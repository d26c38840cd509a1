"""Frames into a file: exact colour, exact time, sound and tags along, nothing left behind when it fails.

`write` takes a whole iterator of batches; `Writer` is the same for who pushes. Memory does not grow with length, except
for animated WebP, whose encoder keeps the compressed animation until its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from .cadence import AtConstantRate, RoundedTo, placement_for
from .description import WriteFailed
from .encode_colour import Converter, gray_frame
from .muxing import Muxer, reporting
from .output import Cadence, Encoding, Picture, Sound, Tagging, Written
from .presets import GIF_FASTEST, MP4_TICK, PNG_FOLDER, Format, encoding_for, format_named
from .remux import Companions, sound_end
from .sinks import PictureFolder, Sink, VideoFile
from .stream_plan import plan_stream
from .tags import container_tags, moved_chapters
from .timing import snap_rate

FALLBACK_RATE = Fraction(25)  # one frame alone, of unknown rate
ROUNDED = {"GIF", "WebP"}  # their encoders want stamps on the format's own clock
ALPHA_BITS = 10
AS_STAMPED, UNKNOWN = Cadence(), Picture()


@dataclass(frozen=True)
class Waiting:
    """A converted frame whose duration is known when the next one comes."""

    frame: av.VideoFrame
    alpha: av.VideoFrame | None
    pts: int


def write(path: str | Path, frames: Iterable[tuple[np.ndarray, ...]], *, time_base: Fraction | None = None,
          encoding: Encoding | None = None, picture: Picture | None = None, cadence: Cadence = AS_STAMPED,
          sound: Sound | None = None, tagging: Tagging | None = None) -> Written:  # fmt: skip
    """Write batches (frames uint8 or uint16 [T,H,W,3], pts [T] in ticks of `time_base`, alpha [T,H,W] if any).

    What is not given is taken from `frames` where that is a reader: clock, colour, sound, tags. The suffix chooses the
    format where `encoding` does not. Raises WriteFailed; the file exists only when it is whole.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise WriteFailed(f"{Path(path).name} was not written: there are no frames. Check the selection.")
    source = _as_source(frames)
    if time_base is None and source is None:
        raise WriteFailed(
            "The time base is missing. Pass time_base= (seconds per tick of pts), such as Fraction(1, 24)."
        )
    writer = Writer(
        path, time_base=time_base or frames.time_base, encoding=encoding,  # type: ignore[attr-defined]
        picture=picture or (source.picture if source else UNKNOWN), cadence=cadence,
        sound=sound or (source.sound if source else None),
        tagging=tagging or (source.tagging if source else None),
    )  # fmt: skip
    with writer:
        for batch in chain([first], iterator):
            writer.push(*batch)
        end = getattr(frames, "end", None) if source else None
        written = writer.close(None if end is None else round(end / writer.time_base))
    losses = tuple(str(loss) for loss in getattr(frames, "losses", ()))
    return replace(written, notes=(*losses, *written.notes))


class Writer:
    """A file being written: push batches, then close. Leaving its `with` block by an exception removes all traces."""

    def __init__(self, path: str | Path, *, time_base: Fraction, encoding: Encoding | None = None,
                 picture: Picture = UNKNOWN, cadence: Cadence = AS_STAMPED, sound: Sound | None = None,
                 tagging: Tagging | None = None) -> None:  # fmt: skip
        self.path = Path(path)
        self.time_base = Fraction(time_base)
        self._encoding = encoding or encoding_for(self.path)
        self._line = format_named(self._encoding.format)
        self._picture, self._sound, self._tagging = picture, sound or Sound(), tagging or Tagging()
        self._cadence = cadence
        self._placement = placement_for(cadence, self.time_base)
        self._limit = sound_end(self._sound) if self._sound.length == "trim video" else None
        self._notes: list[str] = []
        self._sink: Sink | None = None
        self._waiting: Waiting | None = None
        self._gap = 0  # ticks between the last two frames
        self._frames, self._end = 0, Fraction(0)
        self._cut = 0  # frames left out because the sound ends before them
        _check_target(self.path, self._line)

    def push(self, frames: np.ndarray, pts: np.ndarray, alpha: np.ndarray | None = None) -> None:
        """Take frames [T,H,W,3] uint8 or uint16 (white 255 or 65535), rising pts [T], alpha [T,H,W] of that type."""
        _check_batch(frames, pts, alpha)
        if self._sink is None and len(frames):
            self._open(frames, pts, alpha is not None)
        self._check_like_first(frames, alpha)
        for index, tick in enumerate(pts.tolist()):
            self._take(frames[index], tick, None if alpha is None else alpha[index])

    def close(self, end: int | None = None) -> Written:
        """Finish the file and name it; `end` is the tick at which the last frame ends, where known.

        Raises WriteFailed, and leaves nothing then.
        """
        if self._sink is None or self._waiting is None:
            raise WriteFailed(f"{self.path.name} was not written: there are no frames. Check the selection.")
        try:
            return self._finish(self._sink, self._waiting.pts, end)
        except BaseException:
            self.abort()
            raise

    def _finish(self, sink: Sink, last: int, end: int | None) -> Written:
        self._show(end if end is not None and end > last else last + (self._gap or self._nominal_gap()))
        if not self._frames:
            raise WriteFailed(f"{self.path.name} was not written: the sound ends before the first frame.")
        chapters = self._tagging.source.chapters if self._tagging.source else ()
        sink.finish(self._end, moved_chapters(chapters, self._tagging.start, self._end))
        if self._cut:
            self._notes.append(f"{self._cut} frames after the end of the sound were left out.")
        if isinstance(self._placement, RoundedTo) and self._placement.was_needed:
            tick = self._placement.time_base
            self._notes.append(f"Time stamps were rounded to 1/{tick.denominator} s, the finest this format has.")
        notes = (*self._plan.notes, *self._notes, *sink.notes)
        self._sink = None
        return Written(self.path, self._plan.fit.size, self._frames, self._end, self._plan.pixel_format, notes)

    def abort(self) -> None:
        """Give up; nothing is left on the disk."""
        if self._sink is not None:
            self._sink.abort()
            self._sink = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.abort()  # does nothing after close()

    def _open(self, frames: np.ndarray, pts: np.ndarray, has_alpha: bool) -> None:
        size = (frames.shape[2], frames.shape[1])
        self._layout = (frames.dtype, size, has_alpha)
        self._plan = plan_stream(self._line, self._encoding, self._picture, size, frames.dtype.itemsize * 8, has_alpha)
        self._converter = Converter(self._plan.pixel_format, self._plan.colour, self._plan.fit)
        rate = self._nominal_rate(pts)
        self._round_times(rate)
        if self._cadence.rate is not None and self._cadence.mode == "change speed" and self._has_sound:
            self._notes.append("The pictures run at another speed now; the sound keeps its own.")
        self._sink = self._make_sink(rate)

    @property
    def _has_sound(self) -> bool:
        return bool(self._sound.tracks) or self._sound.samples is not None

    def _make_sink(self, rate: Fraction) -> Sink:
        plan, clock = self._plan, self._placement.time_base
        spec = plan.spec(clock, rate, self._picture.sample_aspect)
        container = self._line.container
        tags, lost = container_tags(self._tagging, container)
        if container is PNG_FOLDER:
            return PictureFolder(self.path, spec, self._tagging.workflow, self._has_sound)
        self._notes += lost
        loops = {"loop": str(self._encoding.loop_count)} if self._line.name in ROUNDED else {}
        muxer = Muxer(self.path, container, tags, loops)
        try:
            sink = VideoFile(muxer, spec, plan.alpha_spec(clock, rate))
            sink.accompany(Companions(muxer, self._sound, self._tagging.source, self._picture.duration))
        except BaseException:
            muxer.abort()
            raise
        return sink

    def _round_times(self, rate: Fraction) -> None:
        """Matroska rounds by itself and needs the exact clock for its nominal rate; the others are told."""
        tick = self._line.container.tick
        if self._line.name == "GIF" and rate > GIF_FASTEST:
            self._placement = AtConstantRate(self.time_base, GIF_FASTEST)
            self._notes.append(f"A GIF shows at most {GIF_FASTEST} frames a second: the others were left out.")
        if self._line.name in ROUNDED or self._placement.time_base < MP4_TICK:
            self._placement = RoundedTo(self._placement, tick)

    def _nominal_rate(self, pts: np.ndarray) -> Fraction:
        if self._cadence.rate is not None:
            return 1 / self._placement.time_base
        if self._picture.rate is not None:
            return Fraction(self._picture.rate)
        if len(pts) < 2:
            return FALLBACK_RATE
        return snap_rate(1 / (int(np.median(np.diff(pts))) * self.time_base))

    def _nominal_gap(self) -> int:
        rate = self._picture.rate or FALLBACK_RATE
        return max(1, round(1 / (rate * self.time_base)))

    def _take(self, rgb: np.ndarray, pts: int, alpha: np.ndarray | None) -> None:
        if self._waiting is not None:
            if pts <= self._waiting.pts:
                raise WriteFailed(f"Time stamps must rise: {pts} follows {self._waiting.pts} in {self.path.name}.")
            self._gap = pts - self._waiting.pts
            self._show(pts)
        own = None
        if alpha is not None and self._plan.alpha_format is not None:
            own = gray_frame(alpha, ALPHA_BITS, self._plan.fit.size)
        self._waiting = Waiting(self._converter.convert(rgb, alpha), own, pts)

    def _show(self, until: int) -> None:
        assert self._waiting is not None and self._sink is not None
        for showing in self._placement.place(self._waiting.pts, until):
            if self._limit is not None and showing.pts * self._placement.time_base >= self._limit:
                self._cut += 1
                continue
            with reporting(self.path):
                self._sink.write(self._waiting.frame, self._waiting.alpha, showing)
            self._frames += 1
            self._end = (showing.pts + showing.duration) * self._placement.time_base

    def _check_like_first(self, frames: np.ndarray, alpha: np.ndarray | None) -> None:
        got = (frames.dtype, (frames.shape[2], frames.shape[1]), alpha is not None)
        if len(frames) and got != self._layout:
            raise WriteFailed(
                f"All frames of {self.path.name} must be alike: it began with {self._layout[1]} {self._layout[0]},"
                f" now come {got[1]} {got[0]}. Scale them to one size first."
            )


@dataclass(frozen=True)
class Source:
    """What a reader knows, as a writer wants it."""

    time_base: Fraction
    picture: Picture
    sound: Sound
    tagging: Tagging


def _as_source(reader: Any) -> Source | None:
    """Picture, sound and tags of a media.read reader that has delivered its first batch; None for other iterables."""
    info = getattr(reader, "info", None)
    if info is None:
        return None
    start = Fraction(getattr(reader, "start", 0))
    return Source(
        reader.time_base,
        Picture(reader.colour, reader.sample_aspect, reader.rate),
        Sound(info.path, info.audio, info.start + start),
        Tagging(info, start, info.workflow),
    )


def _check_target(path: Path, line: Format) -> None:
    wanted = line.container.suffix
    if path.suffix.lower() != wanted and line.container is not PNG_FOLDER:
        raise WriteFailed(f"{path.name} does not fit {line.name}: the name must end in {wanted}.")
    if not path.parent.is_dir():
        raise WriteFailed(f"{path.name} could not be written: the folder {path.parent} does not exist.")
    if path.is_dir() and line.container is not PNG_FOLDER:
        raise WriteFailed(f"{path} is a folder; give the name of a file.")
    if line.container is PNG_FOLDER and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise WriteFailed(f"{path} exists already; give the name of a new folder for the pictures.")


def _check_batch(frames: np.ndarray, pts: np.ndarray, alpha: np.ndarray | None) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype not in (np.uint8, np.uint16):
        raise WriteFailed(f"Frames must be uint8 or uint16 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}.")
    if len(pts) != len(frames):
        raise WriteFailed(f"{len(frames)} frames came with {len(pts)} time stamps.")
    if len(pts) > 1 and (np.diff(pts) <= 0).any():
        place = int(np.argmax(np.diff(pts) <= 0))
        raise WriteFailed(f"Time stamps must rise: {pts[place + 1]} follows {pts[place]}.")
    if alpha is not None and (alpha.shape != frames.shape[:3] or alpha.dtype != frames.dtype):
        raise WriteFailed(
            f"Alpha must be {frames.dtype} {list(frames.shape[:3])}, got {alpha.dtype} {list(alpha.shape)}."
        )
