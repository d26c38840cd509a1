"""Training batches by number, drawn and degraded by worker processes while the network learns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from seedvr2_anywhere.engine.padding import BLACK, FEWEST_MIRRORED, mirror_indices
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .clips import Library, Sampler
from .degrade import degrade, draw_harm
from .place import Place
from .stage import Stage

FACTORS = (2, 2, 3, 4)  # of the degradation, each as often as it stands here
BORDERED_SHARE = 0.15  # clips with the engine's border below
AHEAD = 4  # batches that a worker may have ready

Pair = tuple[Tensor, Tensor]  # clean and degraded clips, [N,3,T,S,S] each


class Batches(Dataset):
    """Batch n follows from the seed and n alone, whoever draws it; float16, which halves the way to a device."""

    def __init__(self, library: Library, stage: Stage) -> None:
        self._library, self._stage = library, stage

    def __getitem__(self, number: int) -> Pair:
        torch.set_num_threads(1)
        random = np.random.default_rng((self._stage.seed, number))
        frames, count, side = self._stage.batches[number % len(self._stage.batches)]
        draw = draw_pair if self._stage.restores else draw_clean
        clean, harmed = draw(Sampler(self._library, random), random, count, frames, side)
        return clean.half(), harmed.half()


def batches(library: Library, stage: Stage, first: int, place: Place) -> Iterator[Pair]:
    """The batches from number `first` on, in order."""
    loader = DataLoader(
        Batches(library, stage), batch_size=None, sampler=range(first, stage.steps), num_workers=place.workers,
        prefetch_factor=AHEAD if place.workers else None, pin_memory=place.device.type == "cuda",
    )  # fmt: skip
    return iter(loader)


def draw_clean(sampler: Sampler, random: np.random.Generator, count: int, frames: int, side: int) -> Pair:
    """Clean clips, twice, for a stage that only rebuilds."""
    clean = sampler.draw(count, frames, side)
    clean = border(clean) if random.random() < BORDERED_SHARE else clean
    return clean, clean


def draw_pair(sampler: Sampler, random: np.random.Generator, count: int, frames: int, side: int) -> Pair:
    """Clean clips and what a user would have of them, enlarged."""
    clean = sampler.draw(count, frames, side)
    harmed = torch.stack([degrade(clip, draw_harm(random, FACTORS)) for clip in clean])
    if random.random() < BORDERED_SHARE:
        return border(clean), border(harmed)
    return clean, harmed


def border(clips: Tensor) -> Tensor:
    """The lowest rows replaced by the border that the engine puts there: mirrored rows, then black ones."""
    rows = mirror_indices(clips.shape[3] - FEWEST_MIRRORED - BLACK, FEWEST_MIRRORED)
    return torch.nn.functional.pad(clips[:, :, :, rows], (0, 0, 0, BLACK), value=-1.0)
