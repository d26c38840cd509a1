"""What counts as frames in this room: [T, H, W, C] tensors; float values run 0..1 unless said."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import BadFrames, BadSize


def check_frames(frames: Tensor, channels: tuple[int, ...] = (3,)) -> None:
    """Refuse what is not [T, H, W, C] with at least one pixel and one of these channel counts."""
    wanted = " or ".join(str(count) for count in channels)
    if frames.ndim != 4 or frames.shape[-1] not in channels:
        raise BadFrames(
            f"Got frames of shape {list(frames.shape)}, expected [frames, height, width, {wanted}]. "
            "Put the channels last and drop or add channels first."
        )
    if 0 in frames.shape[1:3]:
        raise BadSize(f"Got frames of {frames.shape[2]} × {frames.shape[1]} pixels, expected at least 1 × 1.")


def check_partners(content: Tensor, reference: Tensor) -> None:
    """Refuse two lots of frames that differ in shape."""
    if content.shape != reference.shape:
        raise BadSize(
            f"Got frames of shape {list(content.shape)} with a reference of {list(reference.shape)}; "
            "both must be equal. Resize and cut the reference to the restored frames first."
        )


def check_finite(frame: Tensor, number: int) -> None:
    """Refuse a frame holding NaN or infinity: painted into a video they become patches.

    The sum tells in one pass: it is finite for every picture, and never for a frame with such a value.
    """
    if not torch.isfinite(frame.sum(dtype=torch.float32)):
        raise BadFrames(
            f"Frame {number} of this batch holds values that are not numbers (or beyond all measure), expected "
            "finite ones. The network overflowed: run again with precision fp32 or bf16."
        )


def planes_of(frame: Tensor) -> Tensor:
    """A copy of one frame [H, W, C] of any number format as contiguous float32 planes [C, H, W]."""
    return frame.permute(2, 0, 1).to(torch.float32, copy=True, memory_format=torch.contiguous_format)
