"""Joining the results of a hosted run on a thread of its own, while later segments are still at RunComfy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from ..cloud.beside import Arriving
from ..engine.abreast import compute_with
from ..engine.host import Host, Progress
from . import comfy_host
from .hosted_status import JOINING
from .hosted_task import Task, joined_results
from .live_status import Broadcast


@dataclass
class Joiner:
    """Writes a task's result to `path`, which exists only when it is whole; `host` is called on ComfyUI's thread."""

    task: Task
    path: Path
    host: Host
    told: Broadcast
    notes: tuple[str, ...] = ()
    _stopped: threading.Event = field(default_factory=threading.Event)

    def join(self, arriving: Arriving) -> None:
        """Take the results in order as they come, until the file is whole."""
        compute_with(1)  # beside threads that do the same
        made = joined_results(self.task, arriving.segments, arriving.file, self.path, self._host_beside(arriving))
        self.notes = made.notes

    def is_interrupted(self) -> bool:
        """Whether the user pressed Stop, also where ComfyUI said so in answer to progress and has forgotten it."""
        return self._stopped.is_set() or comfy_host.is_interrupted()

    def _host_beside(self, arriving: Arriving) -> Host:
        """The host as the joining thread may use it. While RunComfy works, the status tells of that alone."""

        def progress(state: Progress) -> None:
            if self.told.status.stage == JOINING:
                arriving.tell(lambda: self._show(lambda: self.host.progress(state)))

        def preview(index: int, frame: Tensor) -> None:
            arriving.tell(lambda: self._show(lambda: self.host.preview(index, frame)))

        return replace(self.host, check=arriving.check, progress=progress, preview=preview, clock=arriving.clock)

    def _show(self, call: Callable[[], None]) -> None:
        try:
            call()
        except comfy_host.Interrupted:  # ComfyUI answers progress so; the run ends in its own way
            self._stopped.set()
