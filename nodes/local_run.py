"""The local backend: a video into a video through its job folder, or images into images in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from comfy_api.latest import Input

from ..engine.choice import AUTO, Chosen, Place, choose
from ..engine.images import restore_images
from ..engine.network import Network, load_network
from ..engine.outlook import look_ahead, middle_of, plan_line
from ..engine.upscale import Source, Upscaled, Wish, upscale
from . import comfy_host
from .live_status import LiveStatus
from .managed import LoadedNetwork
from .upscale_inputs import ESTIMATE, PREVIEW
from .video_value import Clip, ClipVideo, Origin, as_clip_video

PRECISIONS = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LOADED = LoadedNetwork()
RESULTS: set[Path] = set()  # files that VIDEOs handed out in this server's life refer to
REUSED = "Reused, nothing computed or paid."
NO_OUTLOOK = "Time and peak memory are not estimated in this version."
HDR_NOTE = "The source is HDR: the result is SDR, HDR results are not in this version."
LIMIT_NOTE = "memory_limit_gb is not applied in this version."
CHOOSING, LOADING, RESTORING = "Choosing the model", "Loading {}", "Restoring"  # stages, as the page shows them


class LocalRun:
    """One execution of the node on this machine."""

    def __init__(self, wish: Wish, run: str, preview_seconds: float, backend: dict, node: str | None) -> None:
        self.wish, self.run, self.backend, self.node = wish, run, backend, node
        self.preview_seconds = preview_seconds
        self.device = comfy_host.device_for(backend["device"])
        self.kept = 0
        self.told = comfy_host.broadcast(node, LiveStatus("local"))

    def restore_video(self, video: Input.Video) -> tuple[object, str]:
        """(VIDEO, report) through the job folder."""
        jobs = comfy_host.jobs_folder()
        whole = as_clip_video(video, jobs / "sources")
        clip = whole.clip
        if self.run == PREVIEW:
            clip = Clip(clip.path, middle_of(whole.open(), clip.selection, self.preview_seconds), clip.treatment,
                        clip.as_sdr, clip.origin, clip.allowed)  # fmt: skip
        reader = clip.open(whole.info)
        width, height = reader.size
        plan = plan_line((width, height), look_ahead((height, width), self.wish), reader.expected, reader.rate)
        notes = [plan, *self._remarks(reader.colour.is_hdr and not clip.as_sdr)]
        comfy_host.say(plan, self.node)
        with self._telling(plan, reader.expected):
            if self.run == ESTIMATE:
                return self._estimate(notes)
            chosen, network = self._network()
            done = self._upscale(Source(clip.path, clip.selection, clip.treatment), network, jobs)
            RESULTS.add(done.path)
            report = "\n".join([*notes, *chosen.notes, *self._outcome(done)])
        return ClipVideo(Clip(done.path, origin=Origin(clip.name, network.name, str(self.wish.seed)))), report

    def restore_images(self, images: torch.Tensor) -> tuple[object, str]:
        """(IMAGE, report) in memory."""
        if self.run == PREVIEW:
            images = images[len(images) // 2 :][:1]
        height, width = images.shape[1:3]
        plan = plan_line((width, height), look_ahead((height, width), self.wish), len(images), None)
        notes = [plan, *self._remarks(False)]
        with self._telling(plan, len(images)):
            if self.run == ESTIMATE:
                return self._estimate(notes)
            chosen, network = self._network()
            self.told.update(stage=RESTORING)
            host = comfy_host.engine_host(self.node, lambda frames: None, self.told)
            done = restore_images(images, self.wish, network, host)
            made = f"{len(done):,} images restored."
            self.told.update(state="done", frames=len(done), text=made)
        return done, "\n".join([*notes, *chosen.notes, made])

    @contextmanager
    def _telling(self, plan: str, expected: int | None) -> Iterator[None]:
        """The page hears of the plan, and of a stop or a failure."""
        self.told.update(plan=plan, expected=expected, stage=CHOOSING)
        try:
            yield
        except comfy_host.Interrupted:
            total = f" of {expected:,}" if expected else ""
            stopped = f"Stopped. {self.kept:,}{total} frames are kept; Run continues."
            comfy_host.say(stopped, self.node)
            self.told.update(state="stopped", text=stopped)
            raise
        except Exception as error:
            self.told.update(state="failed", text=str(error))
            raise

    def _estimate(self, notes: list[str]) -> tuple[object, str]:
        report = "\n".join([*notes, *self._choose().notes, NO_OUTLOOK])
        self.told.update(state="done", text=report)
        return comfy_host.blocked(), report

    def _upscale(self, source: Source, network: Network, jobs: Path) -> Upscaled:
        self.told.update(stage=RESTORING)
        host = comfy_host.engine_host(self.node, self._keep, self.told)
        return upscale(source, self.wish, network, jobs, host=host)

    def _keep(self, frames: int) -> None:
        self.kept = frames

    def _outcome(self, done: Upscaled) -> list[str]:
        """What was made, for the report, the node and the page."""
        lines = _outcome(done)
        if done.reused == done.frames:
            comfy_host.say(REUSED, self.node)
        self.told.update(state="done", frames=done.frames, text=lines[0], job=done.path.parent.name)
        return lines

    def _remarks(self, loses_hdr: bool) -> list[str]:
        return [*([HDR_NOTE] if loses_hdr else []), *([LIMIT_NOTE] if self.backend["memory_limit_gb"] else [])]

    def _choose(self) -> Chosen:
        folders = comfy_host.model_folders()
        place = Place(folders, comfy_host.download_folder(), comfy_host.cache_folder(), _hub)
        return choose(self.backend.get("model", AUTO), place, comfy_host.free_bytes(self.device),
                      comfy_host.download_progress(self.node), comfy_host.is_interrupted)  # fmt: skip

    def _network(self) -> tuple[Chosen, Network]:
        chosen = self._choose()
        comfy_host.stop_if_interrupted()
        self.told.update(stage=LOADING.format(chosen.dit.name))
        files = (chosen.dit, chosen.vae, chosen.text)
        dtype = PRECISIONS[self.backend["precision"]]
        key = (files, chosen.dit.stat().st_mtime, self.device, dtype)
        load = partial(load_network, *files, dtype=dtype)
        return chosen, LOADED.get(key, self.device, lambda managed: load(placement=managed))


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
