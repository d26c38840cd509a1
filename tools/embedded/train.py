"""Training of the embedded model: VAE and transformer together, on pairs of clean and degraded clips.

The coarse levels learn first, on the linear code of the pixels that the start puts in front of them, because that is
cheap: nothing is computed at full size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from seedvr2_anywhere.engine.padding import BLACK, FEWEST_MIRRORED, mirror_indices
from seedvr2_anywhere.models.dit_loader import load_dit
from seedvr2_anywhere.models.sampler import NOISE_TIMESTEP, condition_for
from torch import Tensor

from . import dit_start, vae_start
from .clips import Library, Sampler
from .degrade import degrade, draw_harm
from .muon import Muon
from .vae_plain import PlainVAE

FACTORS = (2, 2, 3, 4)  # of the degradation, each as often as it stands here
BORDERED_SHARE = 0.15  # clips with the engine's border below
TRUNK_RATE = 0.5  # against the rate of the residual branches and the transformer
VECTOR_RATE, BETAS = 2e-4, (0.9, 0.995)  # Adam's, for biases and norms
LEAST_RATE, WARM_UP = 0.03, 40  # share of the full rate at the end; steps
MOST_GROWTH, FOLLOWING = 1.5, 0.05  # a tensor's gradient against what it usually is, and how fast that follows
LONGEST_MEMORY = 0.995  # of the averaged weights
LARGEST_LATENT = 4.0
TRANSFER_SIGMA, TRANSFER_RADIUS = 6.5, 16  # luma coarser than this comes from the source in the end
TRANSFORMER = "transformer."
SHARES = {"rebuilt": 0.5, "restored": 0.75, "as decoded": 0.25, "latent": 0.05, "large": 5e-4}  # of the losses

State = dict[str, Tensor]


@dataclass(frozen=True)
class Stage:
    """One stretch of training. `level` 2 works on the linear code of the pixels, 0 on the pixels themselves."""

    name: str
    steps: int
    rate: float  # of the matrices
    seed: int
    level: int
    batches: tuple[tuple[int, int, int], ...]  # frames, clips and side of a batch, in turn
    frozen: tuple[str, ...]  # layers that stay as they start
    restores: bool = True  # else the VAE learns alone


class Trainer:
    """Weights, their average over time, and the optimisers, for one stage."""

    def __init__(self, state: Mapping[str, Tensor], stage: Stage) -> None:
        self.stage = stage
        self._fixed = dict(state)
        self.text = state["positive_conditioning"]
        self.first = vae_start.code_of(state)
        self.transformer = load_dit(dit_start.of(state), dtype=torch.float32).train()
        self.vae = {key: tensor.clone() for key, tensor in vae_start.of(state).items()}
        self._learned = self._open()
        self._average = {key: tensor.detach().clone() for key, tensor in self._learned.items()}
        self._usual = dict.fromkeys(self._learned, 0.0)
        vectors = [tensor for tensor in self._learned.values() if tensor.dim() < 2]
        self._matrices = Muon(self._groups(), stage.rate)
        self._vectors = torch.optim.Adam(vectors, lr=VECTOR_RATE, betas=BETAS)

    def step(self, number: int, clean: Tensor, harmed: Tensor) -> dict[str, float]:
        """One update from clips [N,3,T,S,S]; returns the losses."""
        for group in self._matrices.param_groups:
            group["lr"] = group["share"] * self.stage.rate * self._wave(number)
        self._vectors.param_groups[0]["lr"] = VECTOR_RATE * self._wave(number)
        losses = self._restore(clean, harmed) if self.stage.restores else self._rebuild(clean)
        for tensor in self._learned.values():
            tensor.grad = None
        torch.stack([SHARES[name] * value for name, value in losses.items()]).sum().backward()
        self._tame()
        self._matrices.step()
        self._vectors.step()
        follow(self._average, self._learned, min(LONGEST_MEMORY, (number + 1) / (number + 6)))
        return {name: float(value.detach()) for name, value in losses.items()}

    def _rebuild(self, clean: Tensor) -> dict[str, Tensor]:
        """Clean clips through the VAE alone."""
        latent = self.encode(clean)
        return {"rebuilt": loss(self.decode(latent), colours(clean)), "large": _excess(latent)}

    def _restore(self, clean: Tensor, harmed: Tensor) -> dict[str, Tensor]:
        """Clean clips through the VAE, harmed ones restored by the transformer in between."""
        latents = self.encode(torch.cat([clean, harmed]))
        latent, condition = latents.chunk(2)
        noise = torch.randn_like(latent)
        answer = noise - self.transformer(noise, condition_for(condition), self.text, NOISE_TIMESTEP)
        rebuilt, restored = self.decode(torch.cat([latent, answer])).chunk(2)
        wanted = colours(clean)
        return {
            "rebuilt": loss(rebuilt, wanted),
            "restored": loss(transferred(restored, colours(harmed)), wanted),
            "as decoded": loss(restored, wanted),
            "latent": (answer - latent.detach()).abs().mean(),
            "large": _excess(latents),
        }

    def encode(self, video: Tensor) -> Tensor:
        """Clips [N,3,T,S,S] → latents."""
        if self.stage.level:
            # the gradient of a norm's input is asked for, since PyTorch crashes where it alone is not
            video = vae_start.code(video, self.first)[:, :, 1:].requires_grad_(torch.is_grad_enabled())
        with torch.autocast("cpu", torch.bfloat16):
            return self._plain().encode(video, self.stage.level).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → luma and chroma [N,3,T,S,S]."""
        with torch.autocast("cpu", torch.bfloat16):
            shown = self._plain().decode(latents, self.stage.level).float()
        return vae_start.unpacked(shown[:, : vae_start.CODE], self.first) if self.stage.level else colours(shown)

    def _plain(self) -> PlainVAE:
        return PlainVAE(self.vae, vae_start.CONFIG)

    def averaged(self) -> State:
        """All tensors of the model, the learned ones averaged."""
        learned = {key.removeprefix(TRANSFORMER): tensor for key, tensor in self._average.items()}
        return {**self._fixed, **learned}

    def _open(self) -> dict[str, Tensor]:
        """The tensors that learn."""
        frozen = tuple(f"{stem}." for stem in self.stage.frozen)
        learned = {key: tensor for key, tensor in self.vae.items() if not key.startswith(frozen)}
        if self.stage.restores:
            learned |= {f"{TRANSFORMER}{key}": tensor for key, tensor in self.transformer.named_parameters()}
        return {key: tensor.requires_grad_(True) for key, tensor in learned.items()}

    def _groups(self) -> list[dict]:
        groups: dict[float, list[Tensor]] = {}
        for key, tensor in self._learned.items():
            if tensor.dim() > 1:
                groups.setdefault(1.0 if _is_branch(key) else TRUNK_RATE, []).append(tensor)
        return [{"params": tensors, "share": share} for share, tensors in groups.items()]

    def _wave(self, number: int) -> float:
        """The rate at a step, against the full one."""
        wave = 0.5 + 0.5 * math.cos(math.pi * number / self.stage.steps)
        return min(1, (number + 1) / WARM_UP) * (LEAST_RATE + (1 - LEAST_RATE) * wave)

    def _tame(self) -> None:
        """Each tensor's gradient at most a little larger than usual: flat pictures make some of them jump."""
        for key, tensor in self._learned.items():
            tensor.grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            size = float(tensor.grad.norm())
            usual = self._usual[key] or size
            if size > MOST_GROWTH * usual:
                tensor.grad.mul_(MOST_GROWTH * usual / size)
            self._usual[key] = usual + FOLLOWING * (min(size, 2 * usual) - usual)


def run(stage: Stage, state: State, library: Library, say: Callable[[str], None]) -> State:
    """The stage from first to last step."""
    torch.manual_seed(stage.seed)
    random = np.random.default_rng(stage.seed)
    sampler, trainer = Sampler(library, random), Trainer(state, stage)
    draw = draw_pair if stage.restores else draw_clean
    start = time.monotonic()
    for number in range(stage.steps):
        frames, count, side = stage.batches[number % len(stage.batches)]
        losses = trainer.step(number, *draw(sampler, random, count, frames, side))
        if number % 50 == 0:
            parts = " ".join(f"{key} {value:.4f}" for key, value in losses.items())
            say(f"{stage.name} {number} of {stage.steps}, {time.monotonic() - start:.0f} s: {parts}")
    return trainer.averaged()


def draw_clean(
    sampler: Sampler, random: np.random.Generator, count: int, frames: int, side: int
) -> tuple[Tensor, Tensor]:
    """Clean clips [N,3,T,S,S], twice, for a stage that only rebuilds."""
    clean = sampler.draw(count, frames, side)
    clean = border(clean) if random.random() < BORDERED_SHARE else clean
    return clean, clean


def draw_pair(
    sampler: Sampler, random: np.random.Generator, count: int, frames: int, side: int
) -> tuple[Tensor, Tensor]:
    """Clean clips and what a user would have of them, enlarged, [N,3,T,S,S] each."""
    clean = sampler.draw(count, frames, side)
    harmed = torch.stack([degrade(clip, draw_harm(random, FACTORS)) for clip in clean])
    if random.random() < BORDERED_SHARE:
        return border(clean), border(harmed)
    return clean, harmed


def follow(average: State, learned: State, memory: float) -> None:
    """Let the averaged tensors follow the learned ones, in place."""
    with torch.no_grad():
        for key, tensor in learned.items():
            average[key].lerp_(tensor, 1 - memory)


def border(clips: Tensor) -> Tensor:
    """The lowest rows replaced by the border that the engine puts there: mirrored rows, then black ones."""
    rows = mirror_indices(clips.shape[3] - FEWEST_MIRRORED - BLACK, FEWEST_MIRRORED)
    return F.pad(clips[:, :, :, rows], (0, 0, 0, BLACK), value=-1.0)


def colours(video: Tensor) -> Tensor:
    """RGB → luma and two chroma differences, [N,3,T,H,W]."""
    return torch.einsum("kc,ncthw->nkthw", vae_start.COLOUR, video)


def transferred(shown: Tensor, given: Tensor) -> Tensor:
    """Coarse luma taken from the source, as the engine's transfer of colour does: [N,3,T,H,W] of `colours` each."""
    difference = (given - shown)[:, 0]
    place = torch.arange(-TRANSFER_RADIUS, TRANSFER_RADIUS + 1)
    kernel = torch.exp(-0.5 * (place / TRANSFER_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(difference.flatten(0, 1)[:, None], (TRANSFER_RADIUS,) * 4, mode="replicate")
    coarse = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return torch.cat([shown[:, :1] + coarse.view(difference.shape)[:, None], shown[:, 1:]], 1)


def loss(shown: Tensor, wanted: Tensor) -> Tensor:
    """Absolute error and decibels, luma first; differences between neighbours in space and in time."""
    error = shown - wanted
    luma = error[:, 0]
    plain = 0.7 * luma.abs().mean() + 0.5 * error[:, 1:].abs().mean()
    decibels = (luma.square().mean((1, 2, 3)) + 2e-5).log().mean()
    edges = luma.diff(dim=3).abs().mean() + luma.diff(dim=2).abs().mean()
    return plain + 0.03 * decibels + 0.4 * edges + 0.2 * luma.diff(dim=1).abs().mean()


def psnr(shown: Tensor, wanted: Tensor) -> float:
    """Of luma in −1..1, the mean over clips, in decibels."""
    return float((10 * torch.log10(4 / (shown - wanted)[:, 0].square().mean((1, 2, 3)))).mean())


def _excess(latents: Tensor) -> Tensor:
    return F.relu(latents.abs() - LARGEST_LATENT).square().mean()


def _is_branch(key: str) -> bool:
    return key.startswith(TRANSFORMER) or ((".resnets." in key or ".attentions." in key) and "shortcut" not in key)
