"""Timing of rivals side by side: they take turns in one process, and the ratio of each turn is what counts.

A machine that slows down half-way slows both, so the median of ratios holds where single times do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Paired:
    """Medians over the turns."""

    ours_s: float
    theirs_s: float
    ratio: float  # theirs / ours of each turn: above 1 we are faster
    worst: float
    best: float

    def __str__(self) -> str:
        spread = f"{self.worst:.2f}…{self.best:.2f}"
        return f"ours {self.ours_s:.3f} s, theirs {self.theirs_s:.3f} s, ratio {self.ratio:.2f}× ({spread})"


def time_pair(ours: Callable[[], object], theirs: Callable[[], object], turns: int = 5) -> Paired:
    """Run both in turns, each first as often as second, after one unmeasured call each."""
    ours(), theirs()
    times = []
    for turn in range(turns):
        if turn % 2:
            their_time = time_call(theirs)
            times.append((time_call(ours), their_time))
        else:
            our_time = time_call(ours)
            times.append((our_time, time_call(theirs)))
    ratios = [their / our for our, their in times]
    our_times, their_times = zip(*times, strict=True)
    middle = statistics.median
    return Paired(middle(our_times), middle(their_times), middle(ratios), min(ratios), max(ratios))


def time_call(call: Callable[[], object]) -> float:
    """Seconds of one call, work on the device included."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait for the device, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rate(device: str, dtype: torch.dtype, size: int = 8192, turns: int = 10) -> float:
    """Measured TFLOP/s of a plain square product: the ceiling that other rates are compared with."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    a @ b
    seconds = statistics.median(time_call(lambda: a @ b) for _ in range(turns))
    return 2 * size**3 / seconds / 1e12
