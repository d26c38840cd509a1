"""The noise a shot is restored from: a pure function of seed, shot and place.

Nothing is drawn in sequence. A counter cipher turns (seed, shot, latent, index) into bits, so any stretch of a shot has
the same noise whichever window, device or run asks for it. Source: Salmon et al., "Parallel random numbers: as easy as
1, 2, 3" (Philox 4×64); Box and Muller's transform makes normal values of its bits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..models.config import LATENT_CHANNELS
from ..models.errors import BadInput

LARGEST_SEED = 2**32 - 1
LATENT_WORD = 2  # word of Philox's 256-bit counter that holds the latent; the words below count within it
HALF_BITS = 32  # bits of a random word for the radius, the others for the angle


def shot_noise(seed: int, shot: int, span: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Normal noise [1,16,T,h,w] in float32 on the CPU for latents span[0]..span[1]−1 of a shot, `size` (h, w).

    `shot` is the number of the shot's first frame. Raises BadInput for a seed outside 0..2³²−1 and the like.
    """
    _check(seed, shot, span, size)
    latents = [_latent_noise(seed, shot, latent, size) for latent in range(*span)]
    return torch.from_numpy(np.stack(latents, axis=1)[None])


def picture_noise(seed: int, pictures: int, size: tuple[int, int]) -> Tensor:
    """Noise [B,16,1,h,w] for separate pictures: the same for each, so that none depends on its place in a batch."""
    return shot_noise(seed, 0, (0, 1), size).expand(pictures, -1, -1, -1, -1)


def _latent_noise(seed: int, shot: int, latent: int, size: tuple[int, int]) -> np.ndarray:
    """[16, h, w] of one latent."""
    counter = [0] * 4
    counter[LATENT_WORD] = latent
    count = LATENT_CHANNELS * size[0] * size[1]  # even: 16 channels
    key = np.array([seed, shot], dtype=np.uint64)
    words = np.random.Philox(counter=np.array(counter, dtype=np.uint64), key=key).random_raw(count // 2)
    return _normal(words).reshape(LATENT_CHANNELS, *size)


def _normal(words: np.ndarray) -> np.ndarray:
    """Two normal values of each 64-bit word, computed in float64 and rounded once to float32."""
    scale = 2.0**-HALF_BITS
    radius = np.sqrt(-2 * np.log(((words >> np.uint64(HALF_BITS)) + 1) * scale))
    angle = (words & np.uint64(2**HALF_BITS - 1)) * (2 * math.pi * scale)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)


def _check(seed: int, shot: int, span: tuple[int, int], size: tuple[int, int]) -> None:
    if not 0 <= seed <= LARGEST_SEED:
        raise BadInput(f"seed is {seed}: expected 0 to {LARGEST_SEED}.")
    if shot < 0 or not 0 <= span[0] < span[1] or min(size) < 1:
        raise BadInput(f"noise for shot {shot}, latents {span[0]}…{span[1]} of {size[0]}×{size[1]}: "
                       "expected numbers from 0 and at least one latent, row and column.")  # fmt: skip
