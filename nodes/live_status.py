"""How far a run is, as the page hears it: one shape for runs here and on RunComfy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

State = Literal["running", "done", "stopped", "failed"]
SegmentState = Literal["waiting", "submitted", "queued", "running", "fetching", "done", "failed"]
# what is being done right now; the page has them in other languages, too
Stage = Literal[
    "",
    "Choosing the model",
    "Downloading the model",
    "Loading the model",
    "Reading the clip",
    "Encoding",
    "Restoring",
    "Decoding",
    "Looking at the clip",
    "On RunComfy",
    "Joining the results",
    "Stopping",
]
LEAST_SECONDS = 0.25  # between two messages of a run; a change of stage or state is told at once


@dataclass(frozen=True)
class SegmentStatus:
    """One hosted segment: frames [first, last] of the clip, counted from 0."""

    index: int
    first: int
    last: int
    state: SegmentState
    text: str = ""
    request: str = ""  # RunComfy's id of it


@dataclass(frozen=True)
class LiveStatus:
    """What the page shows on the Upscale node. Unknown numbers are None; `as_message` is the event's JSON."""

    backend: Literal["local", "RunComfy"]
    state: State = "running"
    plan: str = ""  # in words
    stage: Stage = ""
    elapsed_seconds: int = 0  # since the run began
    takes_seconds: tuple[float, float] | None = None  # least and most for the whole clip, as foretold by the plan
    frames: int = 0  # finished, earlier runs included
    expected: int | None = None
    frames_per_second: float | None = None
    seconds_left: float | None = None
    shot: int | None = None  # being worked on, from 1
    segments: tuple[SegmentStatus, ...] = field(default=())
    cost_usd: float | None = None  # reported so far
    job: str = ""  # name of the job's folder
    text: str = ""  # last words: what was kept, what failed

    def but(self, **changes) -> LiveStatus:
        """The same with other values."""
        return replace(self, **changes)

    @property
    def headline(self) -> tuple:
        """What is told at once when it changes."""
        return self.state, self.stage, self.shot, tuple(one.state for one in self.segments)

    def as_message(self, node: str) -> dict:
        """JSON of the event `seedvr2.run`."""
        return {"node": node, **asdict(self)}


class Broadcast:
    """A run's status and whom it is told; `send` gets it at most four times a second, and every change of stage."""

    def __init__(
        self, status: LiveStatus, send: Callable[[LiveStatus], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.status = status
        self._send, self._clock = send, clock
        self._began = clock()
        self._sent: LiveStatus | None = None
        self._last = float("-inf")

    def update(self, **changes) -> None:
        """Take note of what changed, and tell it unless something was told a moment ago."""
        now = self._clock()
        self.status = self.status.but(elapsed_seconds=int(now - self._began), **changes)
        if self._is_news() or now - self._last >= LEAST_SECONDS:
            self._last, self._sent = now, self.status
            self._send(self.status)

    def _is_news(self) -> bool:
        return self._sent is None or self._sent.headline != self.status.headline
