"""The RunComfy backend: a clip cut into requests; their results get the source's exact size, colour, timing and sound.

What is paid is in the journal before it is sent and kept until it is fetched, so a second run pays for nothing twice.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from comfy_api.latest import Input

from ..cloud import clip as clips
from ..cloud.client import Client, base_of
from ..cloud.downloads import downloads_folder, joined
from ..cloud.errors import CloudError, Interrupted, OutsideLimits
from ..cloud.job import Doors, Finished
from ..cloud.job import Job as Order
from ..cloud.journal import Journal
from ..cloud.money import Budget
from ..cloud.plan import plan_segments
from ..cloud.reach import client_for, downloads_for, storage_for
from ..cloud.run import estimate, run_hosted
from ..cloud.schema import MODEL_ID, MOST_FRAMES, translate
from ..engine.images import sdr_batches
from ..engine.job import FAILED, RUNNING, STOPPED, Job, Recipe, Stretch
from ..engine.outlook import disk_bytes, middle_of
from ..engine.survey import Survey, load_survey, save_survey, survey_of
from ..engine.wish import Wish
from ..engine.work import RESULT
from . import comfy_host
from .hosted_join import Joiner
from .hosted_part import keep_part
from .hosted_status import SegmentTable
from .hosted_task import HOSTED_MODEL, Task, task_of
from .live_status import LiveStatus, Stage
from .local_run import HDR_NOTE, RESULTS, REUSED
from .room import keep_to_limit
from .settings import JOURNAL_FILE, TOKEN_FILE, load
from .upscale_inputs import ESTIMATE, PREVIEW
from .video_value import AS_STORED, Clip, ClipVideo, Origin, as_clip_video

NO_RATE = (
    "RunComfy takes video, and images have no frame rate. Connect the clip as VIDEO (Create Video gives images a "
    "rate), or set backend to local. Nothing was sent."
)
SURVEY = "survey.json"
LOOKING: Stage = "Looking at the clip"


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
        return task_of(clip, whole.info, self.wish)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The page hears of a stop or a failure, and ComfyUI's own interrupt is raised, on this thread alone."""
        try:
            yield
        except Interrupted as stop:
            self.told.update(state="stopped", text=str(stop))
            comfy_host.stop_if_interrupted()
            raise comfy_host.Interrupted from None
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
        job.note(**task.facts, expected=task.expected, state=RUNNING, error="", paid=True,
                 costs={**job.facts.costs, uuid.uuid4().hex: None})  # fmt: skip
        client = client_for(os.environ, self.folder / TOKEN_FILE, Path.home())
        survey = self._survey(task)
        job.require_space(disk_bytes(task.target, survey.frames))
        order = self._order(task, survey)
        host = comfy_host.engine_host(self.node, lambda frames: None, self.told)
        joiner = Joiner(task, job.folder / RESULT, host, self.told)
        finished = self._on_runcomfy(order, client, job, joiner)
        job.forget(0)
        job.record(Stretch(0, 0, survey.frames, ends_shot=True))
        job.finish(RESULT)
        joined(file for _, file in finished.parts)
        notes = [f"{note}." for note in finished.notes]
        return [*notes, *joiner.notes, *_bill(finished, survey.frames)], job.folder / RESULT

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

    def _on_runcomfy(self, order: Order, client: Client, job: Job, joiner: Joiner) -> Finished:
        """Requests and, beside them, joining; returns when the joined file stands."""
        task = joiner.task
        cutter, rate, short_side = clips.Cutter(task.pixels), task.hosted("frame_rate"), task.hosted("new_resolution")
        segments = plan_segments(order.frames, order.overlap, order.shots)
        table = SegmentTable(segments, self.told, lambda segment, file: keep_part(job, segment, file))
        journal = Journal(self.folder / JOURNAL_FILE)
        doors = Doors(
            client=client,
            journal=journal,
            downloads=downloads_for(client),
            cut=lambda segment: clips.cut_segment(cutter, segment, rate),
            verify=lambda path, segment: clips.result_complaint(path, segment, task.size, short_side),
            storage=storage_for(asdict(self.settings), client.session.rules.loopback),
            is_interrupted=joiner.is_interrupted,
            report=table.take,
        )
        try:
            return run_hosted(order, doors, next(reversed(job.facts.costs)), joiner.join)
        finally:
            journal.close()


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


def _bill(finished: Finished, frames: int) -> list[str]:
    count = len(finished.parts)
    if not finished.posts:
        return [f"{frames:,} frames in {count} segments fetched or reused, nothing paid."]
    cost = "no cost was reported" if finished.cost_usd is None else f"reported cost ${finished.cost_usd:.2f}"
    return [f"{frames:,} frames restored on RunComfy: {finished.posts} of {count} segments paid in this run, {cost}."]
