"""Low-pass filter of the colour methods: a cascade of three-tap blurs whose taps move apart (à trous).

Stage s weighs (1, 2, 1)/4 along each axis with taps 2^s pixels apart; k stages have sigma sqrt((4^k − 1)/6) pixels.
Cascades of short filters cost two additions per pixel, axis and stage, at any reach.
"""

from __future__ import annotations

import torch
from torch import Tensor

# taps never move further apart than this part of the smaller side, or tiny frames would see only their edges
REACH = 8
WEIGHT = 1 / 4  # of (1, 2, 1), applied once at the end


def low_pass(planes: Tensor, stages: range) -> Tensor:
    """Blur contiguous planes [C, H, W] in place through these stages, edges repeated at each, and return them.

    Constant planes stay as they are, bit for bit.
    """
    _, height, width = planes.shape
    longest = max(1, min(height, width) // REACH)
    # one plane at a time stays in a processor's cache
    for part in planes.split(1 if planes.device.type == "cpu" else len(planes)):
        scratch = torch.empty_like(part)
        for stage in stages:
            distance = min(2**stage, longest)
            sum_axis(part, scratch, distance, axis=1)
            sum_axis(scratch, part, distance, axis=2)
        part.mul_(WEIGHT ** (2 * len(stages)))  # a power of two: exact
    return planes


def sum_axis(source: Tensor, target: Tensor, distance: int, axis: int) -> None:
    """Write (1, 2, 1) along one axis, taps `distance` apart, into target; needs length ≥ 2·distance or 1."""
    length = source.shape[axis]
    if length == 1:
        torch.mul(source, 1 / WEIGHT, out=target)
        return
    inner = length - 2 * distance
    first, last = source.narrow(axis, 0, 1), source.narrow(axis, length - 1, 1)
    near_first = source.narrow(axis, distance, distance)
    near_last = source.narrow(axis, inner, distance)
    torch.add(first, near_first, out=target.narrow(axis, 0, distance))
    torch.add(
        source.narrow(axis, 0, inner),
        source.narrow(axis, 2 * distance, inner),
        out=target.narrow(axis, distance, inner),
    )
    torch.add(near_last, last, out=target.narrow(axis, length - distance, distance))
    target.add_(source, alpha=2)
