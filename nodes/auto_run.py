"""The backend auto: this computer where it has a graphics card; RunComfy only where the settings allow it."""

from __future__ import annotations

import torch
from comfy_api.latest import Input

from ..engine.wish import Wish
from . import comfy_host
from .hosted_run import HostedRun
from .local_run import LocalRun
from .settings import ServerSettings, load
from .upscale_inputs import ESTIMATE, HOSTED, LOCAL

HERE = {"backend": LOCAL, "model": "auto", "precision": "auto", "memory_limit_gb": 0.0, "device": "auto"}
OVERLAP = 16  # as the RunComfy widget has it
ADVICE = (
    "This computer has no graphics card that can be used. Set backend to local to compute on the processor, or to "
    "RunComfy to upload the clip and pay; or allow this in the settings: SeedVR2 Anywhere, auto may upload and pay. "
    "Nothing was computed, uploaded or paid."
)


class Undecided(RuntimeError):
    """Where to compute must be said by the user; the message tells what it would take here, and how to choose."""


def auto_run(wish: Wish, run: str, preview_seconds: float, backend: dict, node: str | None):
    """The run of the backend that auto stands for on this machine."""
    if comfy_host.has_gpu():
        return LocalRun(wish, run, preview_seconds, HERE, node)
    settings = load(comfy_host.cache_folder())
    if settings.auto_may_pay:
        return HostedRun(wish, run, preview_seconds, hosted_backend(settings), node)
    return Advice(LocalRun(wish, ESTIMATE, preview_seconds, HERE, node), run == ESTIMATE)


def hosted_backend(settings: ServerSettings) -> dict:
    """What the RunComfy widgets would hold."""
    return {
        "backend": HOSTED,
        "spend_limit_usd": settings.run_limit_usd,
        "max_requests": settings.max_requests,
        "in_flight": settings.in_flight,
        "overlap": OVERLAP,
        "resubmit": "",
    }


class Advice:
    """Says what the run would take here and how to choose; computes, uploads and pays nothing."""

    def __init__(self, here: LocalRun, is_estimate: bool) -> None:
        self._here, self._is_estimate = here, is_estimate

    def restore_video(self, video: Input.Video) -> tuple[object, str]:
        return self._said(*self._here.restore_video(video))

    def restore_images(self, images: torch.Tensor) -> tuple[object, str]:
        return self._said(*self._here.restore_images(images))

    def _said(self, nothing: object, estimate: str) -> tuple[object, str]:
        text = f"{estimate}\n{ADVICE}"
        if self._is_estimate:
            return nothing, text
        raise Undecided(text)
