"""Training of the embedded model: VAE and transformer together, on pairs of clean and degraded clips.

The coarse levels learn first, on the linear code of the pixels that the start puts in front of them, because that is
cheap: nothing is computed at full size. Then the level of 2×2 cells learns, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from seedvr2_anywhere.models.dit_loader import load_dit
from seedvr2_anywhere.models.sampler import NOISE_TIMESTEP, condition_for
from torch import Tensor

from . import dit_start, vae_start
from .batches import batches
from .clips import Library
from .dit_plain import PlainDiT
from .learner import Course, Learner, State
from .place import Place
from .stage import Stage
from .vae_plain import PlainVAE

TRUNK_RATE = 0.5  # against the rate of the residual branches and the transformer
VECTOR_RATE, LONGEST_MEMORY = 2e-4, 0.995
LARGEST_LATENT = 4.0
TRANSFER_SIGMA, TRANSFER_RADIUS = 6.5, 16  # luma coarser than this comes from the source in the end
TRANSFORMER = "transformer."
SHARES = {"rebuilt": 0.5, "restored": 0.75, "as decoded": 0.25, "latent": 0.05, "large": 5e-4}  # of the losses
ERROR_FLOOR = 2e-5
SAY_EVERY = 50  # steps
SAVE_EVERY = 60  # seconds


class Trainer:
    """Weights, and how they learn, for one stage."""

    def __init__(self, state: Mapping[str, Tensor], stage: Stage, place: Place) -> None:
        self.stage, self.place = stage, place
        self._fixed = vae_start.with_plain_cells(state) if stage.level == 1 else dict(state)
        here = {key: tensor.to(place.device, copy=True) for key, tensor in self._fixed.items()}
        self.text = here["positive_conditioning"]
        self.first = vae_start.code_of(here)
        self.vae = vae_start.of(here)
        transformer = load_dit(dit_start.of(here), device=place.device, dtype=torch.float32).train()
        self.transformer = PlainDiT(transformer)
        self.learner = Learner(
            self._open(transformer), Course(stage.steps, stage.rate, VECTOR_RATE, LONGEST_MEMORY), _share
        )

    def step(self, number: int, clean: Tensor, harmed: Tensor) -> dict[str, Tensor]:
        """One update from clips [N,3,T,S,S]; returns the losses."""
        losses = self._restore(clean, harmed) if self.stage.restores else self._rebuild(clean)
        self.learner.step(number, torch.stack([SHARES[name] * value for name, value in losses.items()]).sum())
        return {name: value.detach() for name, value in losses.items()}

    def _rebuild(self, clean: Tensor) -> dict[str, Tensor]:
        """Clean clips through the VAE alone."""
        latent = self.encode(clean)
        return {"rebuilt": self._rebuilt(self.decode(latent), colours(clean)), "large": _excess(latent)}

    def _restore(self, clean: Tensor, harmed: Tensor) -> dict[str, Tensor]:
        """Clean clips through the VAE, harmed ones restored by the transformer in between."""
        latents = self.encode(torch.cat([clean, harmed]))
        latent, condition = latents.chunk(2)
        noise = torch.randn_like(latent)
        answer = noise - self.transformer(noise, condition_for(condition), self.text, NOISE_TIMESTEP)
        rebuilt, restored = self.decode(torch.cat([latent, answer])).chunk(2)
        wanted, weight = colours(clean), self.stage.decibels
        return {
            "rebuilt": self._rebuilt(rebuilt, wanted),
            "restored": loss(transferred(restored, colours(harmed)), wanted, weight),
            "as decoded": loss(restored, wanted, weight),
            "latent": (answer - latent.detach()).abs().mean(),
            "large": _excess(latents),
        }

    def _rebuilt(self, shown: Tensor, wanted: Tensor) -> Tensor:
        plain = loss(shown, wanted, self.stage.decibels)
        if not self.stage.true_colour:
            return plain
        error = torch.einsum("ck,nkthw->ncthw", torch.linalg.inv(vae_start.COLOUR).to(shown), shown - wanted)
        return plain + self.stage.true_colour * decibels(error)

    def encode(self, video: Tensor) -> Tensor:
        """Clips [N,3,T,S,S] → latents."""
        if self.stage.level:
            video = vae_start.entered(video, self.stage.level, self.first)
            # the gradient of a norm's input is asked for, since PyTorch crashes where it alone is not
            video.requires_grad_(torch.is_grad_enabled())
        with self.place.autocast():
            return self._plain().encode(video, self.stage.level).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → luma and chroma [N,3,T,S,S]."""
        with self.place.autocast():
            shown = self._plain().decode(latents, self.stage.level).float()
        return vae_start.left(shown, self.stage.level, self.first) if self.stage.level else colours(shown)

    def _plain(self) -> PlainVAE:
        return PlainVAE(self.vae, vae_start.CONFIG)

    def averaged(self) -> State:
        """All tensors of the model, the learned ones averaged."""
        learned = {key.removeprefix(TRANSFORMER): tensor.cpu() for key, tensor in self.learner.average.items()}
        return {**self._fixed, **learned}

    def _open(self, transformer: torch.nn.Module) -> State:
        """The tensors that learn."""
        frozen = tuple(f"{stem}." for stem in self.stage.frozen)
        learned = {key: tensor for key, tensor in self.vae.items() if not key.startswith(frozen)}
        if self.stage.restores:
            learned |= {f"{TRANSFORMER}{key}": tensor for key, tensor in transformer.named_parameters()}
        return learned


def run(stage: Stage, state: State, library: Library, say: Callable[[str], None], place: Place, part: Path) -> State:
    """The stage from first to last step; what is half done is kept in the file `part` and gone on from there."""
    first, kept = 0, None
    if part.exists():
        first, kept = (saved := torch.load(part, weights_only=True))["number"], saved
    drawn = batches(library, stage, first, place)
    trainer = Trainer(state, stage, place)
    if kept:
        trainer.learner.restore(kept)
    start = told = time.monotonic()
    for number, (clean, harmed) in enumerate(drawn, first):
        torch.manual_seed(stage.seed * stage.steps + number)
        losses = trainer.step(number, place.bring(clean), place.bring(harmed))
        if number % SAY_EVERY == 0:
            parts = " ".join(f"{key} {float(value):.4f}" for key, value in losses.items())
            say(f"{stage.name} {number} of {stage.steps}, {time.monotonic() - start:.0f} s: {parts}")
        if time.monotonic() - told > SAVE_EVERY:
            told = time.monotonic()
            save({"number": number + 1, **trainer.learner.kept()}, part)
    return trainer.averaged()


def save(content: dict, path: Path) -> None:
    """Write the file whole or not at all."""
    fresh = path.with_suffix(".new")
    torch.save(content, fresh)
    fresh.replace(path)


def colours(video: Tensor) -> Tensor:
    """RGB → luma and two chroma differences, [N,3,T,H,W]."""
    return torch.einsum("kc,ncthw->nkthw", vae_start.COLOUR.to(video), video)


def transferred(shown: Tensor, given: Tensor) -> Tensor:
    """Coarse luma taken from the source, as the engine's transfer of colour does: [N,3,T,H,W] of `colours` each."""
    difference = (given - shown)[:, 0]
    place = torch.arange(-TRANSFER_RADIUS, TRANSFER_RADIUS + 1, device=shown.device)
    kernel = torch.exp(-0.5 * (place / TRANSFER_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(difference.flatten(0, 1)[:, None], (TRANSFER_RADIUS,) * 4, mode="replicate")
    coarse = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return torch.cat([shown[:, :1] + coarse.view(difference.shape)[:, None], shown[:, 1:]], 1)


def loss(shown: Tensor, wanted: Tensor, weight: float) -> Tensor:
    """Absolute error and decibels, luma first; differences between neighbours in space and in time."""
    error = shown - wanted
    luma = error[:, 0]
    plain = 0.7 * luma.abs().mean() + 0.5 * error[:, 1:].abs().mean()
    edges = luma.diff(dim=3).abs().mean() + luma.diff(dim=2).abs().mean()
    return plain + weight * decibels(error[:, :1]) + 0.4 * edges + 0.2 * luma.diff(dim=1).abs().mean()


def decibels(error: Tensor) -> Tensor:
    """Logarithm of the mean square, the mean over clips [N,C,T,H,W]."""
    return (error.square().mean((1, 2, 3, 4)) + ERROR_FLOOR).log().mean()


def psnr(shown: Tensor, wanted: Tensor) -> float:
    """Of luma in −1..1, the mean over clips, in decibels."""
    return float((10 * torch.log10(4 / (shown - wanted)[:, 0].square().mean((1, 2, 3)))).mean())


def _excess(latents: Tensor) -> Tensor:
    return F.relu(latents.abs() - LARGEST_LATENT).square().mean()


def _share(key: str) -> float:
    """Of the full rate: residual branches and the transformer all of it."""
    branch = key.startswith(TRANSFORMER) or ((".resnets." in key or ".attentions." in key) and "shortcut" not in key)
    return 1.0 if branch else TRUNK_RATE
