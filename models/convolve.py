"""Causal convolutions over a stream of feature maps, in bands of rows.

Feature maps are [B,T,H,W,C] in memory, so frames are the outer dimension: what a layer remembers of the frames before
lies in front of the new ones without a copy of these, and PyTorch sees the channels-last layout that is fastest on the
CPU and on tensor cores alike. The norm and SiLU in front of a convolution are applied while its input block is written.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import kernels
from .layers import Conv3d
from .moments import FrameNorm, Moments
from .source import Memory, Padding, Run, Source

AROUND = Padding(1, 1, 1, 1)
BELOW_RIGHT = Padding(0, 1, 0, 1)  # SeedVR2's down-samplers pad one side only


@dataclass
class Frames:
    """Feature maps [B,T,H,W,C], with the moments of each frame where a norm follows.

    `offset` [C] still has to be added to `data`: the norm that follows takes it in. The moments hold it already.
    """

    data: Tensor
    moments: Moments | None = None
    offset: Tensor | None = None


def convolve(
    run: Run,
    conv: nn.Conv3d,
    x: Frames,
    *,
    padding: Padding = AROUND,
    norm: FrameNorm | None = None,
    skip: tuple[Tensor, nn.Conv3d | None] | None = None,
    measure: bool = True,
    only_normed: bool = False,
) -> Frames:
    """conv(silu(norm(x))) + skip for the next frames of a clip, with the frames before from the run's state.

    `skip` is the residual [B,T,H,W,C] and its 1×1×1 convolution, if any; `measure` gathers the output's moments;
    `only_normed`: nothing but a norm reads the output, so that its bias may be left to it.
    """
    run.check()
    kernel, stride = conv.kernel_size, conv.stride
    lead, back = kernel[0] - 1, kernel[0] - stride[0]
    source = Source(x.data, _affine(norm, x), run.state.take(conv) if back else [], lead, back)
    memory = Memory(run, conv, x.data, back)
    height = (x.data.shape[2] + padding.top + padding.bottom - kernel[1]) // stride[1] + 1
    output = Output(run, height, measure, only_normed and skip is None)
    for top, bottom in run.bands(source, height, stride[1] * source.row_bytes(), conv):
        first, last = top * stride[1] - padding.top, (bottom - 1) * stride[1] + kernel[1] - padding.top
        block = memory.block(source, first, last, padding, slice(top * stride[1], bottom * stride[1]))
        band, bias = product(conv, block)
        residual, more = _shortcut(skip, top, bottom) if skip else (None, None)
        output.write(top, band, bias if more is None else more if bias is None else bias + more, residual)
    memory.close()
    return output.frames()


class Output:
    """The maps being written, band by band; a single band is passed on as it is."""

    def __init__(self, run: Run, height: int, measure: bool, may_leave_bias: bool = False) -> None:
        self._run = run
        self._height = height
        self._measure = measure
        self._may_leave_bias = may_leave_bias
        self._data: Tensor | None = None
        self._moments: Moments | None = None
        self._offset: Tensor | None = None

    def write(self, top: int, band: Tensor, bias: Tensor | None, skip: Tensor | None) -> None:
        """Put the rows of band + bias + skip [B,T,rows,W,C] in place, and measure them while they are at hand."""
        whole = band.shape[2] == self._height
        if self._data is None:
            shape = (*band.shape[:2], self._height, *band.shape[3:])
            self._data = band if whole else self._run.empty(shape, band)
            self._moments = Moments(shape, band.device) if self._measure else None
        rows = self._data[:, :, top : top + band.shape[2]]
        fused = kernels.kernels_for(band.device)
        if fused is None:
            return self._write_plainly(top, band if skip is None else band.add_(skip), rows)
        if whole and self._may_leave_bias:
            self._offset, rows = bias, None
        if rows is not None or self._moments:
            moments = self._moments.rows() if self._moments else None
            fused.finish(band, rows, bias, skip, moments, top)
        return None

    def _write_plainly(self, top: int, band: Tensor, rows: Tensor) -> None:
        if rows.data_ptr() != band.data_ptr() or band.device.type == "meta":
            rows.copy_(band)
        if self._moments:
            self._moments.add(top, band)

    def frames(self) -> Frames:
        """The finished maps."""
        assert self._data is not None
        return Frames(self._data, self._moments, self._offset)


def join(parts: list[Frames]) -> Frames:
    """Stretches of one clip, one after the other."""
    if len(parts) == 1:
        return parts[0]
    moments = [part.moments for part in parts if part.moments]
    return Frames(torch.cat([part.data for part in parts], dim=1), Moments.join(moments) if moments else None)


def apply(conv: nn.Module, block: Tensor) -> Tensor:
    """A convolution leaf on [B,T,H,W,C]."""
    return conv(block.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)


def product(conv: nn.Conv3d, block: Tensor) -> tuple[Tensor, Tensor | None]:
    """A convolution leaf on [B,T,H,W,C], and its bias where that is left to the kernel that goes over the result."""
    if type(conv) is not Conv3d or kernels.kernels_for(block.device) is None:
        return apply(conv, block), None
    maps = F.conv3d(block.permute(0, 4, 1, 2, 3), conv.weight, None, conv.stride)
    return maps.permute(0, 2, 3, 4, 1).contiguous(), conv.bias


def _affine(norm: FrameNorm | None, x: Frames) -> tuple[Tensor, Tensor] | None:
    """The norm, from the moments gathered when the maps were written."""
    if norm is None:
        return None
    assert x.moments is not None
    scale, shift = norm(x.moments)
    return scale, shift if x.offset is None else shift + x.offset * scale


def _shortcut(skip: tuple[Tensor, nn.Conv3d | None], top: int, bottom: int) -> tuple[Tensor, Tensor | None]:
    residual, conv = skip
    rows = residual[:, :, top:bottom]
    return (rows, None) if conv is None else product(conv, rows)
