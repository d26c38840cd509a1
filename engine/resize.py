"""Frames brought to the size of the result, and mixed with what was restored from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import BadFrames
from .frames import check_frames, check_partners
from .quantize import to_float


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Frames [T, H, W, C] in 0..1 or in codes at another size, antialiased bicubic (a = −0.5), float32 clamped to 0..1.

    The same call makes the network's input and the reference of colour. Frame by frame, so memory stays small.
    """
    check_frames(frames, channels=(1, 3, 4))
    count, _, _, channels = frames.shape
    planes = torch.empty((count, channels, height, width), dtype=torch.float32, device=frames.device)
    for number, frame in enumerate(frames.permute(0, 3, 1, 2)):
        planes[number] = resize_planes(to_float(frame), height, width)
    return planes.permute(0, 2, 3, 1)


def resize_planes(planes: Tensor, height: int, width: int) -> Tensor:
    """Planes [C, H, W] in 0..1 at another size; an equal size changes nothing but values outside 0..1."""
    if planes.shape[1:] == (height, width):
        return planes.clamp(0, 1)
    # with antialias PyTorch takes a = −0.5; without it a = −0.75, which rings and flickers
    larger = F.interpolate(planes[None], (height, width), mode="bicubic", antialias=True, align_corners=False)
    return larger[0].clamp_(0, 1)


def blend(restored: Tensor, reference: Tensor, strength: float) -> Tensor:
    """strength of the restored frames, the rest of the resized source: exactly one of them at 1 and at 0.

    Both [T, H, W, 3] in 0..1. Raises BadFrames for a strength outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise BadFrames(f"Got strength {strength}, expected 0 (the source) to 1 (full restoration).")
    check_partners(restored, reference)
    return restored if strength == 1 else torch.lerp(reference.to(restored), restored, strength)
