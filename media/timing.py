"""Exact frame rates, and time stamps that are whole, increasing and continuous.

Ticks are integers in units of a time base (a Fraction of a second); no time is ever held as a float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

# rates of film, television, cameras and screens; 1001ths are the NTSC family
STANDARD_RATES = tuple(
    sorted(
        [Fraction(n) for n in (1, 5, 8, 10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 240)]
        + [Fraction(n * 1000, 1001) for n in (12, 15, 24, 30, 48, 60, 120, 240)]
    )
)
# 24 and 23.976 are 0.1 % apart: a rate within less than half of that of a standard one is meant to be it
SNAP = Fraction(4, 10_000)
FALLBACK_RATE = Fraction(25)  # a stream that says nothing at all
HIGHEST_RATE = 1000
SIMPLE_DENOMINATOR = 20
# containers with millisecond stamps (Matroska, FLV, ASF) round unevenly; the others are exact to a tick
COARSE_TICK = Fraction(1, 1000)
COARSE_TOLERANCE, FINE_TOLERANCE = Fraction(3, 2), Fraction(1)  # ticks
# as ffmpeg's -dts_delta_threshold: a longer jump ahead in a broadcast or DVD stream is a new clock, not a pause
JUMP_AHEAD = 10  # seconds
JUMP_BACK = Fraction(1, 2)  # seconds; decoding times never go back, so more than jitter is a new clock
SAME_CLOCK = 2  # seconds: another stream that lands this near with a known correction has met the same new clock


@dataclass(frozen=True)
class Timing:
    """What a sample of time stamps says about a stream."""

    rate: Fraction  # frames per second, exact
    is_vfr: bool


def snap_rate(rate: Fraction | float) -> Fraction:
    """The standard rate meant by a measured or typed one (23.976 → 24000/1001); others stay, as simple fractions."""
    value = exact(rate)
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - value))
    return nearest if abs(nearest - value) <= nearest * SNAP else value.limit_denominator(100_000) or value


def measure_timing(runs: Sequence[Sequence[int]], time_base: Fraction, stated: Sequence[Fraction | None]) -> Timing:
    """Rate and constancy from runs of consecutive ticks in display order; `stated` rates in order of trust.

    A rate is constant when one candidate explains every run within the rounding of a tick. Without usable ticks the
    first stated rate counts; a variable one is the average over the file, stated first by FFmpeg.
    """
    usable = [rate for rate in stated if rate and 0 < rate <= HIGHEST_RATE]
    runs = [run for run in runs if len(run) > 1 and run[-1] > run[0]]
    if not runs:
        return Timing(snap_rate(usable[0]) if usable else FALLBACK_RATE, False)
    longest = max(runs, key=len)
    measured = (len(longest) - 1) / ((longest[-1] - longest[0]) * time_base)
    simple = measured.limit_denominator(SIMPLE_DENOMINATOR)
    candidates = [*map(snap_rate, [*usable, measured]), *usable, simple, measured]
    for rate in dict.fromkeys(one for one in candidates if one > 0):
        # a rate taken from two rounded stamps is itself off by up to a tick over the run
        slack = 1 if rate == measured else 0
        if all(_is_constant(run, time_base, rate, slack) for run in runs):
            return Timing(rate, False)
    return Timing(usable[0] if usable else measured, True)


def exact(seconds: Fraction | float) -> Fraction:
    """A time as written: 0.1 is a tenth, not its binary neighbour."""
    return Fraction(repr(float(seconds))) if isinstance(seconds, float) else Fraction(seconds)


def to_tick(seconds: Fraction | float, time_base: Fraction) -> int:
    """The tick nearest to a time."""
    return round(exact(seconds) / time_base)


def rescale(tick: int, source: Fraction, target: Fraction) -> int:
    """A tick of one time base in another, to the nearest, halves upwards: two neighbours never round apart."""
    return math.floor(tick * source / target + Fraction(1, 2))


class Continuity:
    """Joins the clocks of a stream that restarts its own: a DVD's cells, an edited broadcast, a wrapped counter.

    Streams meet a new clock at different packets but get the same correction, so that sound stays with the picture.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._latest = Fraction(0)  # the newest correction, in seconds to add
        self._corrections: dict[int, Fraction] = {}  # by stream
        self._expected: dict[int, Fraction] = {}  # corrected time of the next packet, by stream

    def correct(self, stream: int, seconds: Fraction, duration: Fraction) -> Fraction:
        """The correction, in seconds, for a packet with this decoding time."""
        correction = self._corrections.get(stream, self._latest)
        expected = self._expected.get(stream, seconds + correction)
        if _is_jump(seconds + correction, expected):
            if correction != self._latest and abs(seconds + self._latest - expected) <= SAME_CLOCK:
                correction = self._latest
            else:
                correction = self._latest = expected - seconds
                self.jumps += 1
        self._corrections[stream] = correction
        self._expected[stream] = seconds + correction + duration
        return correction


def _is_jump(moved: Fraction, expected: Fraction) -> bool:
    return not expected - JUMP_BACK <= moved <= expected + JUMP_AHEAD


def _is_constant(run: Sequence[int], time_base: Fraction, rate: Fraction, slack: int) -> bool:
    step = 1 / (rate * time_base)
    tolerance = COARSE_TOLERANCE if time_base >= COARSE_TICK else FINE_TOLERANCE
    # residuals against the first tick, itself rounded: they may spread over, not exceed, the tolerance
    residuals = [tick - run[0] - index * step for index, tick in enumerate(run)]
    return max(residuals) - min(residuals) <= tolerance + slack
