"""What work beside a run sees of it, such as joining: results in order as they come, and whether there is any point."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .errors import Interrupted
from .job import Run
from .plan import Segment

LOOK_EVERY_S = 0.05  # for the next result


class Arriving:
    """The results of a run on their way; for one thread beside it."""

    def __init__(self, run: Run):
        self._run = run
        self.segments = run.segments
        self.waited_s = 0.0

    def file(self, segment: Segment) -> Path:
        """The verified file of a segment, waited for; raises Interrupted once it is clear that not all will come."""
        began = time.monotonic()
        while (path := self._run.files.get(segment.index)) is None:
            self.check()
            self._run.stop.wait(LOOK_EVERY_S)
        self.waited_s += time.monotonic() - began
        return path

    def check(self) -> None:
        """Raise Interrupted when the run was stopped or a segment failed: its own words say what happened."""
        if self._run.stop.is_set() or self._run.failures or self._run.is_over_early:
            raise Interrupted("Stopped.")

    def clock(self) -> float:
        """Seconds that stand still while a result is waited for."""
        return time.monotonic() - self.waited_s

    def tell(self, call: Callable[[], None]) -> None:
        """Have something called on the thread that asked for the run, soon."""
        self._run.calls.put(call)
