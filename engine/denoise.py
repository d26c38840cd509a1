"""A shot's encoded latents restored: windows through the transformer, their answers stitched, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from ..models.dit import NaDiT
from ..models.errors import BadInput
from ..models.sampler import condition_for, guide, sample
from ..models.text import TextConditioning
from .noise import picture_noise, shot_noise
from .windows import Stitcher, Window, WindowFeed, Windowing

OFFICIAL_CFG = 1.0  # the negative text is not looked at


def denoise(
    dit: NaDiT,
    text: TextConditioning,
    latents: Iterable[Tensor],
    windowing: Windowing,
    seed: int,
    shot: int,
    cfg_scale: float = OFFICIAL_CFG,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Tensor]:
    """Encoded latents [1,16,T,h,w] of a shot, in pushes of any size → restored ones, in order, float32.

    `shot` is the number of the shot's first frame; `check` is called before each block of the transformer. Holds the
    latents of a few windows, whatever the shot's length.
    """
    feed, stitcher, held = WindowFeed(windowing), Stitcher(), _Held()

    def restore(window: Window) -> Tensor:
        latent = held.window(window)
        noise = shot_noise(seed, shot, (window.start, window.stop), (latent.shape[3], latent.shape[4]))
        return stitcher.push(window, restore_latent(dit, text, latent, noise, cfg_scale, check))

    for latent in latents:
        held.push(latent)
        for window in feed.arrive(latent.shape[2]):
            yield restore(window)
    for window in feed.end():
        yield restore(window)


def denoise_pictures(
    dit: NaDiT,
    text: TextConditioning,
    latents: Tensor,
    seed: int,
    cfg_scale: float = OFFICIAL_CFG,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Latents [B,16,1,h,w] of separate pictures, each restored as if it were alone."""
    noise = picture_noise(seed, latents.shape[0], (latents.shape[3], latents.shape[4]))
    return restore_latent(dit, text, latents, noise, cfg_scale, check)


def restore_latent(
    dit: NaDiT, text: TextConditioning, latent: Tensor, noise: Tensor, cfg_scale: float, check: Callable[[], None]
) -> Tensor:
    """One step from noise [B,16,T,h,w] to the restored latent. Raises BadInput if guidance lacks its text."""
    if cfg_scale != OFFICIAL_CFG and text.negative is None:
        raise BadInput(f"cfg_scale {cfg_scale} needs the negative text conditioning, which is not there; use 1.0.")
    latent = latent.float()
    condition, noise = condition_for(latent), noise.to(latent.device)
    dit.on_block = lambda index, count: check()

    def velocity(x: Tensor, timestep: float) -> Tensor:
        positive = dit(x, condition, text.positive, timestep)
        if cfg_scale == OFFICIAL_CFG or text.negative is None:
            return positive
        return guide(positive, dit(x, condition, text.negative, timestep), cfg_scale)

    try:
        with torch.no_grad():
            return sample(velocity, noise)
    finally:
        dit.on_block = None


class _Held:
    """Encoded latents that a later window may still need."""

    def __init__(self) -> None:
        self._first = 0  # number of the first latent held
        self._latents: list[Tensor] = []

    def push(self, latent: Tensor) -> None:
        self._latents += latent.split(1, dim=2)

    def window(self, window: Window) -> Tensor:
        """The latents of a window; those before it are needed no more."""
        self._latents = self._latents[window.start - self._first :]
        self._first = window.start
        return torch.cat(self._latents[: window.length], dim=2)
