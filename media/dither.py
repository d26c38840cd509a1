"""Fewer bits without bands: an ordered dither in whole numbers, so that the mean of any flat area is kept exactly.

The threshold of a pixel comes from interleaved gradient noise (J. Jimenez, "Next Generation Post Processing in Call of
Duty: Advanced Warfare", SIGGRAPH 2014), ranked within a tile so that every threshold occurs equally often. The pattern
stands still: it costs an encoder few bits, and a still picture stays still.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TILE = 64  # pixels; 64² = 4096 thresholds, a multiple of the 256 that 16 → 8 bit needs
FULL = 65535  # white in 16-bit RGB


def drop_bits(plane: np.ndarray, bits: int, out: np.ndarray) -> None:
    """Write uint16 [H, W] divided by 2^bits into `out` (uint8 or uint16), rounded up or down by the dither.

    For video levels, where n bits of 8-bit code are n more bits: code × 2^bits is exact and stays below the top.
    """
    height, width = plane.shape
    ceiling = np.uint16(FULL - (1 << bits) + 1)
    lifted = np.minimum(plane, ceiling)
    lifted += thresholds(height, width, 1 << bits)
    lifted >>= np.uint16(bits)
    out[...] = lifted


def to_depth(frame: np.ndarray, bits: int) -> np.ndarray:
    """uint16 RGB [H, W, C], white 65535 → the same with white 2^bits − 1 (uint8 for 8 bit, else uint16), dithered."""
    height, width = frame.shape[:2]
    scaled = frame.astype(np.uint32) * np.uint32((1 << bits) - 1)
    scaled += thresholds(height, width, FULL)[..., None]
    scaled //= np.uint32(FULL)
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


@lru_cache(maxsize=8)
def thresholds(height: int, width: int, levels: int) -> np.ndarray:
    """uint16 [H, W] in 0..levels−1, each value equally often in every tile."""
    tile = (_ranks().astype(np.uint32) * levels // (TILE * TILE)).astype(np.uint16)
    repeats = (-(-height // TILE), -(-width // TILE))
    pattern = np.ascontiguousarray(np.tile(tile, repeats)[:height, :width])
    pattern.setflags(write=False)
    return pattern


@lru_cache(maxsize=1)
def _ranks() -> np.ndarray:
    x, y = np.meshgrid(np.arange(TILE), np.arange(TILE))
    noise = np.modf(52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0])[0]
    ranks = np.empty(TILE * TILE, np.uint16)
    ranks[np.argsort(noise, axis=None, kind="stable")] = np.arange(TILE * TILE, dtype=np.uint16)
    return ranks.reshape(TILE, TILE)
