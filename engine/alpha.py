"""Transparency carried through: split off before the network, resized beside it, joined again.

Alpha is straight (colours are not multiplied by it). What lies under fully transparent pixels is arbitrary, often
black, and would bleed a dark fringe into the visible edge when the picture grows; the colours around it replace it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import BadSize
from .frames import check_frames
from .quantize import to_float
from .resize import resize

SMALLEST_WEIGHT = 1e-6  # keeps a division finite where its result is not used


def split_alpha(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Colour [T, H, W, 3] and alpha [T, H, W, 1] of frames [T, H, W, 4] (codes or 0..1), float32.

    Visible pixels, however faint, keep their colour; hidden ones take that of their neighbourhood.
    """
    check_frames(frames, channels=(4,))
    values = to_float(frames)
    colour, alpha = values[..., :3].clone(), values[..., 3:].clone()
    for number, hidden in enumerate((alpha <= 0).flatten(1).any(1).tolist()):
        if hidden:
            fill_hidden(colour[number], alpha[number])
    return colour, alpha


def join_alpha(colour: Tensor, alpha: Tensor) -> Tensor:
    """Frames [T, H, W, 4] of restored colour [T, H', W', 3] and the source's alpha [T, H, W, 1], resized to fit."""
    check_frames(colour)
    check_frames(alpha, channels=(1,))
    if colour.shape[0] != alpha.shape[0]:
        raise BadSize(
            f"Got {alpha.shape[0]} frames of alpha for {colour.shape[0]} frames of colour; both must be equal."
        )
    fitted = resize(alpha.to(colour.device), colour.shape[1], colour.shape[2])
    return torch.cat((colour, fitted.to(colour)), dim=-1)


def fill_hidden(colour: Tensor, alpha: Tensor) -> None:
    """Paint the hidden pixels of one frame [H, W, 3] from the visible ones around them, in place."""
    if not (alpha > 0).any():
        return
    planes, weight = colour.permute(2, 0, 1)[None], alpha.permute(2, 0, 1)[None]
    filled = spread(planes * weight, weight)
    colour.copy_(torch.where(alpha > 0, colour, filled[0].permute(1, 2, 0)))


def spread(weighted: Tensor, weight: Tensor) -> Tensor:
    """Weighted colours [1, 3, H, W] over their weight [1, 1, H, W]; where that is 0, from ever coarser averages."""
    colours = weighted / weight.clamp(min=SMALLEST_WEIGHT)
    known = weight > 0
    if known.all() or weight.shape[2:] == (1, 1):
        return colours
    coarser = spread(halve(weighted), halve(weight))
    return torch.where(known, colours, F.interpolate(coarser, weight.shape[2:], mode="bilinear", align_corners=False))


def halve(planes: Tensor) -> Tensor:
    """Averages of 2 × 2 pixels; odd last rows and columns by themselves."""
    return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
