"""The decoder's up-sampler as one convolution on the small grid.

SeedVR2 enlarges by a 1×1×1 convolution (C → 4·z·C'), a pixel shuffle and a causal 3×3×3 convolution (C' → C''). Nothing
non-linear stands between them, so they compose exactly: along a doubled axis, an output of even parity reads the small
grid at r−1 and r, one of odd parity at r and r+1, two taps instead of three. All four spatial parities (and both
temporal ones, z = 2) are output channels of one convolution with a kernel of 2 rows and 2 columns on the grid padded
by one; the parities are then interleaved. At the border the large grid is padded with zeros after the first bias was
added, so the composed bias differs there; it is corrected on the outermost rows and columns.
At the start of a clip with z = 2 the second of two first frames is dropped and the first repeated before it, so what
the first small frame contributes has weights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import kernels
from .convolve import AROUND, Frames, apply, product
from .moments import Moments
from .source import Memory, Run, Source

PARITIES = 2
# fine tap of a doubled axis (-1, 0, 1) by output parity → (coarse tap, parity read there)
SPATIAL_TAPS = {
    0: {-1: (0, 1), 0: (1, 0), 1: (1, 1)},  # coarse taps: r-1, r
    1: {-1: (0, 0), 0: (0, 1), 1: (1, 0)},  # coarse taps: r, r+1
}
# causal fine tap (-2, -1, 0) by output parity → (coarse tap t-1 or t, parity read there)
TEMPORAL_TAPS = {
    0: {-2: (0, 0), -1: (0, 1), 0: (1, 0)},
    1: {-2: (0, 1), -1: (1, 0), 0: (1, 1)},
}
# the clip's first frame stands for itself, for its dropped twin and for the frames before it; for the first three
# output frames: the fine taps that read it, and the parities that the fine taps (-2, -1, 0) read
FIRST_FRAME_TAPS = {0: (-2, -1, 0), 1: (-2, -1), 2: (-2,)}
FIRST_PARITIES = {0: (0, 0, 0), 1: (0, 0, 0), 2: (0, 0, 1)}
STEADY_PARITIES = {0: (0, 1, 0), 1: (1, 0, 1)}


@dataclass(frozen=True)
class UpSampler:
    """Sizes of one up-sampler: channels in and out, and frames out per frame in (1 or 2)."""

    inner: int
    outer: int
    frames: int


class SubpixelUp(nn.Module):
    """The composed up-sampler. Its leaves come from `operations`, their weights from `compose`."""

    def __init__(self, size: UpSampler, operations, device=None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.size = size
        place = {"device": device, "dtype": dtype}
        wide = 4 * size.outer  # four spatial parities
        self.steady = operations.Conv3d(size.inner, wide * size.frames, (4 - size.frames, 2, 2), **place)
        self.steady_border = BorderBias(size.frames, size.outer, **place)
        if size.frames == 2:
            self.first = operations.Conv3d(size.inner, wide, (1, 2, 2), **place)
            self.first_border = BorderBias(1, size.outer, **place)
            self.second = operations.Conv3d(size.inner, wide * 2, (1, 2, 2), **place)
            self.second_border = BorderBias(2, size.outer, **place)

    def forward(self, run: Run, x: Frames) -> Frames:
        """The next maps of a clip, [B,T,H,W,C] → [B,z·T,2H,2W,C'], measured.

        With z = 2 a clip's first frame comes alone and gives one frame.
        """
        run.check()
        head = run.state.take(self.steady)
        if self.size.frames == 1 or head:
            return self._enlarge(run, x.data, head)
        opening = run.state.take(self.second)
        if opening:
            run.state.forget(self.second)
            return self._enlarge(run, x.data, [torch.zeros_like(opening[0])], opening[0].unsqueeze(1))
        assert x.data.shape[1] == 1
        return self._open(run, x.data)

    def _open(self, run: Run, data: Tensor) -> Frames:
        """The first frame of a clip."""
        writer = _Writer(run, data, 1, self.size.outer)
        source = Source(data, None, [], 0, 0)
        memory = Memory(run, self.second, data, 1)
        for top, bottom in run.bands(source, data.shape[2], writer.row_bytes, self.first):
            block = memory.block(source, top - 1, bottom + 1, AROUND, slice(top, bottom))
            writer.write(top, bottom, *product(self.first, block), [(slice(None), self.first_border)])
        memory.close()
        run.give_back(data)
        return writer.frames()

    def _enlarge(self, run: Run, data: Tensor, head: list[Tensor], opening: Tensor | None = None) -> Frames:
        """Every later frame; `opening` is the clip's first small frame when these follow it directly."""
        lead = self.steady.kernel_size[0] - 1
        source = Source(data, None, head, lead, lead)
        memory = Memory(run, self.steady, data, lead)
        writer = _Writer(run, data, self.size.frames, self.size.outer)
        for top, bottom in run.bands(source, data.shape[2], writer.row_bytes, self.steady):
            block = memory.block(source, top - 1, bottom + 1, AROUND, slice(top, bottom))
            borders = [(slice(None), self.steady_border)]
            if opening is None:
                writer.write(top, bottom, *product(self.steady, block), borders)
                continue
            grid = apply(self.steady, block)
            before = Source(opening, None, [], 0, 0).block(run, top - 1, bottom + 1, AROUND)
            grid[:, :1] += apply(self.second, before)
            writer.write(top, bottom, grid, None, [*borders, (slice(0, 1), self.second_border)])
        memory.close()
        run.give_back(data)
        return writer.frames()


class BorderBias(nn.Module):
    """What to add on the outermost rows and columns, where a tap of the large grid falls on padding instead of a bias.

    Rows: by side (top, bottom), temporal parity and column parity; columns likewise; corners: what rows and columns
    took away twice.
    """

    def __init__(self, frames: int, channels: int, device=None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        empty = torch.empty(3, 2, frames, 2, channels, device=device, dtype=dtype)
        self.rows, self.columns, self.corners = (nn.Parameter(each, requires_grad=False) for each in empty.unbind())

    def forward(self, maps: Tensor, has_top: bool, has_bottom: bool) -> None:
        """Correct maps [B,T,z,2h,2w,C] in place; they are rows of a frame that hold its top, its bottom, or neither."""
        rows, columns, corners = (each.to(maps) for each in (self.rows, self.columns, self.corners))
        pairs = maps.unflatten(4, (-1, 2))
        for side, column in enumerate((0, -1)):
            maps.unflatten(3, (-1, 2))[:, :, :, :, :, column] += columns[side][:, None]
        for side, row in enumerate((0, -1)):
            if (has_top, has_bottom)[side]:
                pairs[:, :, :, row] += rows[side][:, None]
                maps[:, :, :, row, 0] += corners[side][:, 0]
                maps[:, :, :, row, -1] += corners[side][:, 1]


class _Writer:
    """Interleaves the parities of each band into the enlarged maps, corrects their border and measures them."""

    def __init__(self, run: Run, data: Tensor, frames: int, channels: int) -> None:
        batch, count, self._height, width, _ = data.shape
        self._width = width
        self._maps = run.empty((batch, count, frames, 2 * self._height, 2 * width, channels), data)
        self._moments = Moments(tuple(self._maps.flatten(1, 2).shape), data.device)
        self.row_bytes = self._maps[:, :, :, :2].numel() * data.itemsize  # outputs of one small row

    def write(
        self, top: int, bottom: int, grid: Tensor, bias: Tensor | None, borders: list[tuple[slice, BorderBias]]
    ) -> None:
        """grid [B,T,h+1,W+1,(row parity, column parity, z, C)] and bias: the outputs of small rows top..bottom."""
        fused = kernels.kernels_for(grid.device)
        if fused is None or len(borders) > 1:
            return self._write_plainly(top, bottom, grid, borders)
        border, maps = borders[0][1], self._maps.flatten(1, 2)
        tables = border.rows, border.columns, border.corners
        edges = top == 0, bottom == self._height
        rows = maps[:, :, 2 * top : 2 * bottom]
        return fused.interleave(grid, bias, rows, tables, edges, self._moments.rows(), 2 * top)

    def _write_plainly(self, top: int, bottom: int, grid: Tensor, borders: list[tuple[slice, BorderBias]]) -> None:
        maps = self._maps[:, :, :, 2 * top : 2 * bottom]
        fine = maps.unflatten(4, (-1, 2)).unflatten(3, (-1, 2))  # [B,T,z,h,2,W,2,C]
        grid = grid.unflatten(4, (2, 2, maps.shape[2], -1)).permute(0, 1, 6, 2, 3, 4, 5, 7)
        for row in range(2):
            for column in range(2):
                rows, columns = slice(row, row + bottom - top), slice(column, column + self._width)
                fine[:, :, :, :, row, :, column] = grid[:, :, :, rows, columns, row, column]
        for frames, border in borders:
            border(maps[:, frames], top == 0, bottom == self._height)
        self._moments.add(2 * top, maps.flatten(1, 2))

    def frames(self) -> Frames:
        return Frames(self._maps.flatten(1, 2), self._moments)


def compose(expand: tuple[Tensor, Tensor], conv: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """State of a `SubpixelUp` from weight and bias of the 1×1×1 and of the 3×3×3 convolution, in the latter's dtype."""
    dtype = conv[0].dtype
    weight, bias = (tensor.float() for tensor in conv)
    middle, frames = weight.shape[1], expand[0].shape[0] // (4 * weight.shape[1])
    # rows of the 1×1×1 weight: row parity, column parity, temporal parity, channel
    expand_weight = expand[0].float().reshape(2, 2, frames, middle, -1)
    expand_bias = expand[1].float().reshape(2, 2, frames, middle)
    steady_taps = _steady_taps(frames)
    parities = STEADY_PARITIES if frames == 2 else {0: (0, 0, 0)}
    steady = _biases(weight, bias, expand_bias, [parities[parity] for parity in range(frames)])
    state = _leaf("steady", _weights(weight, expand_weight, steady_taps), steady)
    if frames == 2:
        first, *second = (_biases(weight, bias, expand_bias, [FIRST_PARITIES[frame]]) for frame in range(3))
        extra = {name: torch.cat([second[0][name], second[1][name]], dim=1) - steady[name] for name in steady}
        taps = [[(dt, 0, 0) for dt in FIRST_FRAME_TAPS[frame]] for frame in range(3)]
        state |= _leaf("first", _weights(weight, expand_weight, taps[:1]), first)
        state |= _leaf("second", _weights(weight, expand_weight, taps[1:]), extra)
    return {key: tensor.to(dtype) for key, tensor in state.items()}


def _steady_taps(frames: int) -> list[list[tuple[int, int, int]]]:
    """For each temporal parity: (fine tap, small tap, temporal parity read)."""
    if frames == 1:
        return [[(dt, dt + 2, 0) for dt in (-2, -1, 0)]]
    return [[(dt, *TEMPORAL_TAPS[parity][dt]) for dt in (-2, -1, 0)] for parity in range(2)]


def _weights(weight: Tensor, expand: Tensor, taps: list[list[tuple[int, int, int]]]) -> Tensor:
    """Composed kernel [(row parity, column parity, z, C''), C, t, 2, 2] for the temporal taps given."""
    depth = 1 + max(small for parity in taps for _, small, _ in parity)
    kernel = weight.new_zeros(2, 2, len(taps), weight.shape[0], depth, 2, 2, expand.shape[-1])
    for frame, parity in enumerate(taps):
        for (row, column), (dt, small, read) in ((at, tap) for at in _SPATIAL for tap in parity):
            for dy, (y, from_row) in SPATIAL_TAPS[row].items():
                for dx, (x, from_column) in SPATIAL_TAPS[column].items():
                    fine = weight[:, :, dt + 2, dy + 1, dx + 1]
                    kernel[row, column, frame, :, small, y, x] += fine @ expand[from_row, from_column, read]
    return kernel.flatten(0, 3).permute(0, 4, 1, 2, 3).contiguous()


_SPATIAL = [(row, column) for row in range(2) for column in range(2)]


def _biases(weight: Tensor, bias: Tensor, expand: Tensor, parities: list[tuple[int, ...]]) -> dict[str, Tensor]:
    """Interior bias [2,2,z,C''] and border corrections, read off the bias alone carried through a 3 × 3 small frame."""
    frames = expand.permute(2, 3, 0, 1).repeat(1, 1, 3, 3)  # [z,C',6,6]
    stacks = torch.stack([frames[list(parity)] for parity in parities]).transpose(1, 2)  # [z,C',3,6,6]
    field = F.conv3d(stacks, weight, bias, padding=(0, 1, 1)).squeeze(2).permute(2, 3, 0, 1)  # [6,6,z,C'']
    inside = field[2:4, 2:4]
    rows = torch.stack([field[0, 2:4] - inside[0], field[5, 2:4] - inside[1]])  # side, column parity, z, C''
    columns = torch.stack([field[2:4, 0] - inside[:, 0], field[2:4, 5] - inside[:, 1]])
    edges = field[::5, ::5]  # the four corners
    corners = edges - inside - rows - columns.transpose(0, 1)
    to_frames = {"rows": rows, "columns": columns, "corners": corners}
    return {"bias": inside.permute(2, 0, 1, 3)[None]} | {
        name: tensor.transpose(1, 2).contiguous() for name, tensor in to_frames.items()
    }


def _leaf(name: str, weight: Tensor, biases: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # bias [1,z,2,2,C''] → the channel order of the kernel: row parity, column parity, z, C''
    interior = biases["bias"][0].permute(1, 2, 0, 3).flatten()
    borders = {f"{name}_border.{side}": biases[side] for side in ("rows", "columns", "corners")}
    return {f"{name}.weight": weight, f"{name}.bias": interior} | borders
