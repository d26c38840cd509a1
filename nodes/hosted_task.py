"""A clip for RunComfy and what is to become of it: what is sent, and how results that came back are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import media
from ..cloud import clip as clips
from ..cloud.errors import OutsideLimits
from ..cloud.geometry import place
from ..cloud.plan import Segment
from ..cloud.schema import BY_WIDGET, FEWEST_FRAMES, MOST_FRAMES, MOST_VIDEO_BYTES, Settings, translate
from ..cloud.stitch import stitched
from ..engine.host import Host
from ..engine.hosted_finish import Finish, Inset, Made, write_result
from ..engine.images import sdr_batches
from ..engine.job import Recipe
from ..engine.outlook import look_ahead, plan_line
from ..engine.wish import Wish
from . import comfy_host
from .video_value import Clip, ClipVideo

HOSTED_MODEL = "RunComfy"  # stands for %model% in file names


@dataclass(frozen=True)
class Task:
    """A clip and what is to become of it. Sizes: source (width, height), target (height, width)."""

    clip: Clip
    info: media.MediaInfo
    wish: Wish
    size: tuple[int, int]
    target: tuple[int, int]
    rate: Fraction
    expected: int | None
    plan: str

    @property
    def settings(self) -> Settings:
        """What is asked of RunComfy, in this pack's words."""
        wish, short_side = self.wish, min(self.target)
        is_explicit = wish.size_by == "short side" and short_side in (wish.new_resolution, wish.new_resolution + 1)
        return Settings(
            short_side if not is_explicit else wish.new_resolution,
            wish.seed,
            wish.cfg_scale,
            wish.batch_size,
            is_explicit,
        )

    @cached_property
    def source(self) -> Recipe:
        """All that decides the frames that are sent."""
        parts = {"selection": asdict(self.clip.selection), "treatment": asdict(self.clip.treatment)}
        return Recipe(media.identify(self.clip.path), parts)

    @property
    def facts(self) -> dict[str, object]:
        """What a list of jobs shows."""
        return {
            "source": str(self.clip.path),
            "name": self.clip.path.name,
            "selection": {name: str(value) for name, value in asdict(self.clip.selection).items()},
            "treatment": asdict(self.clip.treatment),
            "rate": str(self.rate),
            "size": [self.target[1], self.target[0]],
            "model": HOSTED_MODEL,
            "wish": asdict(self.wish),
            "plan": self.plan,
            "prompt": comfy_host.running_prompt(),
        }

    @property
    def exact_frames(self) -> int | None:
        """Their number, where it is known without reading the clip."""
        chosen = self.clip.selection
        is_counted = self.info.frame_count_exact and self.info.scan == "progressive"
        return self.expected if is_counted and not (chosen.start or chosen.duration or chosen.force_rate) else None

    @property
    def address(self) -> str | None:
        """The clip's own link, when RunComfy would see the very frames that are wanted."""
        whole = replace(self.clip, selection=media.Selection())
        is_start = replace(self.clip.selection, cap=0).is_whole
        fits = FEWEST_FRAMES <= (self.exact_frames or 0) <= MOST_FRAMES
        if not (self.clip.address and is_start and fits and ClipVideo(whole, self.info).is_plain):
            return None
        return self.clip.address if self.clip.path.stat().st_size <= MOST_VIDEO_BYTES else None

    def hosted(self, widget: str) -> int:
        """What the request says for one of our widgets, a whole number."""
        values, _ = translate(self.settings, float(self.rate))
        return int(values[BY_WIDGET[widget].name])

    def open(self, first: int = 0) -> media.Reader:
        """A reader of the frames from number `first` on."""
        chosen = self.clip.selection
        cap = max(chosen.cap - first, 1) if chosen.cap else 0
        rest = replace(chosen, skip=chosen.skip + first * chosen.every, cap=cap)
        return replace(self.clip, selection=rest).open(self.info)

    def pixels(self, first: int) -> Iterator[np.ndarray]:
        """Batches [T,H,W,3] of SDR codes from frame `first` on."""
        with self.open(first) as reader:
            for batch in sdr_batches(reader):
                yield batch[0]


def task_of(clip: Clip, info: media.MediaInfo, wish: Wish) -> Task:
    """What the frames of a clip shall become."""
    reader = clip.open(info)
    width, height = reader.size
    target = look_ahead((height, width), wish)
    plan = plan_line((width, height), target, reader.expected, reader.rate)
    return Task(clip, info, wish, (width, height), target, reader.rate, reader.expected, plan)


def joined_results(
    task: Task, segments: Sequence[Segment], file_of: Callable[[Segment], Path], path: Path, host: Host
) -> Made:
    """Verified results of neighbouring segments as one file with the clip's exact size, colour, timing and sound.

    `file_of` is asked in order, when a segment's turn has come, and may wait. Raises Undecodable, MediaError,
    EngineError, and what `file_of` and `host.check` raise.
    """

    def results(segment: Segment) -> Iterator[np.ndarray]:
        return clips.read_result(file_of(segment), segment)

    size = clips.result_size(file_of(segments[0]), segments[0])
    with task.open() as reader:
        pairs = clips.alongside(stitched(segments, results), sdr_batches(reader))
        return write_result(path, pairs, reader, Finish(_inset(task, size), task.target, task.wish), host)


def _inset(task: Task, result: tuple[int, int]) -> Inset:
    """Where a result of (width, height) lies in the picture it was cropped from."""
    found = place(task.size, task.hosted("new_resolution"), result)
    if found is None:
        raise OutsideLimits(f"A result of {result[0]} × {result[1]} has not the shape of the clip.")
    return Inset((found.full_height, found.full_width), found.top, found.left, (found.height, found.width))
