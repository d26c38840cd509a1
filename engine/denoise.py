"""A shot's encoded latents restored: windows through the transformer, their answers stitched, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.dit import NaDiT
from ..models.errors import BadInput
from ..models.sampler import condition_for, guide, sample
from ..models.text import TextConditioning
from .noise import picture_noise, shot_noise
from .windows import Stitcher, Window, WindowFeed, Windowing

OFFICIAL_CFG = 1.0  # the negative text is not looked at


@dataclass(frozen=True)
class Part:
    """What is left to do of a shot: latents from `wanted` on, while encoded ones are there from `first` on."""

    shot: int  # number of the shot's first frame
    wanted: int = 0
    first: int = 0


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
    yield from denoise_part(dit, text, latents, windowing, seed, Part(shot), cfg_scale, check)


def denoise_part(
    dit: NaDiT,
    text: TextConditioning,
    latents: Iterable[Tensor],
    windowing: Windowing,
    seed: int,
    part: Part,
    cfg_scale: float = OFFICIAL_CFG,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Tensor]:
    """The same for the rest of an interrupted shot: exactly what the whole would have given from `part.wanted` on.

    `latents` begin at `part.first`; `encoded_from` says where that must be at the latest.
    """
    feed, stitcher, held, done = WindowFeed(windowing), Stitcher(), _Held(part.first), part.wanted

    def restore(windows: Iterable[Window]) -> Iterator[Tensor]:
        nonlocal done
        for window in windows:
            if window.stop <= part.wanted:
                continue
            latent = held.window(window)
            noise = shot_noise(seed, part.shot, (window.start, window.stop), (latent.shape[3], latent.shape[4]))
            ready = stitcher.push(window, restore_latent(dit, text, latent, noise, cfg_scale, check))
            new = ready[:, :, max(0, done - window.start) :]
            done += new.shape[2]
            if new.shape[2]:
                yield new

    yield from restore(feed.arrive(part.first))
    for latent in latents:
        held.push(latent)
        yield from restore(feed.arrive(latent.shape[2]))
    yield from restore(feed.end())


def encoded_from(wanted: int, windowing: Windowing) -> int:
    """First encoded latent that the latent `wanted` depends on, at the earliest."""
    return max(0, wanted - windowing.length + 1)


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
    """One step from noise [B,16,T,h,w] to the restored latent. Raises BadInput where guidance lacks its text."""
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

    def __init__(self, first: int) -> None:
        self._first = first  # number of the first latent held
        self._latents: list[Tensor] = []

    def push(self, latent: Tensor) -> None:
        self._latents += latent.split(1, dim=2)

    def window(self, window: Window) -> Tensor:
        """The latents of a window; those before it are needed no more. Raises BadInput when they were never given."""
        if window.start < self._first:
            raise BadInput(f"encoded latents begin at {self._first}, but are needed from {window.start} on.")
        self._latents = self._latents[window.start - self._first :]
        self._first = window.start
        return torch.cat(self._latents[: window.length], dim=2)
