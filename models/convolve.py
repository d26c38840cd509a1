"""Causal convolutions over a stream of feature maps, in bands of rows.

Feature maps are [B,T,H,W,C] in memory, so frames are the outer dimension: what a layer remembers of the frames before
lies in front of the new ones without a copy of these, and PyTorch sees the channels-last layout that is fastest on the
CPU and on tensor cores alike. The norm and SiLU in front of a convolution are applied while its input block is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .moments import FrameNorm, Moments
from .state import DeviceState, HostState


@dataclass(frozen=True)
class Padding:
    """Zero rows and columns around each frame."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


AROUND = Padding(1, 1, 1, 1)
MOST_SPARE = 6  # maps kept for reuse
MOST_WASTE = 2  # a spare map may be this many times larger than asked for
# PyTorch leaves smaller inputs (B·C·T·H) to a slow convolution of its own instead of oneDNN
ONEDNN_ELEMENTS = 20480
BELOW_RIGHT = Padding(0, 1, 0, 1)  # SeedVR2's down-samplers pad one side only


@dataclass
class Frames:
    """Feature maps [B,T,H,W,C], with the moments of each frame where a norm follows."""

    data: Tensor
    moments: Moments | None = None


@dataclass
class Run:
    """One pass of a stream: where state lives, how large an input block may be, and whom to ask before each layer.

    On the CPU, memory is handed round instead of freed: touching fresh pages costs more than the arithmetic on them.
    """

    state: DeviceState | HostState
    block_bytes: int
    check: Callable[[], None]
    _scratch: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    _spare: list[Tensor] = field(default_factory=list)

    def block(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised memory for one input block, valid until the next is asked for."""
        if like.device.type != "cpu":
            return like.new_empty(shape)
        need = math.prod(shape) * like.itemsize
        if self._scratch.numel() < need:
            self._scratch = torch.empty(need, dtype=torch.uint8)
        return self._scratch[:need].view(like.dtype).view(shape)

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised maps, in memory given back before if some fits."""
        need = math.prod(shape) * like.itemsize
        for number, spare in enumerate(self._spare):
            if need <= spare.numel() <= MOST_WASTE * need:
                return self._spare.pop(number)[:need].view(like.dtype).view(shape)
        return like.new_empty(shape)

    def give_back(self, maps: Tensor | None) -> None:
        """The caller is done with `maps`; nobody else reads them."""
        if maps is None or maps.device.type != "cpu":
            return
        storage = maps.untyped_storage()
        if maps.nbytes == storage.nbytes():  # views of something larger stay with their owner
            self._spare = [torch.empty(0, dtype=torch.uint8).set_(storage), *self._spare][:MOST_SPARE]

    def bands(self, source: Source, rows: int, row_bytes: int, conv: nn.Module) -> Iterator[tuple[int, int]]:
        """Split `rows` of output so that a block stays near the limit, but no smaller than the kernel it goes with."""
        limit = max(self.block_bytes, kernel_bytes(conv, source.data))
        step = max(limit // row_bytes, _fewest_rows(source))
        count = max(1, rows // step)
        step = -(-rows // count)  # bands of nearly equal height
        for top in range(0, rows, step):
            yield top, min(top + step, rows)


@dataclass
class Source:
    """What a convolution reads: maps, the affine a norm amounts to, and the remembered frames in front."""

    data: Tensor
    affine: tuple[Tensor, Tensor] | None
    head: Tensor | None
    lead: int  # copies of the first frame in front of a clip

    def block(self, run: Run, top: int, bottom: int, padding: Padding) -> Tensor:
        """Rows top..bottom (outside the frame: zeros) of head and maps, normalised and activated: [B,k+T,h,w,C]."""
        batch, frames, height, width, channels = self.data.shape
        lead = self.lead if self.head is None else self.head.shape[1]
        block = run.block(
            (batch, lead + frames, bottom - top, padding.left + width + padding.right, channels), self.data
        )
        inside = slice(max(top, 0), min(bottom, height))
        rows = slice(inside.start - top, inside.stop - top)
        columns = slice(padding.left, padding.left + width)
        _write(block[:, lead:, rows, columns], self.data[:, :, inside], self.affine)
        front = block[:, lead : lead + 1, rows, columns] if self.head is None else self.head[:, :, inside]
        block[:, :lead, rows, columns] = front
        for border in (block[:, :, : rows.start], block[:, :, rows.stop :]):
            border.zero_()
        for border in (block[:, :, :, : columns.start], block[:, :, :, columns.stop :]):
            border.zero_()
        return block

    def row_bytes(self) -> int:
        """Bytes of one row of a block."""
        batch, frames, _, width, channels = self.data.shape
        return batch * (frames + self.lead) * width * channels * self.data.itemsize


def convolve(
    run: Run,
    conv: nn.Module,
    x: Frames,
    *,
    padding: Padding = AROUND,
    norm: FrameNorm | None = None,
    skip: tuple[Tensor, nn.Module | None] | None = None,
    measure: bool = True,
) -> Frames:
    """conv(silu(norm(x))) + skip for the next frames of a clip, with the frames before from the run's state.

    `skip` is the residual [B,T,H,W,C] and its 1×1×1 convolution, if any; `measure` gathers the output's moments.
    """
    run.check()
    kernel, stride = conv.kernel_size, conv.stride
    remembered = kernel[0] - stride[0]
    source = open_source(run, conv, x, norm, lead=kernel[0] - 1)
    memory = new_memory(run, x.data, remembered)
    height = (x.data.shape[2] + padding.top + padding.bottom - kernel[1]) // stride[1] + 1
    output = Output(run, height, measure)
    for top, bottom in run.bands(source, height, stride[1] * source.row_bytes(), conv):
        first = top * stride[1] - padding.top
        block = source.block(run, first, (bottom - 1) * stride[1] + kernel[1] - padding.top, padding)
        remember(memory, block, first, slice(top * stride[1], bottom * stride[1]), padding.left)
        band = apply(conv, block)
        if skip:
            band = band.add_(_shortcut(skip, top, bottom))
        output.write(top, band)
    store(run, conv, source.head, memory)
    return output.frames()


class Output:
    """The maps being written, band by band; a single band is passed on as it is."""

    def __init__(self, run: Run, height: int, measure: bool) -> None:
        self._run = run
        self._height = height
        self._measure = measure
        self._data: Tensor | None = None
        self._moments: Moments | None = None

    def write(self, top: int, band: Tensor) -> None:
        """Put the rows of band [B,T,rows,W,C] in place, and measure them while they are at hand."""
        if self._data is None:
            shape = (*band.shape[:2], self._height, *band.shape[3:])
            whole = band.shape[2] == self._height
            self._data = band if whole else self._run.empty(shape, band)
            self._moments = Moments(shape, band.device) if self._measure else None
        rows = self._data[:, :, top : top + band.shape[2]]
        if rows.data_ptr() != band.data_ptr() or band.device.type == "meta":
            rows.copy_(band)
        if self._moments:
            self._moments.add(top, band)

    def frames(self) -> Frames:
        """The finished maps."""
        assert self._data is not None
        return Frames(self._data, self._moments)


def join(parts: list[Frames]) -> Frames:
    """Stretches of one clip, one after the other."""
    if len(parts) == 1:
        return parts[0]
    moments = [part.moments for part in parts if part.moments]
    return Frames(torch.cat([part.data for part in parts], dim=1), Moments.join(moments) if moments else None)


def open_source(run: Run, key: nn.Module, x: Frames, norm: FrameNorm | None, lead: int) -> Source:
    """What `key` reads next: the maps, their norm from the moments gathered when they were written, the head."""
    affine = None
    if norm is not None:
        assert x.moments is not None
        affine = norm(x.moments)
    return Source(x.data, affine, run.state.take(key) if lead else None, lead)


def new_memory(run: Run, data: Tensor, frames: int) -> Tensor | None:
    """Room for the last `frames` input frames; separate from the old ones, whose rows the next band still reads."""
    return run.empty((data.shape[0], frames, *data.shape[2:]), data) if frames else None


def store(run: Run, layer: nn.Module, old: Tensor | None, new: Tensor | None) -> None:
    """Let `layer` remember `new` frames in place of `old` ones."""
    if new is not None:
        run.state.keep(layer, new)
        run.give_back(old)


def remember(memory: Tensor | None, block: Tensor, first: int, rows: slice, left: int) -> None:
    """Copy the last frames of `block`, whose top row is input row `first`, for the input rows given."""
    if memory is None:
        return
    rows = slice(rows.start, min(rows.stop, memory.shape[2]))
    inside = slice(rows.start - first, rows.stop - first)
    columns = slice(left, left + memory.shape[3])
    memory[:, :, rows] = block[:, -memory.shape[1] :, inside, columns]


def apply(conv: nn.Module, block: Tensor) -> Tensor:
    """A convolution leaf on [B,T,H,W,C]."""
    return conv(block.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)


def _write(target: Tensor, data: Tensor, affine: tuple[Tensor, Tensor] | None) -> None:
    if affine is None:
        target.copy_(data)
        return
    scale, shift = affine
    torch.addcmul(shift, data, scale, out=target)
    F.silu(target, inplace=True)


def _shortcut(skip: tuple[Tensor, nn.Module | None], top: int, bottom: int) -> Tensor:
    residual, conv = skip
    rows = residual[:, :, top:bottom]
    return rows if conv is None else apply(conv, rows)


def kernel_bytes(conv: nn.Module, data: Tensor) -> int:
    """Bytes of the kernel at the precision of `data`."""
    return math.prod(conv.kernel_size) * conv.in_channels * conv.out_channels * data.itemsize


def _fewest_rows(source: Source) -> int:
    if source.data.device.type != "cpu":
        return 1
    batch, frames, _, _, channels = source.data.shape
    return ONEDNN_ELEMENTS // (batch * channels * (frames + source.lead)) + 1
