"""Floats to integer codes and back: rounded to nearest, never truncated, and dithered where 8 bits would show bands.

The dither is uniform noise just under ±½ step, a pure function of frame number and position. The mean of the codes is
the value everywhere, black and white included, and a value that is a code stays it: restoring nothing changes nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .errors import BadFrames
from .frames import check_finite, check_frames

TILE = 256  # pixels after which the dither of one frame repeats
NOISE_STEPS = 4096  # coarse enough that float32 errors never push an exact code over its edge
HIGHEST_CODE = {torch.uint8: 255, torch.uint16: 65535}
# odd constants of an integer mixer of the xor-shift-multiply kind; signed 32 bit, all arithmetic wraps
MIX_FIRST, MIX_SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)
AXIS_PRIMES = (73856093, 19349663, 83492791)


def to_float(codes: Tensor | np.ndarray) -> Tensor:
    """uint8 or uint16 codes of any shape as float32 in 0..1; floats come back as float32, unchanged."""
    # PyTorch takes neither flipped nor read-only arrays as they are
    tensor = torch.from_numpy(np.require(codes, requirements=["C", "W"])) if isinstance(codes, np.ndarray) else codes
    highest = HIGHEST_CODE.get(tensor.dtype, 1)
    return tensor.to(torch.float32).div_(highest) if highest > 1 else tensor.to(torch.float32)


def to_codes(frames: Tensor, dtype: torch.dtype = torch.uint8, *, first_frame: int = 0, dither: bool = True) -> Tensor:
    """Frames [T, H, W, C] in 0..1 as uint8 or uint16 codes, clamped; only 8 bits are dithered.

    first_frame is the number of frames[0] in the clip: the same frame gives the same codes in any batch. Raises
    BadFrames for NaN.
    """
    check_frames(frames, channels=(1, 3, 4))
    if dtype not in HIGHEST_CODE:
        raise BadFrames(f"Got {dtype} to quantise to, expected torch.uint8 or torch.uint16.")
    codes = torch.empty(frames.shape, dtype=dtype, device=frames.device)
    highest = HIGHEST_CODE[dtype]
    for number, frame in enumerate(frames):
        check_finite(frame, number)
        scaled = torch.empty(frame.shape, dtype=torch.float32, device=frame.device).copy_(frame)
        scaled.mul_(highest)
        if dither and dtype == torch.uint8:
            add_dither(scaled, first_frame + number)
        codes[number] = scaled.round_().clamp_(0, highest).to(torch.int32).to(dtype)
    return codes


def add_dither(scaled: Tensor, frame_number: int) -> None:
    """Add noise within ±½ to a frame [H, W, C] in code values, in place, a strip of rows at a time."""
    height, width, channels = scaled.shape
    tile = noise_tile(frame_number, channels, scaled.device)
    strip = tile[:, torch.arange(width, device=scaled.device) % TILE]
    for top in range(0, height, TILE):
        rows = scaled[top : top + TILE]
        rows.add_(strip[: rows.shape[0]])


def noise_tile(frame_number: int, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Noise [TILE, TILE, C] within ±½ for one frame, from integers alone: equal on every device."""
    positions = [torch.arange(size, dtype=torch.int32, device=device) for size in (TILE, TILE, channels)]
    rows, columns, planes = (axis * prime for axis, prime in zip(positions, AXIS_PRIMES, strict=True))
    mixed = mix_bits(rows[:, None, None] ^ columns[:, None] ^ mix_bits(planes + wrap(frame_number * 4)))
    return (mixed.bitwise_and_(NOISE_STEPS - 1).to(torch.float32) + (0.5 - NOISE_STEPS / 2)) / NOISE_STEPS


def mix_bits(values: Tensor) -> Tensor:
    """Scatter int32 values so that neighbours share nothing. Shifts keep the sign bit; the masks take it away."""
    values = (values ^ ((values >> 16) & 0xFFFF)) * MIX_FIRST
    values = (values ^ ((values >> 15) & 0x1FFFF)) * MIX_SECOND
    return values ^ ((values >> 16) & 0xFFFF)


def wrap(number: int) -> int:
    """A whole number as signed 32 bit."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
