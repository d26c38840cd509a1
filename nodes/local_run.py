"""The local backend: a video into a video through its job folder, or images into images in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from comfy_api.latest import Input

from .. import net
from ..engine.attend import attended
from ..engine.choice import Chosen, Place, choose, to_fetch
from ..engine.images import check_images, restore_images
from ..engine.job import require_place
from ..engine.network import Network, load_network, outline_of
from ..engine.outlook import Outlook, foresee, middle_of, plan_line
from ..engine.placement import Part
from ..engine.speed import Speeds, probe
from ..engine.upscale import Source, Terms, Upscaled, Wish, upscale
from . import comfy_host
from .live_status import LiveStatus, Stage
from .managed import LoadedNetwork
from .room import keep_to_limit
from .upscale_inputs import ESTIMATE, PREVIEW
from .video_value import AS_STORED, Clip, ClipVideo, HandedOut, Origin, as_clip_video

LOADED = LoadedNetwork()
RESULTS = HandedOut()
REUSED = "Reused, nothing computed or paid."
HDR_NOTE = "The source is HDR: a result from RunComfy is SDR."  # here it is kept
KEPT_HDR = "HDR kept: the source's light with the restored detail."
# stages, as the page shows them
CHOOSING: Stage = "Choosing the model"
DOWNLOADING: Stage = "Downloading the model"
LOADING: Stage = "Loading the model"
READING: Stage = "Reading the clip"
WORKING: dict[Part, Stage] = {"encoder": "Encoding", "transformer": "Restoring", "decoder": "Decoding"}


class LocalRun:
    """One execution of the node on this machine."""

    def __init__(self, wish: Wish, run: str, preview_seconds: float, backend: dict, node: str | None) -> None:
        self.wish, self.run, self.backend, self.node = wish, run, backend, node
        self.preview_seconds = preview_seconds
        self.device = comfy_host.device_for(backend["device"])
        self.machine = comfy_host.machine_for(self.device, backend["memory_limit_gb"])
        self.jobs = comfy_host.jobs_folder()
        self.speeds = Speeds(self.jobs)
        self.kept = 0
        self.told = comfy_host.broadcast(node, LiveStatus("local"))

    def restore_video(self, video: Input.Video) -> tuple[object, str]:
        """(VIDEO, report) through the job folder."""
        whole = as_clip_video(video, self.jobs / "sources")
        clip = whole.clip
        if self.run == PREVIEW:
            clip = replace(clip, selection=middle_of(whole.open(), clip.selection, self.preview_seconds))
        reader = clip.open(whole.info)
        keeps_hdr = reader.colour.is_hdr and not clip.as_sdr
        remarks = [KEPT_HDR] if keeps_hdr else []
        with self._telling(reader.expected):
            if (first := self._to_fetch()) and self.run == ESTIMATE:
                return self._estimated([self._sizes(reader.size, reader.expected), first, *remarks])
            if self.run != ESTIMATE:
                require_place(self.jobs)
            chosen = self._choose()
            outlook = self._foresee(chosen, reader.size, reader.expected)
            notes = [*outlook.lines, *remarks, *chosen.notes]
            if self.run == ESTIMATE:
                return self._estimated(notes)
            network = self._network(chosen, outlook)
            done = self._upscale(Source(clip.path, clip.selection, clip.treatment, keeps_hdr), network)
            RESULTS.add(done.path)
            comfy_host.show_first(self.node, done.path)
            keep_to_limit(comfy_host.jobs_folder(), RESULTS)
            report = "\n".join([*notes, *self._outcome(done)])
        origin = Origin(clip.name, network.name, str(self.wish.seed))
        return ClipVideo(Clip(done.path, treatment=AS_STORED, as_sdr=not keeps_hdr, origin=origin)), report

    def restore_images(self, images: torch.Tensor) -> tuple[object, str]:
        """(IMAGE, report) in memory."""
        check_images(images)
        if self.run == PREVIEW:
            images = images[len(images) // 2 :][:1]
        size = (images.shape[2], images.shape[1])
        with self._telling(len(images)):
            if (first := self._to_fetch()) and self.run == ESTIMATE:
                return self._estimated([self._sizes(size, len(images)), first])
            chosen = self._choose()
            outlook = self._foresee(chosen, size, len(images))
            notes = [*outlook.lines, *chosen.notes]
            if self.run == ESTIMATE:
                return self._estimated(notes)
            network = self._network(chosen, outlook)
            host = comfy_host.engine_host(self.node, lambda frames: None, self.told, self.machine)
            done = restore_images(images, self.wish, network, host)
            made = f"{len(done):,} image{'s' if len(done) != 1 else ''} restored."
            comfy_host.show_frame(self.node, done[0])
            self.told.update(state="done", frames=len(done), text=made)
        return done, "\n".join([*notes, made])

    @contextmanager
    def _telling(self, expected: int | None) -> Iterator[None]:
        """The page hears that a run begins, and of a stop or a failure."""
        self.told.update(expected=expected, stage=CHOOSING)
        try:
            yield
        except comfy_host.Interrupted:
            total = f" of {expected:,}" if expected else ""
            stopped = f"Stopped. {self.kept:,}{total} frames are kept; Run continues."
            self.told.update(state="stopped", text=stopped)
            raise
        except Exception as error:
            self.told.update(state="failed", text=str(error))
            raise

    @property
    def _place(self) -> Place:
        return Place(comfy_host.model_folders(), comfy_host.download_folder(), _hub)

    def _to_fetch(self) -> str:
        """What must be downloaded before anything else, in words; empty where all is here."""
        files = to_fetch(self.backend["model"], self._place)
        named = " and ".join(f"{file.name} ({file.size / 1e9:.1f} GB)" for file in files)
        return f"A run downloads {named} first; its memory and time can be told once that is here." if files else ""

    def _sizes(self, size: tuple[int, int], frames: int | None) -> str:
        return plan_line(size, self.wish.target((size[1], size[0])), frames, None)

    def _choose(self) -> Chosen:
        bar = comfy_host.download_progress(self.node)

        def progress(done: int, total: int | None) -> None:
            bar(done, total)
            of = f" of {total / 1e9:.2f}" if total else ""
            self.told.update(stage=DOWNLOADING, text=f"{done / 1e9:.2f}{of} GB")

        try:
            chosen = choose(self.backend["model"], self._place, comfy_host.free_bytes(self.device), progress,
                            comfy_host.is_interrupted)  # fmt: skip
        except net.Cancelled:
            comfy_host.stop_if_interrupted()
            raise
        comfy_host.stop_if_interrupted()
        self.told.update(text="")
        return chosen

    def _foresee(self, chosen: Chosen, size: tuple[int, int], frames: int | None) -> Outlook:
        """What is planned for a source (width, height), said on the node."""
        outline, card = outline_of(chosen.dit, chosen.vae, chosen.text), self.machine.card
        ask = partial(foresee, (size[1], size[0]), frames, self.wish, outline, self.machine, self.backend["precision"],
                      check=comfy_host.stop_if_interrupted)  # fmt: skip
        precision = ask().plan.semantic.precision
        measure = partial(attended, partial(probe, outline, self.device, precision), comfy_host.stop_if_interrupted)
        outlook = ask(self.speeds.known(card, outline, precision) or measure())
        plan = "\n".join(line for line in (outlook.line, outlook.warning) if line)
        self.told.update(plan=plan, takes_seconds=outlook.seconds)
        return outlook

    def _estimated(self, notes: list[str]) -> tuple[object, str]:
        report = "\n".join(notes)
        self.told.update(state="done", text=report)
        return comfy_host.blocked(), report

    def _network(self, chosen: Chosen, outlook: Outlook) -> Network:
        self.told.update(stage=LOADING)
        files, dtype = (chosen.dit, chosen.vae, chosen.text), outlook.plan.semantic.dtype
        key = (files, chosen.dit.stat().st_mtime, self.device, dtype)
        load = partial(load_network, *files, dtype=dtype, check=comfy_host.stop_if_interrupted)
        return LOADED.get(key, self.device, lambda managed: load(placement=managed), self._working)

    def _working(self, part: Part) -> None:
        self.told.update(stage=WORKING[part])

    def _upscale(self, source: Source, network: Network) -> Upscaled:
        self.told.update(stage=READING)
        host = comfy_host.engine_host(self.node, self._keep, self.told, self.machine)
        terms = Terms(comfy_host.running_prompt())
        return upscale(source, self.wish, network, self.jobs, host=host, terms=terms)

    def _keep(self, frames: int) -> None:
        self.kept = frames

    def _outcome(self, done: Upscaled) -> list[str]:
        """What was made, for the report, the node and the page."""
        lines = _outcome(done)
        self.told.update(state="done", frames=done.frames, text=lines[0], job=done.path.parent.name)
        return lines


def _hub():
    import os

    from ..engine.weights import Hub
    from ..models.catalogue import endpoint_of

    return Hub.at(endpoint_of(os.environ))


def _outcome(done: Upscaled) -> list[str]:
    if done.reused == done.frames:
        return [REUSED]
    kept = f"{done.reused:,} frames of an earlier run were kept." if done.reused else ""
    made = f"{done.frames:,} frames restored." if not kept else f"{done.frames:,} frames in all. {kept}"
    return [made, *done.notes]
