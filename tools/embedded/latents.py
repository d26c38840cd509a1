"""The transformer alone, on stored latents of clean and degraded clips: a step costs a hundredth of one through pixels.

What an error of a latent channel does to the picture is measured once, and errors count by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from seedvr2_anywhere.models.config import PATCH
from seedvr2_anywhere.models.dit_loader import load_dit
from seedvr2_anywhere.models.sampler import NOISE_TIMESTEP, condition_for
from torch import Tensor

from . import dit_start, vae_start
from .batches import Pair, draw_pair
from .clips import Library, Sampler
from .dit_plain import PlainDiT
from .learner import Course, Learner, State
from .place import Place
from .train import transferred
from .vae_plain import PlainVAE

VECTOR_RATE, MEMORY = 1e-3, 0.998
PROBE_CLIPS, PROBE_FRAMES, PROBE_SIDE, PROBE_SPREAD = 4, 21, 96, 0.3
EVENLY = 0.1  # share of the errors that counts the same in all channels
ERROR_FLOOR = 2e-3
LEAST_SIDE = 3  # tokens, of a cut
SAY_EVERY, FOLLOWING = 200, 0.01  # the figure that is told follows the last hundred steps


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


def run(
    stage: LatentStage, state: State, library: Library, say: Callable[[str], None], place: Place, part: Path
) -> State:
    """The stage from first to last step, from the best linear guess on; the VAE stays as it is. Nothing is kept."""
    torch.manual_seed(stage.seed)
    random = np.random.default_rng(stage.seed)
    sampler = Sampler(library, random)
    vae = {key: tensor.to(place.device) for key, tensor in vae_start.of(state).items()}
    coder = Coder(PlainVAE(vae, vae_start.CONFIG), vae_start.code_of(state).to(place.device), place)
    weight = importance(coder, sampler.draw(PROBE_CLIPS, PROBE_FRAMES, PROBE_SIDE).to(place.device))
    stored = [_pair(coder, sampler, random, stage, number) for number in range(stage.clips)]
    say(f"{stage.name}: {len(stored)} clips stored; weights of channels {weight.flatten().tolist()}")
    own = dict(dit_start.of(state))
    same = [pair for number, pair in enumerate(stored) if number % len(stage.sides) == 0]
    given, wanted = (torch.stack([pair[side] for pair in same]).float().cpu() for side in (1, 0))
    dit_start.fit(own, given, wanted)
    text = state["positive_conditioning"].to(place.device)
    return {**state, **learn(stage, own, text, stored, weight, random, say)}


@dataclass(frozen=True)
class Coder:
    """The VAE on the linear code of the pixels."""

    vae: PlainVAE
    first: Tensor
    place: Place

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Clips [N,3,T,S,S] → latents."""
        with self.place.autocast():
            return self.vae.encode(vae_start.entered(video, 2, self.first), 2).float()

    @torch.no_grad()
    def luma(self, latent: Tensor) -> Tensor:
        """[N,1,T,S,S] of latents."""
        return vae_start.left(self.vae.decode(latent, 2), 2, self.first)[:, :1]


def importance(coder: Coder, video: Tensor) -> Tensor:
    """What noise in each channel of the latent does to fine luma, [1,16,1,1,1], mean 1."""
    latent = coder.encode(video)
    before, effects = coder.luma(latent), []
    for channel in range(latent.shape[1]):
        moved = latent.clone()
        moved[:, channel] += PROBE_SPREAD * torch.randn_like(moved[:, channel])
        change = (coder.luma(moved) - before).expand(-1, 3, -1, -1, -1)
        effects.append(transferred(change, torch.zeros_like(change))[:, 0].square().mean())
    weight = torch.stack(effects)
    return (EVENLY + (1 - EVENLY) * weight / weight.mean()).view(1, -1, 1, 1, 1)


def learn(
    stage: LatentStage, own: State, text: Tensor, stored: list[Pair], weight: Tensor,
    random: np.random.Generator, say: Callable[[str], None],
) -> State:  # fmt: skip
    """The transformer's averaged tensors after the stage."""
    module = load_dit(own, device=text.device, dtype=torch.float32).train()
    transformer, learned = PlainDiT(module), State(module.named_parameters())
    learner = Learner(learned, Course(stage.steps, stage.rate, VECTOR_RATE, MEMORY))
    told = 0.0
    for number in range(stage.steps):
        loss, gain = _loss(transformer, text, stored, weight, random, stage.tokens)
        learner.step(number, loss)
        told += FOLLOWING * (gain - told)
        if number % SAY_EVERY == 0:
            say(f"{stage.name} {number} of {stage.steps}: {told:.2f} dB nearer to the clean latent than the given one")
    return {**own, **{key: tensor.cpu() for key, tensor in learner.average.items()}}


def _loss(
    transformer: PlainDiT, text: Tensor, stored: list[Pair], weight: Tensor,
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


def _pair(coder: Coder, sampler: Sampler, random: np.random.Generator, stage: LatentStage, number: int) -> Pair:
    """Latents of one clip, [16,t,h,w] float16: clean, degraded."""
    clips = draw_pair(sampler, random, 1, stage.frames, stage.sides[number % len(stage.sides)])
    clean, given = (coder.encode(clip.to(coder.place.device))[0].half() for clip in clips)
    return clean, given
