"""Low-pass filter of the colour methods: a cascade of three-tap blurs whose taps move apart (à trous).

Stage s weighs (1, 2, 1)/4 along each axis with taps 2^s pixels apart; k stages have sigma sqrt((4^k − 1)/6) pixels.
Cascades of short filters cost two additions per pixel, axis and stage, at any reach.
"""

from __future__ import annotations

import torch
from torch import Tensor

# taps never move further apart than this part of the smaller side, or tiny frames would see only their edges
REACH = 8


def low_pass(planes: Tensor, stages: range) -> Tensor:
    """Blur contiguous planes [C, H, W] in place through these stages, edges repeated at each, and return them.

    Constant planes stay as they are, bit for bit.
    """
    _, height, width = planes.shape
    longest = max(1, min(height, width) // REACH)
    scratch = torch.empty_like(planes)
    for stage in stages:
        distance = min(2**stage, longest)
        blur_axis(planes, scratch, distance, axis=1)
        blur_axis(scratch, planes, distance, axis=2)
    return planes


def blur_axis(source: Tensor, target: Tensor, distance: int, axis: int) -> None:
    """Write (1, 2, 1)/4 along one axis, taps `distance` apart, into target; needs length ≥ 2·distance or 1."""
    length = source.shape[axis]
    if length == 1:
        target.copy_(source)
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
    target.mul_(0.25).add_(source, alpha=0.5)
