"""The stages of the embedded model's training, in order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from . import dit_start, latents, train, vae_start
from .clips import Library, Sampler, open_library
from .latents import LatentStage
from .train import Stage, State

START_SEED = 1245
START_CLIPS, START_FRAMES, START_SIDE = 72, 25, 96
# the code of the pixels, which the start fits and nothing improves: 45 to 51 dB
FINE = (
    "encoder.conv_in", "encoder.down_blocks.0", "encoder.down_blocks.1", "decoder.up_blocks.2", "decoder.up_blocks.3",
    "decoder.conv_norm_out", "decoder.conv_out", "decoder.up_blocks.1.upsamplers",
)  # fmt: skip

# frames, clips, side: long clips too, or errors would add up in time
MIXED = ((49, 1, 64), (17, 2, 80), (25, 1, 96), (17, 1, 128), (9, 4, 80))
STAGES: tuple[Stage | LatentStage, ...] = (
    Stage("vae", 8000, 3e-3, 2000, 2, MIXED, FINE, restores=False),
    LatentStage("latents", 1500, 3e-3, 3000, 600, 21, (96, 144, 208), 1500),
    Stage("all", 3200, 1.2e-3, 4000, 2, MIXED, FINE),
)


def work(cache: Path, stages: Sequence[Stage | LatentStage]) -> State:
    """From the start, or the last finished stage, to the end."""
    torch.set_num_threads(1)  # the figures of one thread do not depend on the machine's cores
    library, state = open_library(cache, "training"), None
    for stage in stages:
        path = cache / f"{stage.name}.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            continue
        learn = latents.run if isinstance(stage, LatentStage) else train.run
        state = learn(stage, state or begin(library), library, _say())  # pyright: ignore
        torch.save(state, path)
    assert state is not None
    return state


def begin(library: Library) -> State:
    """The closed-form start of all tensors."""
    sampler = Sampler(library, np.random.default_rng(START_SEED))
    video = sampler.draw(START_CLIPS, START_FRAMES, START_SIDE)
    return {**vae_start.starting_weights(video, START_SEED), **dit_start.starting_weights(START_SEED)}


def _say():
    began = time.strftime("%H:%M")
    return lambda text: print(f"[since {began}] {text}", flush=True)
