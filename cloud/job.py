"""What one hosted run is given and what its threads share."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from .. import net
from .answers import Price
from .client import Client
from .errors import Interrupted
from .fetch import MOST_RESULT_BYTES
from .follow import DEFAULT_PATIENCE, Patience
from .journal import Journal
from .money import DEFAULT_BUDGET, Budget, in_all
from .plan import Segment
from .schema import MODEL_ID, Settings, complete
from .storage import Storage

# how a clip gets to RunComfy: its own public address is the documented way; a data URI is what RunComfy's own nodes
# send, not proven for this model; storage of the user's comes last, because something of theirs stays there
Way = Literal["address", "data", "storage"]
Phase = Literal["waiting", "submitted", "queued", "running", "fetching", "done", "failed", "stopping"]
WAYS: tuple[Way, ...] = ("address", "data", "storage")
POST_GRACE_S = 14.0  # of the 15 s a stop may take in all, to learn the id of a request that is just being sent


@dataclass(frozen=True)
class Job:
    """What to do: the clip (its key, frames, rate, shots), the settings, the limits, the folder for results."""

    source_key: str  # identity of the source's frames, never of an encoding of them
    frames: int
    rate: float  # frames per second
    settings: Settings
    folder: Path
    overlap: int = 16
    shots: tuple[int, ...] = ()
    in_flight: int = 2
    budget: Budget = DEFAULT_BUDGET
    resubmit: str = ""  # id of the one unknown request the user agrees to pay again
    address: str | None = None  # public address of the whole clip, used when it fits one request
    ways: tuple[Way, ...] = WAYS  # tried in this order
    patience: Patience = DEFAULT_PATIENCE
    most_result_bytes: int = MOST_RESULT_BYTES


@dataclass(frozen=True)
class Doors:
    """The world outside: calls, journal, downloads, video in and out, the user, time.

    `cut(segment)` returns the segment's frames as a video file's bytes, `segment.sent_frames` long. `verify(path,
    segment)` returns what is wrong with a result, None when it is good. `wait(stop, seconds)` is Event.wait.
    """

    client: Client
    journal: Journal
    downloads: net.GuardedSession
    cut: Callable[[Segment], bytes]
    verify: Callable[[Path, Segment], str | None]
    storage: Storage | None = None
    is_interrupted: Callable[[], bool] = net.never
    report: Callable[[Update], None] = lambda update: None
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    post_grace_s: float = POST_GRACE_S
    world: net.World = net.REAL_WORLD


@dataclass(frozen=True)
class Update:
    """One line of progress about one segment; in the phase `stopping` about the run."""

    segment: int
    segments: int
    text: str
    done: int = 0  # segments finished
    phase: Phase = "waiting"
    request: str = ""  # RunComfy's id of it
    cost_usd: float | None = None  # of the run, as reported so far
    file: Path | None = None  # the segment's result, once it is good


@dataclass(frozen=True)
class Finished:
    """Every segment with its verified file, in order, and what there is to tell."""

    parts: tuple[tuple[Segment, Path], ...]
    notes: tuple[str, ...]
    posts: int  # paid requests this run made
    cost_usd: float | None  # reported for them, None when nothing was reported


@dataclass
class Run:
    """What the threads of one run share; `lock` guards everything mutable."""

    job: Job
    doors: Doors
    client: Client
    segments: tuple[Segment, ...]
    values: Mapping[str, float]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    stop: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)  # every segment has ended, well or not
    posting: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    calls: queue.SimpleQueue[Callable[[], None]] = field(default_factory=queue.SimpleQueue)  # for the calling thread
    files: dict[int, Path] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    followed: dict[int, str] = field(default_factory=dict)  # request ids by segment
    ended: set[int] = field(default_factory=set)  # segments whose request is followed no more
    farewells: dict[int, str] = field(default_factory=dict)  # what became of them at a stop
    costs: dict[int, float | None] = field(default_factory=dict)  # by segment posted in this run: reported cost
    expected: dict[int, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_price_asked: bool = False
    price: Price | None = None

    def pause(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as the run is stopped."""
        if self.doors.wait(self.stop, seconds):
            raise Interrupted("Stopped.")

    @property
    def cost_usd(self) -> float | None:
        """What this run's requests cost, as far as reported; None when nothing was."""
        return in_all(tuple(self.costs.values()))

    def tell(self, segment: Segment, text: str, phase: Phase = "waiting") -> None:
        request = self.followed.get(segment.index, "")
        done = len(self.files)
        file = self.files.get(segment.index)
        update = Update(segment.index, len(self.segments), text, done, phase, request, self.cost_usd, file)
        self.calls.put(partial(self.doors.report, update))

    @property
    def is_over_early(self) -> bool:
        """True when nobody works on segments any more and some have no file."""
        return self.over.is_set() and len(self.files) < len(self.segments)

    def key(self, segment: Segment) -> str:
        """Name of the work of a segment: service, model, source frames, settings; nothing an encoder could change."""
        request = complete(self.values, segment.sent_frames)
        parts = [self.client.base, MODEL_ID, self.job.source_key, segment.start, segment.stop, sorted(request.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
