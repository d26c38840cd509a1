"""Our transformer against ComfyUI's on random sizes, styles, grids and text lengths: as many as one likes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..models import load_dit
from ..models.config import DiTConfig
from .native_seedvr2 import native_dit, native_velocity
from .toy_weights import dit_config, dit_inputs, random_dit_weights

LARGEST_LATENT = 12_000  # positions of a random grid, so that a case takes a second at most


@dataclass(frozen=True)
class Case:
    """One random comparison."""

    config: DiTConfig
    grid: tuple[int, int, int]
    text_length: int
    timestep: float


def random_cases(seed: int) -> Iterator[Case]:
    """Endless cases, the same for a seed."""
    source = random.Random(seed)
    while True:
        style, layers = source.choice(("3b", "7b")), source.randint(1, 2) * 2
        config = dit_config(style, source.choice((128, 256, 384)), layers, source.randint(0, layers))
        frames = source.choice((1, 2, 3, 5, 9, 32))
        height = 2 * source.randint(1, 60)
        width = 2 * source.randint(1, max(1, LARGEST_LATENT // (2 * frames * height)))
        grid = (frames, min(height, LARGEST_LATENT // frames // 2 * 2), width)
        yield Case(config, grid, source.choice((1, 7, 58, 64)), source.choice((1000.0, 500.0, 37.5)))


def difference(case: Case, seed: int = 0) -> float:
    """Largest difference of the two velocities, float32 on the CPU."""
    state = random_dit_weights(case.config, seed)
    arguments = dit_inputs(case.config, case.grid, case.text_length, seed + 1)
    with torch.inference_mode():
        found = load_dit(state)(*arguments, case.timestep)
        expected = native_velocity(native_dit(case.config, state), *arguments, case.timestep)
    return (found - expected).abs().max().item()


def compare(seed: int, count: int) -> float:
    """Worst difference over `count` random cases; each is printed."""
    worst = 0.0
    for number, case in zip(range(count), random_cases(seed), strict=False):
        found = difference(case, seed + number)
        style = "3b" if case.config.dit_v2 else "7b"
        sizes = f"{style} width {case.config.width}, {case.config.separate}/{case.config.layers} separate"
        print(f"{sizes}, grid {case.grid}, text {case.text_length}, timestep {case.timestep}: {found:.1e}", flush=True)
        worst = max(worst, found)
    return worst
