"""Training samples: short clean clips cut out of the pictures, turned, scaled and moved at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import sources

PHOTO_SHARE = 0.15
SCALED_SHARE = 0.5  # of the animations' clips that are made smaller first, which makes them sharper
MOST_SCALED = 1.7
FASTEST = 3.0  # of the pan over a photo, pixels a frame
FASTER_SHARE = 0.15  # clips of every second frame
GAIN, OFFSET = (0.75, 1.1), 0.08  # random contrast and brightness


@dataclass(frozen=True)
class Library:
    """Pictures [T,H,W,3] uint8 by name, of one side of the split."""

    moving: list[np.ndarray]
    photos: list[np.ndarray]


def open_library(cache: Path, side: str) -> Library:
    """Pictures of the "training" or the "held out" side; decoded once, kept in `cache`."""
    folder = cache / side.replace(" ", "_")
    if not folder.exists():
        _decode(cache)
    pictures = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))]
    return Library([each for each in pictures if len(each) > 1], [each for each in pictures if len(each) == 1])


def _decode(cache: Path) -> None:
    items = sources.gather(cache / "packages")
    sides = sources.split(items)
    (cache / "manifest.tsv").write_text(sources.manifest(items, sides), encoding="utf-8")
    for item in items:
        path = cache / sides[item.name].replace(" ", "_") / f"{item.name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, item.frames)


class Sampler:
    """Draws clips [N,3,T,S,S] in −1..1; everything it does follows from the generator."""

    def __init__(self, library: Library, generator: np.random.Generator) -> None:
        self._library, self._random = library, generator

    def draw(self, count: int, frames: int, side: int) -> Tensor:
        """The next clips."""
        return torch.stack([self._one(frames, side) for _ in range(count)])

    def _one(self, frames: int, side: int) -> Tensor:
        pan = self._random.random() < PHOTO_SHARE and self._library.photos
        clip = self._pan(frames, side) if pan else self._cut(frames, side)
        return self._turn(clip)

    def _cut(self, frames: int, side: int) -> Tensor:
        """A stretch of an animation: [3,T,S,S]."""
        while True:
            picture = self._library.moving[self._random.integers(len(self._library.moving))]
            step = 2 if self._random.random() < FASTER_SHARE else 1
            scale = self._random.uniform(1, MOST_SCALED) if self._random.random() < SCALED_SHARE else 1.0
            larger = round(side * scale)
            if min(picture.shape[1:3]) >= larger:
                break
        y, x = (self._random.integers(size - larger + 1) for size in picture.shape[1:3])
        window = picture[:, y : y + larger, x : x + larger]
        clip = _to_float(window[self._instants(len(picture), frames, step)])
        return clip if larger == side else _shrink(clip, side)

    def _instants(self, length: int, frames: int, step: int) -> np.ndarray:
        """Numbers of frames that follow each other; where the picture ends, it runs back."""
        period = 2 * (length - 1)
        place = (self._random.integers(period) + step * np.arange(frames)) % period
        return np.minimum(place, period - place)

    def _pan(self, frames: int, side: int) -> Tensor:
        """A window that moves over a photo at constant speed, drawn at twice the size: [3,T,S,S]."""
        picture = self._library.photos[self._random.integers(len(self._library.photos))][0]
        room = 2 * side
        shift = self._random.uniform(-2 * FASTEST, 2 * FASTEST, 2) * (self._random.random() < 0.8)
        path = np.round(np.arange(frames)[:, None] * shift).astype(int)
        path -= path.min(0)
        if (np.array(picture.shape[:2]) < path.max(0) + room).any():
            return self._cut(frames, side)
        start = self._random.integers(0, np.array(picture.shape[:2]) - path.max(0) - room + 1)
        views = [picture[y : y + room, x : x + room] for y, x in path + start]
        return _shrink(_to_float(np.stack(views)), side)

    def _turn(self, clip: Tensor) -> Tensor:
        """Flips, transposition, contrast and brightness."""
        chance = self._random.random(3) < 0.5
        for axis, flips in zip((2, 3), chance, strict=False):
            clip = clip.flip(axis) if flips else clip
        clip = clip.transpose(2, 3) if chance[2] else clip
        if self._random.random() < 0.5:
            clip = clip * self._random.uniform(*GAIN) + self._random.uniform(-OFFSET, OFFSET)
        return clip.clamp(-1, 1)


def _to_float(frames: np.ndarray) -> Tensor:
    """[T,H,W,3] uint8 → [3,T,H,W] in −1..1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2).float() / 127.5 - 1


def _shrink(clip: Tensor, side: int) -> Tensor:
    small = F.interpolate(clip.transpose(0, 1), (side, side), mode="bicubic", antialias=True, align_corners=False)
    return small.transpose(0, 1)
