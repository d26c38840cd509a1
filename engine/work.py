"""The work on one job: pass after pass over the source until all stretches are finished, then one file.

A pass does what is not done yet, so going on after a stop, a crash or too little memory are the same thing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from .. import media
from .ahead import Worker
from .attend import attended
from .host import Host, Meter
from .job import FAILED, RUNNING, STOPPED, Job
from .machine import Machine
from .memory_errors import is_out_of_memory, release_memory
from .network import Network, arrange
from .outlook import disk_bytes, flops_of
from .plan import Clip, Plan, describe, shrink
from .replay import decoder_field
from .restore import Method, Piece, restore_shot, streams_of
from .shot_stream import Shot, ShotStream
from .speed import FEWEST_FRAMES, Speeds
from .stretches import LATENTS, Keeper, Keeping, start_of
from .wish import Wish

RESULT = "result.mp4"
SEGMENTS = "segments"
SDR = media.Colour(matrix="bt709", range="limited", transfer="sdr", primaries="bt709")
HDR = {curve: media.Colour("bt2020", "limited", curve, "bt2020") for curve in ("pq", "hlg")}


@dataclass(frozen=True)
class Upscaled:
    """Where the result is and what was done for it."""

    path: Path
    frames: int
    size: tuple[int, int]  # width, height
    rate: Fraction
    reused: int  # frames that earlier runs had finished
    notes: tuple[str, ...] = ()  # what the plan that the run began with does not say
    plan: str = ""  # in one line


@dataclass(frozen=True)
class Order:
    """Everything that stays the same for all passes of a run."""

    open: Callable[[Callable[[], None]], AbstractContextManager[media.Reader]]  # given what to call while waiting
    network: Network
    method: Method
    wish: Wish
    clip: Clip
    machine: Machine
    stretch: int


class Work:
    """One run of a job that is not finished."""

    def __init__(self, job: Job, order: Order, plan: Plan, host: Host) -> None:
        self._job, self._order, self._plan, self._host = job, order, plan, host
        self._stopped = False
        self._told = -1  # frames kept, as the host knows
        self._shot = 0  # first frame of the one being worked on
        self._reused: int | None = None  # frames of earlier runs
        self._planned = plan.remarks  # known before the run

    def run(self) -> Upscaled:
        """Finish the job. What is finished when something goes wrong is kept, and the manifest says what happened."""
        self._job.note(state=RUNNING, error="", plan=describe(self._plan, self._order.clip))
        try:
            while (done := self._attempt()) is None:
                release_memory()
                self._shrink()
            return done
        except BaseException as error:
            self._tell_kept()
            # ComfyUI's layers may meet its interrupt, which is no Exception, before `check` does
            stopped = self._stopped or not isinstance(error, Exception)
            self._job.note(state=STOPPED if stopped else FAILED, error="" if stopped else str(error))
            raise

    def _attempt(self) -> Upscaled | None:
        """One pass over the source, and the joined file; None when memory ran out."""
        arrange(self._order.network, self._plan)
        try:
            with self._order.open(self._check) as reader:
                return self._pass(reader)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _shrink(self) -> None:
        order = self._order
        smaller = partial(shrink, self._plan, order.machine.card, order.network.outline, order.clip)
        self._plan, is_other = attended(smaller, self._check)
        if is_other:
            self._job.change_windows(self._shot, self._plan.semantic.windowing)
        self._job.note(plan=describe(self._plan, order.clip))

    def _pass(self, reader: media.Reader) -> Upscaled:
        job, order = self._job, self._order
        colour = SDR
        if order.method.keeps_hdr:
            colour = replace(HDR[order.method.curve], mastering=reader.colour.mastering)
        folder = segments_of(job, media.Run(reader.time_base, media.Picture(colour, reader.sample_aspect, reader.rate)))
        job.note(start=str(reader.start))
        left = (reader.expected or 0) - job.frames_done
        job.require_space(disk_bytes(order.clip.target, left))
        self._reused = job.frames_done if self._reused is None else self._reused
        self._tell_kept()
        meter = Meter(replace(self._host, check=self._check), reader.expected, job.frames_done)
        try:
            for number, shot in enumerate(ShotStream(reader, order.method.windowing.is_pictures), start=1):
                meter.host.check()
                done = job.of_shot(shot.first)
                if not done or not done[-1].ends_shot:
                    meter.begin_shot(number)
                    self._make_shot(shot, folder, meter)
        finally:
            self._learn_speed(*meter.measured)
        return self._join(reader, folder)

    def _make_shot(self, shot: Shot, folder: media.SegmentFolder, meter: Meter) -> None:
        """Restore what is left of one shot on this thread, finish and encode it on another."""
        job, order, self._shot = self._job, self._order, shot.first
        method = replace(order.method, windowing=job.windowing_at(shot.first, order.method.windowing))
        field = decoder_field(order.network.vae.config)
        start = start_of(job, shot.first, method, field)
        self._reused = min(self._reused or 0, job.frames_done)
        keeper = Keeper(Keeping(job, folder, order.wish, order.stretch), method, shot.first, start, field)
        streams = streams_of(self._plan.neutral)
        with Worker[Piece](keeper.keep, check=meter.host.check) as worker:
            pieces = restore_shot(order.network, shot.frames, shot.first, method, streams, meter.host.check, start)
            for piece in pieces:
                worker.put(piece)
                meter.advance(piece.restored)
                self._tell_kept()
        self._tell_kept()

    def _learn_speed(self, frames: int, seconds: float) -> None:
        """What this run achieved makes the next estimate better."""
        if frames < FEWEST_FRAMES:
            return
        order, outline = self._order, self._order.network.outline
        flops = flops_of(self._plan, order.clip, outline, order.wish, frames)
        speeds = Speeds(self._job.folder.parent)
        speeds.learn(order.machine.card, outline, self._plan.semantic.precision, flops, seconds)

    def _join(self, reader: media.Reader, folder: media.SegmentFolder) -> Upscaled:
        job, order = self._job, self._order
        sound = media.Sound(reader.info.path, reader.info.audio, reader.info.start + reader.start)
        tagging = media.Tagging(reader.info, reader.start, reader.info.workflow)
        written = folder.join(job.folder / RESULT, sound, tagging, self._check)
        job.finish(RESULT)
        for leftover in (folder.folder, job.folder / LATENTS):
            shutil.rmtree(leftover, ignore_errors=True)
        height, width = order.clip.target
        learned = [remark for remark in self._plan.remarks if remark not in self._planned]
        notes = (*learned, *map(str, reader.losses), *reader.notes, *written.notes)
        plan = describe(self._plan, order.clip)
        return Upscaled(written.path, written.frames, (width, height), reader.rate, self._reused or 0, notes, plan)

    def _check(self) -> None:
        try:
            self._host.check()
        except BaseException:
            self._stopped = True
            raise

    def _tell_kept(self) -> None:
        """The host hears of frames that a stop cannot lose, when there are more."""
        if (kept := self._job.frames_done) != self._told:
            self._told = kept
            self._host.kept(kept)


def segments_of(job: Job, run: media.Run) -> media.SegmentFolder:
    """The job's segments. Shots whose segments are not whole are forgotten, all when they are of another kind."""
    path = job.folder / SEGMENTS
    try:
        folder = media.SegmentFolder(path, run)
    except media.WriteFailed:
        job.forget(0)
        shutil.rmtree(path, ignore_errors=True)
        return media.SegmentFolder(path, run)
    whole = {segment.index for segment in folder.segments}
    broken = next((stretch for index, stretch in enumerate(job.stretches) if index not in whole), None)
    if broken is not None:
        job.forget(broken.shot)
    return folder
