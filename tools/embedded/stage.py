"""What one stretch of training is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stretch of training. `level` 2 works on the linear code of the pixels, 1 on 2×2 cells, 0 on the pixels."""

    name: str
    steps: int
    rate: float  # of the matrices
    seed: int
    level: int
    batches: tuple[tuple[int, int, int], ...]  # frames, clips and side of a batch, in turn
    frozen: tuple[str, ...]  # layers that stay as they start
    restores: bool = True  # else the VAE learns alone
    decibels: float = 0.03  # weight of luma's in a loss
    true_colour: float = 0.0  # weight of those of red, green and blue in what the VAE alone shows
