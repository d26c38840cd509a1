"""When each frame is shown in the file: the source's own time stamps, a constant rate, or the same frames at a rate."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from .description import WriteFailed
from .output import Cadence
from .timing import snap_rate

# frames that decoders hold back with this pack's encoder settings (B-frames that are referred to)
REORDERED = {"h264": 2, "hevc": 2}


@dataclass(frozen=True)
class Showing:
    """One appearance of a frame, in ticks of the output's time base."""

    pts: int
    duration: int


class Placement(Protocol):
    """Where a frame goes on the output's clock."""

    time_base: Fraction

    def place(self, pts: int, following: int) -> list[Showing]:
        """The showings of a frame that the source shows from `pts` until `following` (ticks of the source)."""
        ...


class AsStamped:
    """Every frame once, at its own time; the first at zero."""

    def __init__(self, time_base: Fraction) -> None:
        self.time_base = time_base
        self._first: int | None = None

    def place(self, pts: int, following: int) -> list[Showing]:
        self._first = pts if self._first is None else self._first
        return [Showing(pts - self._first, following - pts)]


class AtConstantRate:
    """Resampled to a constant rate at the same speed: each moment shows the frame nearest in time, held or dropped."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base = 1 / rate
        self._ticks = time_base
        self._first: int | None = None

    def place(self, pts: int, following: int) -> list[Showing]:
        self._first = pts if self._first is None else self._first
        return [Showing(slot, 1) for slot in range(self._slot(pts), self._slot(following))]

    def _slot(self, pts: int) -> int:
        assert self._first is not None
        exact = (pts - self._first) * self._ticks / self.time_base
        return int(exact + Fraction(1, 2))  # halves go up, as in FFmpeg's fps filter


class OneByOne:
    """The same frames one after the other at a rate: the speed changes, no frame is lost or doubled."""

    def __init__(self, rate: Fraction) -> None:
        self.time_base = 1 / rate
        self._count = 0

    def place(self, pts: int, following: int) -> list[Showing]:
        self._count += 1
        return [Showing(self._count - 1, 1)]


class RoundedTo:
    """Another placement on a coarser clock; a showing that vanishes there is left out."""

    def __init__(self, placement: Placement, tick: Fraction) -> None:
        self.time_base = tick
        self.was_needed = False  # some stamp lay between two ticks
        self._placement = placement

    def place(self, pts: int, following: int) -> list[Showing]:
        scale = self._placement.time_base / self.time_base
        shown = []
        for showing in self._placement.place(pts, following):
            exact = showing.pts * scale
            start, end = round(exact), round((showing.pts + showing.duration) * scale)
            self.was_needed |= start != exact
            if end > start:
                shown.append(Showing(start, end - start))
        return shown


class DecodingClock:
    """Decoding times for frames in decoding order: the presentation times in rising order, `held` frames late."""

    def __init__(self, held: int) -> None:
        self._held = held
        self._times: deque[int] = deque()
        self._started = False

    def enter(self, stamps: list[int]) -> None:
        """Add a segment's presentation times, in any order."""
        rising = sorted(stamps)
        if not self._started and rising:
            step = max(1, rising[1] - rising[0]) if len(rising) > 1 else 1
            self._times.extend(rising[0] - step * back for back in range(self._held, 0, -1))
            self._started = True
        self._times += rising

    def next(self, pts: int, name: str) -> int:
        """The decoding time of the next frame; raises WriteFailed if it would come after its presentation."""
        dts = self._times.popleft()
        if dts > pts:
            raise WriteFailed(f"{name} reorders more than {self._held} frames and cannot be joined by copying.")
        return dts


def placement_for(cadence: Cadence, time_base: Fraction) -> Placement:
    """The placement a cadence asks for; raises WriteFailed for a rate that is not positive."""
    if cadence.rate is None:
        return AsStamped(time_base)
    if cadence.rate <= 0:
        raise WriteFailed(f"A frame rate must be above 0, got {float(cadence.rate):g}.")
    rate = snap_rate(cadence.rate)
    return AtConstantRate(time_base, rate) if cadence.mode == "keep speed" else OneByOne(rate)
