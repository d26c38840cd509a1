"""The transformer alone, on stored latents of clean and degraded clips: a step costs a hundredth of one through pixels.

What an error of a latent channel does to the picture is measured once, and errors count by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from seedvr2_anywhere.models.config import PATCH
from seedvr2_anywhere.models.dit_loader import load_dit
from seedvr2_anywhere.models.sampler import NOISE_TIMESTEP, condition_for
from torch import Tensor

from . import dit_start, vae_start
from .clips import Library, Sampler
from .muon import Muon
from .train import BETAS, State, draw_pair, follow, transferred
from .vae_plain import PlainVAE

VECTOR_RATE, WARM_UP, LEAST_RATE = 1e-3, 40, 0.02
MEMORY = 0.998  # of the averaged weights
PROBE_CLIPS, PROBE_FRAMES, PROBE_SIDE, PROBE_SPREAD = 4, 21, 96, 0.3
EVENLY = 0.1  # share of the errors that counts the same in all channels
ERROR_FLOOR = 2e-3
LEAST_SIDE = 3  # tokens, of a cut
SAY_EVERY, FOLLOWING = 200, 0.01  # the figure that is told follows the last hundred steps

Pair = tuple[Tensor, Tensor]  # latents of one clip, [16,t,h,w] float16: clean, degraded


@dataclass(frozen=True)
class LatentStage:
    """The transformer's own stretch of training."""

    name: str
    steps: int
    rate: float  # of the matrices
    seed: int
    clips: int  # stored
    frames: int
    sides: tuple[int, ...]  # of clips, in turn
    tokens: int  # of a step, at least


def run(stage: LatentStage, state: State, library: Library, say: Callable[[str], None]) -> State:
    """The stage from first to last step, from the best linear guess on; the VAE stays as it is."""
    torch.manual_seed(stage.seed)
    random = np.random.default_rng(stage.seed)
    sampler = Sampler(library, random)
    vae, first = PlainVAE(vae_start.of(state), vae_start.CONFIG), vae_start.code_of(state)
    weight = importance(vae, first, sampler.draw(PROBE_CLIPS, PROBE_FRAMES, PROBE_SIDE))
    stored = [_pair(vae, first, sampler, random, stage, number) for number in range(stage.clips)]
    say(f"{stage.name}: {len(stored)} clips stored; weights of channels {weight.flatten().tolist()}")
    own = dict(dit_start.of(state))
    same = [pair for number, pair in enumerate(stored) if number % len(stage.sides) == 0]
    dit_start.fit(own, *(torch.stack(latents).float() for latents in zip(*(pair[::-1] for pair in same), strict=True)))
    return {**state, **learn(stage, own, state["positive_conditioning"], stored, weight, random, say)}


def importance(vae: PlainVAE, first: Tensor, video: Tensor) -> Tensor:
    """What noise in each channel of the latent does to fine luma, [1,16,1,1,1], mean 1."""
    latent = _encode(vae, first, video)
    before, effects = _luma(vae, first, latent), []
    for channel in range(latent.shape[1]):
        moved = latent.clone()
        moved[:, channel] += PROBE_SPREAD * torch.randn_like(moved[:, channel])
        change = (_luma(vae, first, moved) - before).expand(-1, 3, -1, -1, -1)
        effects.append(transferred(change, torch.zeros_like(change))[:, 0].square().mean())
    weight = torch.stack(effects)
    return (EVENLY + (1 - EVENLY) * weight / weight.mean()).view(1, -1, 1, 1, 1)


def learn(
    stage: LatentStage, own: State, text: Tensor, stored: list[Pair], weight: Tensor,
    random: np.random.Generator, say: Callable[[str], None],
) -> State:  # fmt: skip
    """The transformer's averaged tensors after the stage."""
    transformer = load_dit(own, dtype=torch.float32).train()
    learned = {key: tensor.requires_grad_(True) for key, tensor in transformer.named_parameters()}
    average = {key: tensor.detach().clone() for key, tensor in learned.items()}
    matrices = Muon([{"params": [p for p in learned.values() if p.dim() > 1]}], stage.rate)
    vectors = torch.optim.Adam([p for p in learned.values() if p.dim() < 2], lr=VECTOR_RATE, betas=BETAS)
    told = 0.0
    for number in range(stage.steps):
        wave = _wave(number, stage.steps)
        matrices.param_groups[0]["lr"], vectors.param_groups[0]["lr"] = stage.rate * wave, VECTOR_RATE * wave
        loss, gain = _loss(transformer, text, stored, weight, random, stage.tokens)
        transformer.zero_grad()
        loss.backward()
        matrices.step()
        vectors.step()
        follow(average, learned, min(MEMORY, (number + 1) / (number + 6)))
        told += FOLLOWING * (gain - told)
        if number % SAY_EVERY == 0:
            say(f"{stage.name} {number} of {stage.steps}: {told:.2f} dB nearer to the clean latent than the given one")
    return {**own, **average}


def _wave(number: int, steps: int) -> float:
    return min(1, (number + 1) / WARM_UP) * max(LEAST_RATE, 0.5 + 0.5 * math.cos(math.pi * number / steps))


def _loss(
    transformer: torch.nn.Module, text: Tensor, stored: list[Pair], weight: Tensor,
    random: np.random.Generator, tokens: int,
) -> tuple[Tensor, float]:  # fmt: skip
    """Decibels over cuts of stored clips, and the mean gain on the given latent."""
    losses, gains, seen = [], [], 0
    while seen < tokens:
        clean, given = _cut(stored[random.integers(len(stored))], random)
        noise = torch.randn_like(given)
        answer = noise - transformer(noise, condition_for(given), text, NOISE_TIMESTEP)
        error, before = ((weight * (latent - clean).square()).mean() for latent in (answer, given))
        losses.append((error + ERROR_FLOOR).log())
        gains.append(10 * math.log10(float(before) / float(error.detach())))
        seen += given[0, 0].numel() // PATCH**2
    return torch.stack(losses).mean(), float(np.mean(gains))


def _cut(pair: Pair, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A square of whole tokens of a stored clip, [1,16,t,s,s] each."""
    room = pair[0].shape[2] // PATCH
    side = int(random.integers(LEAST_SIDE, room + 1))
    top, left = (PATCH * int(start) for start in random.integers(0, room - side + 1, 2))
    rows, columns = slice(top, top + PATCH * side), slice(left, left + PATCH * side)
    clean, given = (latent[None, :, :, rows, columns].float() for latent in pair)
    return clean, given


def _pair(
    vae: PlainVAE, first: Tensor, sampler: Sampler, random: np.random.Generator, stage: LatentStage, number: int
) -> Pair:
    clips = draw_pair(sampler, random, 1, stage.frames, stage.sides[number % len(stage.sides)])
    clean, given = (_encode(vae, first, clip)[0].half() for clip in clips)
    return clean, given


def _encode(vae: PlainVAE, first: Tensor, video: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return vae.encode(vae_start.code(video, first)[:, :, 1:], 2).float()


def _luma(vae: PlainVAE, first: Tensor, latent: Tensor) -> Tensor:
    with torch.no_grad():
        return vae_start.unpacked(vae.decode(latent, 2)[:, : vae_start.CODE], first)[:, :1]
