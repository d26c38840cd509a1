"""Mean and variance of each frame's channel groups, gathered row by row while a feature map is written."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CACHED_BYTES = 1 << 20  # a piece and its deviations stay in a core's cache


class Moments:
    """First two moments of every row and channel of frames [B,T,H,W,C], in float32.

    They are kept per row and merged at the end in one fixed order (Chan, Golub, LeVeque 1979), so the result does not
    depend on how the rows were grouped into bands.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        batch, frames, rows, self._width, channels = shape
        self._mean = torch.empty(batch, frames, rows, channels, dtype=torch.float32, device=device)
        self._spread = torch.empty_like(self._mean)

    def add(self, top: int, band: Tensor) -> None:
        """Take in rows from `top` on: band [B,T,rows,W,C]."""
        if band.device.type != "cpu":
            return self._put(top, band, _summed_rows)
        row_bytes = band[:, :, 0].numel() * 4
        for piece in band.split(max(1, CACHED_BYTES // row_bytes), dim=2):
            self._put(top, piece, _centred_rows)
            top += piece.shape[2]
        return None

    def _put(self, top: int, band: Tensor, measure: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        rows = slice(top, top + band.shape[2])
        self._mean[:, :, rows], self._spread[:, :, rows] = measure(band)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Mean and sum of squared deviations of every row, float32 [B,T,H,C] each, to be written."""
        return self._mean, self._spread

    @classmethod
    def join(cls, parts: list[Moments]) -> Moments:
        """The moments of stretches that follow each other in time."""
        joined = cls.__new__(cls)
        joined._width = parts[0]._width
        joined._mean = torch.cat([part._mean for part in parts], dim=1)
        joined._spread = torch.cat([part._spread for part in parts], dim=1)
        return joined

    def groups(self, count: int) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of each of `count` channel groups: two tensors [B,T,count]."""
        # rows of one width: the group mean is the mean of the row means
        mean = self._mean.unflatten(-1, (count, -1))
        spread = self._spread.unflatten(-1, (count, -1))
        centre = mean.mean(dim=(2, 4))
        offset = (mean - centre[:, :, None, :, None]).square_()
        variance = spread.mean(dim=(2, 4)) / self._width + offset.mean(dim=(2, 4))
        return centre, variance


def _centred_rows(band: Tensor) -> tuple[Tensor, Tensor]:
    """Two passes over rows that are still in cache; exact to rounding whatever the mean."""
    band = band.float()
    mean = band.mean(dim=3)
    return mean, (band - mean.unsqueeze(3)).square_().sum(dim=3)


def _summed_rows(band: Tensor) -> tuple[Tensor, Tensor]:
    """One reading pass for each moment, without a float32 copy of the band: for devices bound by memory traffic."""
    mean = band.sum(dim=3, dtype=torch.float32) / band.shape[3]
    squares = torch.linalg.vector_norm(band, dim=3, dtype=torch.float32).square_()
    return mean, (squares - band.shape[3] * mean.square()).clamp_(min=0)


class FrameNorm(nn.Module):
    """Group norm over single frames, as the scale and shift it amounts to once the moments are known."""

    GROUPS = 32  # seedvr2 video VAE configuration
    EPSILON = 1e-6

    def __init__(self, channels: int, device=None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))

    def forward(self, moments: Moments) -> tuple[Tensor, Tensor]:
        """Scale and shift, float32 [B,T,1,1,C] each: normalised = x · scale + shift."""
        mean, variance = moments.groups(self.GROUPS)
        per_group = self.weight.numel() // self.GROUPS
        spread = torch.rsqrt(variance + self.EPSILON).repeat_interleave(per_group, dim=-1)
        scale = spread * self.weight.to(spread)
        shift = self.bias.to(spread) - mean.repeat_interleave(per_group, dim=-1) * scale
        return scale[:, :, None, None], shift[:, :, None, None]
