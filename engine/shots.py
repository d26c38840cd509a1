"""Where one shot ends and the next begins, found while frames stream by.

A cut is a picture that neither motion nor light explains. Frames arrive in pushes of any size; a verdict on a frame
needs the `LOOK_AHEAD` frames after it, and is the same however they were pushed. Leaning is towards recall: a missed
cut haunts the next shot, a false one costs nothing to speak of.

Limits are in 8-bit levels of thumbnails and were set on some 270 short clips joined at random (benchmarks/shots.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .likeness import (
    Thumbnail,
    exposure,
    moved_difference,
    panned_difference,
    repainting,
    structure,
    thumbnails,
)

LOOK_AHEAD = 12  # frames; as many are remembered
BUSIEST = 3  # changes around a frame that tell how lively the scene is; the largest, so that held drawings do not fool
EMPTY = 2.0  # contrast of a picture that shows nothing
FAINT = 6.0  # contrast from which a step into or out of nothing is sudden and not the end of a fade
WASHED_OUT = 0.35  # share of the contrast that is left in a flash
BLACK, WHITE = 16.0, 239.0  # mean luma of fades' ends
LEAST_CHANGE = 1.0  # divisor's floor where nothing moves
SAME_STRUCTURE = 0.6  # correlation from which a picture is another in a different light
SAME_SCENE = 0.85  # the same for neighbours, where it must be certain
RETURNED = 0.4  # share of a change that is left when the old picture is back
PANNED = 0.4  # share of a change that is left when one shift of the whole picture explains it
BLEND = 0.2  # share of a change that a mixture of both neighbours leaves unexplained


@dataclass(frozen=True)
class Rule:
    """A cut where the change is this large, this much larger than around it, and this much is painted anew."""

    change: float
    outstanding: float
    repainted: float


RULES = (
    Rule(change=24, outstanding=0.7, repainted=0.55),  # amid other cuts and flashes
    Rule(change=22, outstanding=1.15, repainted=0.35),
    Rule(change=9, outstanding=1.9, repainted=0.2),
    Rule(change=3.5, outstanding=3.5, repainted=0.12),  # dark or pale
)


@dataclass(frozen=True)
class Step:
    """A frame, and how it differs from the one before once motion and dim light are accounted for."""

    picture: Thumbnail
    change: float


class ShotFinder:
    """Finds the first frames of shots in a stream; frame 0 begins the first shot and is not reported."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=2 * LOOK_AHEAD + 2)
        self._arrived = 0
        self._judged = 1  # frame 0 needs no verdict
        self._before_gap: Thumbnail | None = None  # the last picture before frames that show nothing
        self._gap_start: int | None = None
        self._understood_until = 0  # frames whose change is explained: a flash, a blend
        self._shot_start = 0

    @property
    def settled(self) -> int:
        """Frames before this number belong to the shots reported so far, for certain."""
        return self._judged if self._arrived else 0

    def push(self, frames: np.ndarray | Tensor) -> list[int]:
        """The next frames [T,H,W,3], uint8 or floats in 0..1 → first frames of the shots found, in order."""
        found = []
        for picture in thumbnails(frames):
            last = self._steps[-1].picture if self._steps else None
            self._steps.append(Step(picture, exposed_change(last, picture) if last else 0.0))
            self._arrived += 1
            if self._arrived - self._judged > LOOK_AHEAD:
                found += self._judge()
        return found

    def finish(self) -> list[int]:
        """The stream has ended: the shots in its last frames."""
        found = []
        while self._judged < self._arrived:
            found += self._judge()
        return found

    def _judge(self) -> list[int]:
        frame = self._judged
        self._judged += 1
        if frame == 1 and is_empty(self._picture(0)):
            self._gap_start = 0
        if not self._begins_shot(frame):
            return []
        self._shot_start = frame
        return [frame]

    def _begins_shot(self, frame: int) -> bool:
        empty, was_empty = is_empty(self._picture(frame)), is_empty(self._picture(frame - 1))
        if empty and not was_empty:
            return self._enters_gap(frame)
        if was_empty and not empty:
            return self._leaves_gap(frame)
        return not empty and frame > self._understood_until and self._is_cut(frame)

    def _enters_gap(self, frame: int) -> bool:
        """At the first frame that shows nothing: where many follow, a sudden one begins a shot of its own."""
        ahead = [self._picture(each) for each in self._ahead(frame)]
        lasting = len(ahead) == LOOK_AHEAD and all(is_empty(picture) for picture in ahead)
        self._gap_start, self._before_gap = frame, None
        if lasting and self._picture(frame - 1).contrast >= FAINT and self._is_cut(frame):
            return True
        past = range(max(self._shot_start, frame - LOOK_AHEAD), frame)
        self._before_gap = clearest([self._picture(each) for each in reversed(past)])
        return False

    def _leaves_gap(self, frame: int) -> bool:
        """At the first frame that shows something again: a new shot, unless it is the old picture."""
        before, start = self._before_gap, self._gap_start
        self._before_gap = self._gap_start = None
        last = self._picture(frame - 1)
        faded = last.mean <= BLACK or last.mean >= WHITE
        if before is None or start is None or not (faded or frame - start <= LOOK_AHEAD):
            sudden = self._picture(frame).contrast >= FAINT
            return sudden and frame > self._understood_until and self._is_cut(frame)
        after = clearest([self._picture(each) for each in (frame, *self._ahead(frame))])
        self._understood_until = max(self._understood_until, frame)
        if structure(before, after) < SAME_STRUCTURE:
            return True
        self._is_passing_light(before, frame, moved_difference(before, last))
        return False

    def _is_cut(self, frame: int) -> bool:
        last, now = self._picture(frame - 1), self._picture(frame)
        change = self._change(frame)
        if not self._stands_out(frame, change) or structure(last, now) >= SAME_SCENE:
            return False
        if panned_difference(last, now) * exposure(last, now) < PANNED * change:
            return False
        if self._is_passing_light(last, frame, moved_difference(last, now)):
            return False
        if frame + 1 < self._arrived and is_blend(now, last, self._picture(frame + 1)):
            self._understood_until = frame + 1
        return True

    def _stands_out(self, frame: int, change: float) -> bool:
        around = [self._change(each) for each in self._around(frame) if each != frame]
        busiest = sum(sorted(around)[-BUSIEST:]) / BUSIEST
        outstanding = change / max(LEAST_CHANGE, busiest)
        repainted = repainting(self._picture(frame - 1), self._picture(frame))
        return any(
            change >= rule.change and outstanding >= rule.outstanding and repainted >= rule.repainted for rule in RULES
        )

    def _is_passing_light(self, before: Thumbnail, frame: int, change: float) -> bool:
        """Whether the picture `before` is back soon after `frame`, and nothing but light came between."""
        for later in (frame, *self._ahead(frame)):
            if moved_difference(before, self._picture(later)) >= RETURNED * change:
                continue
            if all(is_lit(self._picture(each), before) for each in range(frame, later)):
                self._understood_until = later
                return True
            return False
        return False

    def _ahead(self, frame: int) -> range:
        return range(frame + 1, min(frame + LOOK_AHEAD, self._arrived - 1) + 1)

    def _around(self, frame: int) -> range:
        return range(max(1, frame - LOOK_AHEAD), min(frame + LOOK_AHEAD, self._arrived - 1) + 1)

    def _picture(self, frame: int) -> Thumbnail:
        return self._steps[frame - self._arrived].picture

    def _change(self, frame: int) -> float:
        return self._steps[frame - self._arrived].change


def shot_starts(batches: Iterable[np.ndarray | Tensor]) -> list[int]:
    """First frames of all shots but the first of a whole clip, given in batches [T,H,W,3]."""
    finder = ShotFinder()
    return [start for batch in batches for start in finder.push(batch)] + finder.finish()


def exposed_change(before: Thumbnail, picture: Thumbnail) -> float:
    """What motion does not explain between two pictures, as large as it were in good light."""
    return moved_difference(before, picture) * exposure(before, picture)


def is_empty(picture: Thumbnail) -> bool:
    """Whether a picture shows nothing: black, white or one grey."""
    return picture.contrast < EMPTY


def is_lit(picture: Thumbnail, scene: Thumbnail) -> bool:
    """Whether a picture is the scene in another light, or so bright or dark that little of anything is left."""
    return picture.contrast < max(EMPTY, WASHED_OUT * scene.contrast) or structure(scene, picture) >= SAME_STRUCTURE


def clearest(pictures: list[Thumbnail]) -> Thumbnail:
    """The first picture with at least half of the most contrast among them."""
    most = max(picture.contrast for picture in pictures)
    return next(picture for picture in pictures if picture.contrast >= most / 2)


def is_blend(picture: Thumbnail, before: Thumbnail, after: Thumbnail) -> bool:
    """Whether a picture is a mixture of its neighbours, as frame rate conversion leaves at a cut."""
    a, b, mixed = before.half, after.half, picture.half
    span = b - a
    share = ((mixed - a) * span).sum() / max(1.0, (span**2).sum())
    return bool(np.abs(mixed - a - share * span).mean() < BLEND * np.abs(span).mean())
