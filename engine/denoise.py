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


@dataclass(frozen=True)
class Denoiser:
    """A transformer with its text and all that decides its answers.

    `use` is called before it computes, `check` before each of its blocks; both may raise.
    """

    dit: NaDiT
    text: TextConditioning
    windowing: Windowing
    seed: int
    cfg_scale: float = OFFICIAL_CFG
    check: Callable[[], None] = lambda: None
    use: Callable[[], None] = lambda: None

    def restore(self, latents: Iterable[Tensor], part: Part) -> Iterator[Tensor]:
        """Encoded latents [1,16,T,h,w] of a shot from `part.first` on, in pushes of any size → restored ones, float32.

        They come in order from `part.wanted` on, exactly as the whole shot would have given them; `encoded_from` says
        where `latents` must begin at the latest. Holds those of a few windows, whatever the shot's length.
        """
        feed, stitcher, held, done = WindowFeed(self.windowing), Stitcher(), _Held(part.first), part.wanted

        def restore(windows: Iterable[Window]) -> Iterator[Tensor]:
            nonlocal done
            for window in windows:
                if window.stop <= part.wanted:
                    continue
                latent = held.window(window)
                noise = shot_noise(self.seed, part.shot, (window.start, window.stop), _size(latent))
                ready = stitcher.push(window, self._step(latent, noise))
                new = ready[:, :, max(0, done - window.start) :]
                done += new.shape[2]
                if new.shape[2]:
                    yield new

        yield from restore(feed.arrive(part.first))
        for latent in latents:
            held.push(latent)
            yield from restore(feed.arrive(latent.shape[2]))
        yield from restore(feed.end())

    def restore_pictures(self, latents: Tensor) -> Tensor:
        """Latents [B,16,1,h,w] of separate pictures, each restored as if it were alone."""
        return self._step(latents, picture_noise(self.seed, latents.shape[0], _size(latents)))

    def _step(self, latent: Tensor, noise: Tensor) -> Tensor:
        """One step from noise [B,16,T,h,w] to the restored latent. Raises BadInput where guidance lacks its text."""
        negative = None if self.cfg_scale == OFFICIAL_CFG else self.text.negative
        if self.cfg_scale != OFFICIAL_CFG and negative is None:
            raise BadInput(
                f"cfg_scale {self.cfg_scale} needs the negative text conditioning, which is not there; use 1.0."
            )
        latent = latent.float()
        condition, noise = condition_for(latent), noise.to(latent.device)

        def velocity(x: Tensor, timestep: float) -> Tensor:
            positive = self.dit(x, condition, self.text.positive, timestep)
            if negative is None:
                return positive
            return guide(positive, self.dit(x, condition, negative, timestep), self.cfg_scale)

        self.use()
        self.dit.on_block = lambda index, count: self.check()
        try:
            with torch.no_grad():
                return sample(velocity, noise)
        finally:
            self.dit.on_block = None


def encoded_from(wanted: int, windowing: Windowing) -> int:
    """First encoded latent that the latent `wanted` depends on, at the earliest."""
    return max(0, wanted - windowing.length + 1)


def _size(latent: Tensor) -> tuple[int, int]:
    return latent.shape[3], latent.shape[4]


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
