"""Which frames of a clip are wanted: window, forced rate, skip, every n-th, cap, applied in this order.

A selection is applied to time stamps alone, so what is not wanted is never converted; frames wanted twice (a higher
forced rate) are handed out twice and converted once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Generic, TypeVar

from .description import BadSelection
from .timing import exact, rescale, snap_rate, to_tick

Picture = TypeVar("Picture")

# a frame shown for longer than this has a damaged stamp: at a forced rate it must not be repeated for years
LONGEST_HOLD = 600  # seconds


@dataclass(frozen=True)
class Selection:
    """The frames wanted; seconds count from the first displayed frame. Zeros and one mean everything."""

    start: Fraction | float = 0.0  # seconds
    duration: Fraction | float = 0.0  # seconds, 0 to the end
    force_rate: Fraction | float = 0.0  # frames per second by time stamps, 0 keeps the source's
    skip: int = 0  # frames dropped after force_rate
    every: int = 1  # keep one in this many, the first unskipped one included
    cap: int = 0  # most frames, 0 is all

    def __post_init__(self) -> None:
        for name in ("start", "duration", "force_rate", "skip", "cap"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise BadSelection(f"{name} is {value}; expected zero or more.")
        if self.every < 1:
            raise BadSelection(f"every is {self.every}; expected 1 (all frames) or more.")

    @property
    def is_whole(self) -> bool:
        """True when nothing is left out or moved."""
        return self == WHOLE

    @property
    def is_window(self) -> bool:
        """True when a plain stretch of time expresses it."""
        return not self.force_rate and not self.skip and self.every == 1 and not self.cap

    def rate(self, source: Fraction) -> Fraction:
        """Frames per second of what is delivered from a source of this rate."""
        return (snap_rate(self.force_rate) if self.force_rate else source) / self.every

    def trimmed(self, start: Fraction | float, duration: Fraction | float, rate: Fraction) -> Selection:
        """The part of this selection from `start` for `duration` seconds of what it delivers (0 to its end).

        `rate` is the source's; where more than a window of time is selected, frames are counted as evenly spaced.
        """
        if self.is_window:
            left = max(exact(self.duration) - exact(start), Fraction(1, 10**6)) if self.duration else 0
            shorter = min((exact(length) for length in (left, duration) if length), default=0)
            return replace(self, start=exact(self.start) + exact(start), duration=shorter)
        first, frames = (math.ceil(exact(seconds) * self.rate(rate)) for seconds in (start, duration))
        left = max(self.cap - first, 1) if self.cap else 0
        return replace(self, skip=self.skip + first * self.every, cap=min((n for n in (left, frames) if n), default=0))

    def time_base(self, source: Fraction) -> Fraction:
        """The time base of what is delivered: the source's own, or one tick per frame of a forced rate."""
        return 1 / snap_rate(self.force_rate) if self.force_rate else source


WHOLE = Selection()


@dataclass(frozen=True)
class Timed(Generic[Picture]):
    """A picture with its time in ticks of the source's time base."""

    picture: Picture
    tick: int
    duration: int  # ticks


def expected_frames(selection: Selection, rate: Fraction, duration: Fraction | None, count: int | None) -> int | None:
    """How many frames a selection should deliver from a source of this rate, length and count; None when unknown."""
    if selection.start or selection.duration or selection.force_rate:
        if duration is None:
            return None
        length = max(Fraction(0), duration - exact(selection.start))
        if selection.duration:
            length = min(length, exact(selection.duration))
        count = round(length * (snap_rate(selection.force_rate) if selection.force_rate else rate))
    if count is None:
        return None
    count = -(-max(0, count - selection.skip) // selection.every)
    return min(count, selection.cap) if selection.cap else count


def within(frames: Iterable[Timed[Picture]], selection: Selection, time_base: Fraction) -> Iterator[Timed[Picture]]:
    """The frames that begin inside the window; `frames` come in order, ticks counted from the first displayed one."""
    first = to_tick(selection.start, time_base)
    last = None
    if selection.duration:
        # both ends are rounded alike, so that neighbouring windows share no frame and lose none
        last = to_tick(exact(selection.start) + exact(selection.duration), time_base)
    for frame in frames:
        if last is not None and frame.tick >= last:
            return
        if frame.tick >= first:
            yield frame


def thinned(frames: Iterable[Timed[Picture]], selection: Selection, time_base: Fraction) -> Iterator[Timed[Picture]]:
    """What force_rate, skip, every and cap leave of a window; stops reading as soon as it has them all.

    Ticks are in selection.time_base(time_base) and count from the window's first frame.
    """
    counted = _from_zero(frames)
    if selection.force_rate:
        counted = _at_rate(counted, time_base, selection.time_base(time_base))
    delivered = 0
    for index, frame in enumerate(counted):
        if index < selection.skip or (index - selection.skip) % selection.every:
            continue
        delivered += 1
        yield Timed(frame.picture, frame.tick, frame.duration * selection.every)
        if delivered == selection.cap:
            return


def _from_zero(frames: Iterable[Timed[Picture]]) -> Iterator[Timed[Picture]]:
    origin: int | None = None
    for frame in frames:
        origin = frame.tick if origin is None else origin
        yield Timed(frame.picture, frame.tick - origin, frame.duration)


def _at_rate(frames: Iterable[Timed[Picture]], source: Fraction, target: Fraction) -> Iterator[Timed[Picture]]:
    """Each output tick shows the frame nearest before it, with half a tick of grace; as many as the window lasts."""
    held: Timed[Picture] | None = None
    following, surplus = 0, 0
    most = round(LONGEST_HOLD / target)
    for frame in frames:
        if held is not None:
            arrives = rescale(frame.tick, source, target) - surplus
            if arrives > following + most:
                surplus += arrives - following - most
                arrives = following + most
            yield from _repeat(held, following, arrives)
            following = max(following, arrives)
        held = frame
    if held is not None:
        end = min(rescale(held.tick + held.duration, source, target) - surplus, following + most)
        yield from _repeat(held, following, max(end, following + (following == 0)))


def _repeat(frame: Timed[Picture], first: int, end: int) -> Iterator[Timed[Picture]]:
    return (Timed(frame.picture, tick, 1) for tick in range(first, end))
