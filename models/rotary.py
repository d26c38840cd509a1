"""Rotary embedding of both styles, always from its closed form in float32: files keep damaged copies of it.

Consecutive pairs of a head's vector are rotated. The pairs of t come first, then those of y, then x; what is left
passes through. A table holds one unit complex number per pair, so that a rotation is one multiplication.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

THETA = 10000.0  # language frequencies, 3B
HIGHEST_PIXEL_FREQUENCY = 128.0  # in units of π, 7B
AXES = 3


def frequencies(pairs: int, head_width: int, language: bool) -> Tensor:
    """[pairs] float32 frequencies of one axis: language style (3B) or pixel style (7B)."""
    if language:
        step = head_width // AXES  # 42 of 128 dimensions belong to one axis
        exponent = torch.arange(0, 2 * pairs, 2).float() / step
        return 1.0 / THETA**exponent
    return torch.linspace(1.0, HIGHEST_PIXEL_FREQUENCY, pairs) * math.pi


def video_angles(place: Tensor, extent: Tensor, freqs: Tensor, text_length: int, language: bool) -> Tensor:
    """[N, 3·pairs] angles of tokens at `place` [N, 3] in windows of `extent` [N, 3].

    3B: positions count from 0 in each window, in time from the length of the text. 7B: −1..1 across the window.
    """
    if language:
        position = (place + torch.tensor([text_length, 0, 0])).float()
    else:
        position = _spread(place, extent)
    return (position[:, :, None] * freqs).flatten(1)


def text_angles(length: int, freqs: Tensor) -> Tensor:
    """[L, 3·pairs] angles of text tokens (3B): the same position on all three axes."""
    position = torch.arange(length).float()
    return (position[:, None] * freqs).repeat(1, AXES)


def rotation(angles: Tensor, head_width: int) -> Tensor:
    """[N, head_width/2] complex64 table; pairs beyond the angles are not turned."""
    still = head_width // 2 - angles.shape[1]
    angles = torch.nn.functional.pad(angles, (0, still))
    return torch.complex(angles.cos(), angles.sin())


def rotate(heads: Tensor, table: Tensor) -> Tensor:
    """Turn float32 heads [N, ..., d] by a table [N, d/2]; a new tensor of the same shape."""
    pairs = torch.view_as_complex(heads.unflatten(-1, (-1, 2)))
    table = table.reshape(table.shape[0], *(1,) * (pairs.ndim - 2), table.shape[1])
    return torch.view_as_real(pairs * table).flatten(-2)


def _spread(place: Tensor, extent: Tensor) -> Tensor:
    """−1..1 in equal steps across a window; −1 where it is one token long. Rounded as torch.linspace rounds."""
    longest = int(extent.max())
    lines = torch.zeros(longest + 1, longest)
    for length in extent.unique().tolist():
        lines[length, :length] = torch.linspace(-1, 1, length)
    return lines[extent, place]
