"""What the engine asks of the program around it: whether to stop, and where to show how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from .machine import Machine
from .quantize import to_float

Clock = Callable[[], float]
LEAST_FRAMES = 9  # before a speed is told: the first ones waited for the encoder and a whole window of the transformer


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    frames: int  # finished, earlier runs included
    expected: int | None  # in all, where known
    frames_per_second: float | None  # of this run; None for its first frames
    shot: int  # number of the shot being worked on, from 1

    @property
    def seconds_left(self) -> float | None:
        """Estimated from this run's speed; None while there is nothing to estimate from."""
        if not self.frames_per_second or self.expected is None:
            return None
        return max(0, self.expected - self.frames) / self.frames_per_second


@dataclass(frozen=True)
class Host:
    """Callables of the surrounding program, all called on the thread that runs the network.

    check: before each layer; raises to stop. progress: after each finished slice. preview: a finished frame [H,W,3] in
    0..1, with its index, at most once per `preview_seconds`. kept: after each stretch, frames that a stop cannot lose.
    machine: what is computed on and what is free there; None asks the system.
    """

    check: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda progress: None
    preview: Callable[[int, Tensor], None] = lambda index, frame: None
    kept: Callable[[int], None] = lambda frames: None
    preview_seconds: float = 1.0
    clock: Clock = time.monotonic
    machine: Machine | None = None


@dataclass
class Meter:
    """Turns finished frames into progress and previews for a host."""

    host: Host
    expected: int | None
    reused: int = 0  # frames finished by earlier runs
    shot: int = 0
    _made: int = 0
    _start: float | None = None
    _shown: float = field(default=float("-inf"))

    def begin_shot(self, number: int) -> None:
        """Shots count from 1."""
        self.shot = number
        self._start = self.host.clock() if self._start is None else self._start

    @property
    def measured(self) -> tuple[int, float]:
        """Frames made and the seconds since the first shot began."""
        return self._made, 0.0 if self._start is None else self.host.clock() - self._start

    def advance(self, frames: Tensor) -> None:
        """`frames` [T,H,W,3], in 0..1 or codes, are finished."""
        index = self.reused + self._made
        self._made += frames.shape[0]
        now = self.host.clock()
        elapsed = now - (self._start if self._start is not None else now)
        rate = self._made / elapsed if elapsed > 0 and self._made >= LEAST_FRAMES else None
        self.host.progress(Progress(self.reused + self._made, self.expected, rate, self.shot))
        if now - self._shown >= self.host.preview_seconds:
            self._shown = now
            self.host.preview(index, to_float(frames[0]))
