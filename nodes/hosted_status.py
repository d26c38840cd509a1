"""A hosted run as the page shows it: a table of segments, frames finished, cost so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..cloud.job import Update
from ..cloud.plan import Segment
from .live_status import Broadcast, SegmentStatus, Stage

AT_SERVICE: Stage = "On RunComfy"
JOINING: Stage = "Joining the results"


class SegmentTable:
    """Keeps the table while a run reports about its segments; `keep` gets each that is finished and its result."""

    def __init__(self, segments: Sequence[Segment], told: Broadcast, keep: Callable[[Segment, Path], None]) -> None:
        self._segments, self._keep = segments, keep
        self._rows = [SegmentStatus(one.index, one.start, one.stop - 1, "waiting") for one in segments]
        self._told = told
        told.update(segments=tuple(self._rows), stage=AT_SERVICE, frames=0, expected=segments[-1].stop)

    def take(self, update: Update) -> None:
        """One report of the run. A stop is told as a stage: that goes out at once, not with the next message."""
        if update.phase == "stopping":
            self._told.update(stage=update.text)
            return
        row = self._rows[update.segment]
        request = update.request or row.request
        text = update.text.removeprefix(update.phase).lstrip(",: ")  # the state has a column of its own
        self._rows[update.segment] = replace(row, state=update.phase, text=text, request=request)
        if update.file is not None:
            self._keep(self._segments[update.segment], update.file)
        done = [one for one in self._segments if self._rows[one.index].state == "done"]
        stage = self._told.status.stage
        self._told.update(
            segments=tuple(self._rows),
            frames=sum(one.frames - one.fade for one in done),
            cost_usd=update.cost_usd,
            stage=JOINING if len(done) == len(self._rows) and stage == AT_SERVICE else stage,
        )
