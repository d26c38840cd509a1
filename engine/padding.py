"""Borders the network needs around frames and at the end of shots, and the exact cut back.

Sides must be multiples of 16. Below, the picture goes on as its mirror image, at least 8 rows of it, so that its own
last rows are restored like the others; then come 16 black rows, an anchor of brightness for the network. Measured
against black alone: 7 to 13 dB in the last rows at 1080p, up to 1 dB in the whole frame at 720p. On the right the same
where the width is not a multiple of 16, and nothing where it is. In time a shot is padded to 4m + 1 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import BadSize
from .frames import check_frames

MULTIPLE = 16  # the VAE's factor of 8 times the transformer's patch of 2
FEWEST_MIRRORED = 8
BLACK = 16
FRAMES_PER_LATENT = 4


@dataclass(frozen=True)
class Border:
    """What is added after the last pixel of one axis: first mirrored, then black."""

    mirrored: int = 0
    black: int = 0

    @property
    def total(self) -> int:
        """Pixels added in all."""
        return self.mirrored + self.black


@dataclass(frozen=True)
class Geometry:
    """Sizes of a job in pixels, (height, width) each, and the border that leads from one to the next."""

    source: tuple[int, int]
    target: tuple[int, int]
    bottom: Border
    right: Border

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) the network works at: multiples of 16."""
        return self.target[0] + self.bottom.total, self.target[1] + self.right.total

    @property
    def shrinks(self) -> bool:
        """Whether the result has fewer pixels than the source."""
        return self.target[0] * self.target[1] < self.source[0] * self.source[1]


def plan_geometry(source: tuple[int, int], target: tuple[int, int], black: int = BLACK) -> Geometry:
    """Borders for a target (height, width). black rows: a multiple of 16, or 0 for none."""
    if black < 0 or black % MULTIPLE:
        raise BadSize(f"Got {black} black rows, expected a multiple of {MULTIPLE}.")
    height, width = target
    bottom = Border(to_multiple(height + FEWEST_MIRRORED) - height, black)
    right = Border(to_multiple(width + FEWEST_MIRRORED) - width, black) if width % MULTIPLE else Border()
    return Geometry(source, target, bottom, right)


def to_multiple(length: int) -> int:
    """The next multiple of 16."""
    return -(-length // MULTIPLE) * MULTIPLE


def pad(frames: Tensor, geometry: Geometry) -> Tensor:
    """Frames [T, H, W, C] in 0..1 of the target size with the border of the geometry."""
    check_area(frames, geometry.target)
    height, width = geometry.target
    rows = mirror_indices(height, geometry.bottom.mirrored, frames.device)
    columns = mirror_indices(width, geometry.right.mirrored, frames.device)
    mirrored = frames.index_select(1, rows).index_select(2, columns)
    return F.pad(mirrored, (0, 0, 0, geometry.right.black, 0, geometry.bottom.black))


def crop(frames: Tensor, geometry: Geometry) -> Tensor:
    """The view [T, H, W, C] of padded frames that holds the picture alone: undoes `pad` exactly."""
    check_area(frames, geometry.padded)
    height, width = geometry.target
    return frames[:, :height, :width]


def check_area(frames: Tensor, size: tuple[int, int]) -> None:
    """Refuse frames of another size than this stage works on."""
    check_frames(frames, channels=(1, 3, 4))
    if tuple(frames.shape[1:3]) != size:
        got = f"{frames.shape[2]} × {frames.shape[1]}"
        raise BadSize(
            f"Got frames of {got} pixels, expected {size[1]} × {size[0]}. Resize or decode to that size first."
        )


def mirror_indices(length: int, extra: int, device: torch.device | str = "cpu") -> Tensor:
    """Indices 0..length−1 and then back and forth without repeating the ends, length + extra in all."""
    period = max(1, 2 * (length - 1))
    steps = torch.arange(length + extra, device=device) % period
    return torch.minimum(steps, period - steps) if length > 1 else torch.zeros_like(steps)


def missing_frames(count: int) -> int:
    """How many frames (0 to 3) a shot of count frames lacks to 4m + 1."""
    return (1 - count) % FRAMES_PER_LATENT


def mirror_frames(last: Tensor, missing: int) -> Tensor:
    """The frames [missing, H, W, C] that follow a shot's last ones [T, H, W, C]: its own, backwards.

    Four last frames suffice for any shot; a shorter shot is given whole. Cut them off again after decoding.
    """
    check_frames(last, channels=(1, 3, 4))
    count = last.shape[0]
    if not count:
        raise BadSize("Got a shot without frames, expected at least one.")
    return last[mirror_indices(count, missing, last.device)[count:]]
