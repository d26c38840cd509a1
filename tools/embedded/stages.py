"""The stages of the embedded model's training, and a process that works through them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from . import dit_start, vae_start
from .clips import Library, Sampler, open_library
from .train import Stage, State, draw_pair, run
from .vae_plain import PlainVAE

PROCESSES = 2
START_SEED = 1245
START_CLIPS, START_FRAMES, START_SIDE = 72, 25, 96
FIT_CLIPS, FIT_FRAMES = 80, 17
FINE = (
    "encoder.conv_in", "encoder.down_blocks.0", "encoder.down_blocks.1", "decoder.up_blocks.2", "decoder.up_blocks.3",
    "decoder.conv_norm_out", "decoder.conv_out", "decoder.up_blocks.1.upsamplers",
)  # fmt: skip
SILENT = ("decoder.up_blocks.0.upsamplers.0",)
QUARTER = ("encoder.down_blocks.2.resnets.0", "decoder.up_blocks.1.resnets.0")

# frames, clips, side: long clips too, or errors would add up in time
MIXED = ((49, 1, 64), (17, 2, 80), (25, 1, 96), (49, 1, 64), (9, 4, 80))
STAGES = (
    Stage("eighth", 200, 3e-4, 300, 2, ((17, 2, 80), (25, 1, 80)), (*SILENT, *QUARTER), FINE),
    Stage("quarter", 300, 2e-4, 500, 2, MIXED, SILENT, FINE),
    Stage("vae", 900, 2e-4, 700, 2, MIXED, SILENT, FINE, restores=False),
    Stage("all", 800, 8e-5, 900, 2, MIXED, SILENT, FINE),
)


def work(rank: int, cache: Path, stages: Sequence[Stage]) -> None:
    """One of PROCESSES processes: from the start, or the last finished stage, to the end."""
    torch.set_num_threads(1)
    meeting = cache / f"meeting_{os.getppid()}"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    library, state = open_library(cache, "training"), None
    for stage in stages:
        path = cache / f"{stage.name}.pt"
        if path.exists():
            continue
        if state is None:
            number = stages.index(stage)
            state = finished(cache, stages[number - 1]) if number else begin(library)
        state = run(stage, state, library, _say(rank), (rank, PROCESSES))
        if rank == 0:
            torch.save(state, path)
    dist.barrier()


def begin(library: Library) -> State:
    """The closed-form start of all tensors."""
    random = np.random.default_rng(START_SEED)
    sampler = Sampler(library, random)
    state = vae_start.starting_weights(sampler.draw(START_CLIPS, START_FRAMES, START_SIDE), START_SEED)
    transformer = dit_start.starting_weights(START_SEED)
    clean, harmed = draw_pair(sampler, random, FIT_CLIPS, FIT_FRAMES, START_SIDE)
    vae, first = PlainVAE(state, vae_start.CONFIG, (*SILENT, *QUARTER)), vae_start.code_of(state)
    with torch.no_grad():
        wanted, given = (vae.encode(vae_start.code(clips, first)[:, :, 1:], 2) for clips in (clean, harmed))
    dit_start.fit(transformer, given, wanted)
    return {**state, **transformer}


def finished(cache: Path, stage: Stage) -> State:
    """What a stage left."""
    return torch.load(cache / f"{stage.name}.pt", weights_only=True)


def _say(rank: int):
    began = time.strftime("%H:%M")
    return (lambda text: print(f"[since {began}] {text}", flush=True)) if rank == 0 else (lambda text: None)
