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
from .learner import State
from .place import Place
from .stage import Stage

START_SEED = 1245
START_CLIPS, START_FRAMES, START_SIDE = 72, 25, 96
# the code of the pixels, which the start fits and nothing improves: 45 to 51 dB
FINE = (
    "encoder.conv_in", "encoder.down_blocks.0", "encoder.down_blocks.1", "decoder.up_blocks.2", "decoder.up_blocks.3",
    "decoder.conv_norm_out", "decoder.conv_out", "decoder.up_blocks.1.upsamplers",
)  # fmt: skip
# the same from the level of 2×2 cells on
FINEST = (
    "encoder.conv_in", "encoder.down_blocks.0", "decoder.up_blocks.2.upsamplers", "decoder.up_blocks.3",
    "decoder.conv_norm_out", "decoder.conv_out",
)  # fmt: skip

# frames, clips, side: long clips too, or errors would add up in time
MIXED = ((49, 1, 64), (17, 2, 80), (25, 1, 96), (17, 1, 128), (9, 4, 80))
LARGE = ((17, 36, 96), (25, 15, 128), (49, 12, 96), (9, 36, 128))
STAGES: tuple[Stage | LatentStage, ...] = (
    Stage("vae", 8000, 3e-3, 2000, 2, MIXED, FINE, restores=False),
    LatentStage("latents", 1500, 3e-3, 3000, 600, 21, (96, 144, 208), 1500),
    Stage("all", 3200, 1.2e-3, 4000, 2, MIXED, FINE),
    Stage("cells", 3500, 2e-3, 5000, 1, LARGE, FINEST, decibels=0.05, true_colour=0.015),
)


def work(cache: Path, stages: Sequence[Stage | LatentStage], place: Place) -> State:
    """From the start, or where the last run stopped, to the end."""
    torch.set_num_threads(1)  # the figures of one thread do not depend on the machine's cores
    library, state = open_library(cache, "training"), None
    for stage in stages:
        path = cache / f"{stage.name}.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            continue
        learn = latents.run if isinstance(stage, LatentStage) else train.run
        state = learn(stage, state or begin(library), library, _say(), place, cache / f"{stage.name}.part")  # pyright: ignore
        train.save(state, path)
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
