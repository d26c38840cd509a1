"""Short clips of known content, made by formula."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIZE = (90, 160)


def texture(seed: int, size: tuple[int, int] = SIZE, coarse: int = 12) -> np.ndarray:
    """A smooth random picture [H,W,3] in 0..255."""
    source = np.random.default_rng(seed)
    small = source.uniform(0, 255, (size[0] // coarse + 2, size[1] // coarse + 2, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)


def pan(seed: int, frames: int, step: int, rows: int = 0) -> np.ndarray:
    """A camera that moves over one large picture by `step` columns and `rows` rows a frame."""
    height, width = SIZE
    wide = texture(seed, (height + frames * rows, width + frames * step))
    return np.stack([wide[t * rows : t * rows + height, t * step : t * step + width] for t in range(frames)])


def still(seed: int, frames: int) -> np.ndarray:
    """A held drawing with a little grain."""
    grain = np.random.default_rng(seed).normal(0, 4, (frames, *SIZE, 3))
    return texture(seed)[None] + grain.astype(np.float32)


def gradient(seed: int, frames: int) -> np.ndarray:
    """A colour ramp that turns slowly."""
    source = np.random.default_rng(seed)
    ends = source.uniform(20, 235, (2, 3))
    across = np.linspace(0, 1, SIZE[1])[None, :, None]
    turn = [np.clip(across * np.cos(0.02 * t) + 0.3 * np.sin(0.02 * t), 0, 1) for t in range(frames)]
    ramps = [ends[0] * (1 - share) + ends[1] * share for share in turn]
    return np.stack([np.broadcast_to(ramp, (*SIZE, 3)) for ramp in ramps]).astype(np.float32)


def moving_box(seed: int, frames: int) -> np.ndarray:
    """A bright box that crosses a textured background."""
    clip = still(seed, frames)
    for t in range(frames):
        left = 5 + abs((6 * t) % 220 - 110)  # there and back
        clip[t, 20:65, left : left + 45] = 230
    return clip


def static(seed: int, frames: int) -> np.ndarray:
    """Television static."""
    return np.random.default_rng(seed).uniform(0, 255, (frames, *SIZE, 3)).astype(np.float32)


def drawings(seed: int, frames: int, held: int) -> np.ndarray:
    """Limited animation: a figure redrawn every `held` frames."""
    clip = still(seed, frames)
    for t in range(frames):
        top = 10 + 17 * (t // held) % 40
        left = 15 + 29 * (t // held) % 90
        clip[t, top : top + 40, left : left + 40] = texture(seed + 100, (40, 40), 8)
    return clip


def flash(clip: np.ndarray, at: int, frames: int, level: float = 230) -> np.ndarray:
    """Light added to a few frames."""
    lit = clip.copy()
    lit[at : at + frames] += level
    return lit


def lightning(clip: np.ndarray, at: int) -> np.ndarray:
    """A flash that dies away over eight frames."""
    lit = clip.copy()
    for late in range(8):
        lit[at + late] += 250 * 0.6**late
    return lit


def fade(clip: np.ndarray, first: int, frames: int, to: float = 0) -> np.ndarray:
    """From the picture at frame `first` to one level `frames` later, which stays."""
    share = np.clip((np.arange(len(clip)) - first) / frames, 0, 1)[:, None, None, None]
    return (clip * (1 - share) + to * share).astype(np.float32)


def as_bytes(*clips: np.ndarray) -> np.ndarray:
    """Clips one after another, [T,H,W,3] uint8."""
    return np.concatenate(clips).clip(0, 255).round().astype(np.uint8)
