"""The RunComfy backend: a clip cut into requests; their results get the source's exact size, colour, timing and sound.

What is paid is in the journal before it is sent and kept until it is fetched, so a second run pays for nothing twice.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import Input

from .. import media
from ..cloud import clip as clips
from ..cloud.client import Client, base_of
from ..cloud.downloads import begin, downloads_folder, joined
from ..cloud.errors import CloudError, Interrupted, OutsideLimits
from ..cloud.geometry import place
from ..cloud.job import Doors, Finished
from ..cloud.job import Job as Order
from ..cloud.journal import Journal
from ..cloud.money import Budget
from ..cloud.plan import Segment, plan_segments
from ..cloud.reach import client_for, downloads_for, storage_for
from ..cloud.run import estimate, run_hosted
from ..cloud.schema import BY_WIDGET, FEWEST_FRAMES, MODEL_ID, MOST_FRAMES, MOST_VIDEO_BYTES, Settings, translate
from ..cloud.stitch import stitched
from ..engine.hosted_finish import Finish, Inset, write_result
from ..engine.images import sdr_batches
from ..engine.job import FAILED, RUNNING, STOPPED, Job, Recipe, Stretch
from ..engine.outlook import disk_bytes, look_ahead, middle_of, plan_line
from ..engine.survey import Survey, load_survey, save_survey, survey_of
from ..engine.wish import Wish
from ..engine.work import RESULT
from . import comfy_host
from .hosted_status import SegmentTable
from .live_status import LiveStatus
from .local_run import HDR_NOTE, RESULTS, REUSED
from .room import keep_to_limit
from .settings import JOURNAL_FILE, TOKEN_FILE, load
from .upscale_inputs import ESTIMATE, PREVIEW
from .video_value import AS_STORED, Clip, ClipVideo, Origin, as_clip_video

NO_RATE = (
    "RunComfy takes video, and images have no frame rate. Connect the clip as VIDEO (Create Video gives images a "
    "rate), or set backend to local. Nothing was sent."
)
HOSTED_MODEL = "RunComfy"  # stands for %model% in file names
SURVEY = "survey.json"
LOOKING, JOINING = "Looking at the clip", "Joining the results"  # stages, as the page shows them


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


class HostedRun:
    """One execution of the node on RunComfy."""

    def __init__(self, wish: Wish, run: str, preview_seconds: float, backend: dict, node: str | None) -> None:
        self.wish, self.run, self.backend, self.node = wish, run, backend, node
        self.preview_seconds = preview_seconds
        self.folder = comfy_host.cache_folder()
        self.settings = load(self.folder)
        self.told = comfy_host.broadcast(node, LiveStatus("RunComfy"))

    def restore_images(self, images: torch.Tensor) -> tuple[object, str]:
        """Always refused, before anything is sent: RunComfy takes video."""
        raise OutsideLimits(NO_RATE)

    def restore_video(self, video: Input.Video) -> tuple[object, str]:
        """(VIDEO, report) through requests, a journal and the job folder."""
        jobs = comfy_host.jobs_folder()
        task = self._task(as_clip_video(video, jobs / "sources"))
        self.told.update(plan=task.plan, expected=task.expected, stage=LOOKING)
        with self._telling():
            _, translated = translate(task.settings, float(task.rate))
            notes = [task.plan, *([HDR_NOTE] if task.info.colour.is_hdr and not task.clip.as_sdr else [])]
            if self.run == ESTIMATE:
                return self._estimate(task, notes)
            with Job(jobs, task.clip.path.stem, self._recipe(task)) as job:
                path = job.result_path
                lines = [REUSED] if path else [f"Translated: {note}." for note in translated]
                if path is None:
                    with _noted(job):
                        made, path = self._make(task, job)
                    lines += made
            RESULTS.add(path)
            comfy_host.show_first(self.node, path)
            keep_to_limit(jobs, RESULTS)
            self.told.update(state="done", text=lines[-1], frames=task.expected or 0, job=path.parent.name)
        origin = Origin(task.clip.name, HOSTED_MODEL, str(self.wish.seed))
        return ClipVideo(Clip(path, treatment=AS_STORED, origin=origin)), "\n".join([*notes, *lines])

    def _task(self, whole: ClipVideo) -> Task:
        clip = whole.clip
        if self.run == PREVIEW:
            clip = replace(clip, selection=middle_of(whole.open(), clip.selection, self.preview_seconds))
        reader = clip.open(whole.info)
        width, height = reader.size
        target = look_ahead((height, width), self.wish)
        plan = plan_line((width, height), target, reader.expected, reader.rate)
        return Task(clip, whole.info, self.wish, (width, height), target, reader.rate, reader.expected, plan)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The page hears of a stop or a failure, and ComfyUI's own interrupt is raised, on this thread alone."""
        try:
            yield
        except Interrupted as stop:
            self.told.update(state="stopped", text=str(stop))
            comfy_host.stop_if_interrupted()
            raise
        except comfy_host.Interrupted:
            stopped = "Stopped. Everything that was paid is kept; Run continues."
            self.told.update(state="stopped", text=stopped)
            raise
        except Exception as error:
            self.told.update(state="failed", text=str(error))
            raise

    def _estimate(self, task: Task, notes: list[str]) -> tuple[object, str]:
        survey = self._known_survey(task) or Survey(task.expected or self._counted(task).frames)
        client, problem = self._client()
        report = "\n".join([*notes, estimate(self._order(task, survey), client), *problem])
        self.told.update(state="done", text=report)
        return comfy_host.blocked(), report

    def _client(self) -> tuple[Client | None, list[str]]:
        try:
            return client_for(os.environ, self.folder / TOKEN_FILE, Path.home()), []
        except CloudError as error:
            return None, [str(error)]

    def _recipe(self, task: Task) -> Recipe:
        parts = {"wish": asdict(self.wish), "service": [base_of(os.environ), MODEL_ID],
                 "overlap": self.backend["overlap"]}  # fmt: skip
        return Recipe(task.source.source, {**task.source.parts, **parts})

    def _make(self, task: Task, job: Job) -> tuple[list[str], Path]:
        """Everything that is missing: look, pay, fetch, join."""
        self.told.update(job=job.folder.name)
        run_id = uuid.uuid4().hex
        job.note(**task.facts, expected=task.expected, state=RUNNING, error="", paid=True,
                 costs={**job.facts.costs, run_id: None})  # fmt: skip
        client = client_for(os.environ, self.folder / TOKEN_FILE, Path.home())
        survey = self._survey(task)
        job.require_space(disk_bytes(task.target, survey.frames))
        order = self._order(task, survey)
        begin(order.folder)
        finished = self._on_runcomfy(task, order, client, run_id)
        self.told.update(stage=JOINING, segments=self.told.status.segments)
        notes = self._join(task, order, finished, job.folder / RESULT)
        job.forget(0)
        job.record(Stretch(0, 0, survey.frames, ends_shot=True))
        job.finish(RESULT)
        joined(order.folder)
        return [*notes, *_bill(finished, survey.frames)], job.folder / RESULT

    def _order(self, task: Task, survey: Survey) -> Order:
        backend, key = self.backend, task.source.key
        budget = Budget(backend["spend_limit_usd"], backend["max_requests"], self.settings.day_limit_usd)
        return Order(
            source_key=key, frames=survey.frames, rate=float(task.rate), settings=task.settings,
            folder=downloads_folder(comfy_host.jobs_folder(), key), overlap=backend["overlap"], shots=survey.shots,
            in_flight=backend["in_flight"], budget=budget, resubmit=backend["resubmit"], address=task.address,
        )  # fmt: skip

    def _survey(self, task: Task) -> Survey:
        """Frames and shots, from an earlier run or one look at the whole clip."""
        found = self._known_survey(task)
        if found is None:
            found = self._counted(task)
            save_survey(self._survey_file(task), found)
        return found

    def _survey_file(self, task: Task) -> Path:
        return downloads_folder(comfy_host.jobs_folder(), task.source.key) / SURVEY

    def _known_survey(self, task: Task) -> Survey | None:
        count = task.exact_frames
        if count is not None and count <= MOST_FRAMES:
            return Survey(count)
        return load_survey(self._survey_file(task))

    def _counted(self, task: Task) -> Survey:
        def seen(frames: int) -> None:
            comfy_host.stop_if_interrupted()
            self.told.update(frames=frames)

        with task.open() as reader:
            return survey_of(sdr_batches(reader), seen)

    def _on_runcomfy(self, task: Task, order: Order, client: Client, run_id: str) -> Finished:
        values, _ = translate(order.settings, order.rate)
        cutter = clips.Cutter(task.pixels)
        table = SegmentTable(plan_segments(order.frames, order.overlap, order.shots), self.told)
        journal = Journal(self.folder / JOURNAL_FILE)
        doors = Doors(
            client=client,
            journal=journal,
            downloads=downloads_for(client),
            cut=lambda segment: clips.cut_segment(cutter, segment, int(values[BY_WIDGET["frame_rate"].name])),
            verify=lambda path, segment: clips.result_complaint(path, segment, task.size, _short_side(order)),
            storage=storage_for(asdict(self.settings), client.session.rules.loopback),
            is_interrupted=comfy_host.is_interrupted,
            report=table.take,
        )
        try:
            return run_hosted(order, doors, run_id)
        finally:
            journal.close()

    def _join(self, task: Task, order: Order, finished: Finished, path: Path) -> tuple[str, ...]:
        files = dict(finished.parts)

        def results(segment: Segment) -> Iterator[np.ndarray]:
            return clips.read_result(files[segment])

        info = media.probe(finished.parts[0][1])
        host = comfy_host.engine_host(self.node, lambda frames: None, self.told)
        with task.open() as reader:
            pairs = clips.alongside(stitched(tuple(files), results), sdr_batches(reader))
            finish = Finish(_inset(task, order, info.square_size), task.target, self.wish)
            made = write_result(path, pairs, reader, finish, host)
        return (*(f"{note}." for note in finished.notes), *made.notes)


def reported_costs() -> dict[str, float]:
    """Run → dollars that RunComfy reported for its requests so far, as far as the journal can tell."""
    file = comfy_host.cache_folder() / JOURNAL_FILE
    try:
        return Journal(file).reported_usd() if file.is_file() else {}
    except CloudError:
        return {}


@contextmanager
def _noted(job: Job) -> Iterator[None]:
    """The manifest says how the run ended, and what it and earlier ones cost as far as RunComfy reported it."""

    def note(**facts: object) -> None:
        reported = reported_costs()
        job.note(costs={run: reported.get(run, known) for run, known in job.facts.costs.items()}, **facts)

    try:
        yield
    except (Interrupted, comfy_host.Interrupted):
        note(state=STOPPED)
        raise
    except Exception as error:
        note(state=FAILED, error=str(error))
        raise
    note()


def _short_side(order: Order) -> int:
    values, _ = translate(order.settings, order.rate)
    return int(values[BY_WIDGET["new_resolution"].name])


def _inset(task: Task, order: Order, result: tuple[int, int]) -> Inset:
    """Where a result of (width, height) lies in the picture it was cropped from."""
    found = place(task.size, _short_side(order), result)
    if found is None:
        raise OutsideLimits(f"A result of {result[0]} × {result[1]} has not the shape of the clip.")
    return Inset((found.full_height, found.full_width), found.top, found.left, (found.height, found.width))


def _bill(finished: Finished, frames: int) -> list[str]:
    count = len(finished.parts)
    if not finished.posts:
        return [f"{frames:,} frames in {count} segments fetched or reused, nothing paid."]
    cost = "no cost was reported" if finished.cost_usd is None else f"reported cost ${finished.cost_usd:.2f}"
    return [f"{frames:,} frames restored on RunComfy: {finished.posts} of {count} segments paid in this run, {cost}."]
