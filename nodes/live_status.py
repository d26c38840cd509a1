"""How far a run is, as the page hears it: one shape for runs here and on RunComfy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal

State = Literal["running", "done", "stopped", "failed"]
SegmentState = Literal["waiting", "submitted", "queued", "running", "fetching", "done", "failed"]


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
    stage: str = ""  # what is being done right now
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

    def as_message(self, node: str) -> dict:
        """JSON of the event `seedvr2.run`."""
        return {"node": node, **asdict(self)}
