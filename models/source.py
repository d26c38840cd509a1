"""What a streaming convolution reads and remembers, and the memory it works in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import kernels
from .state import DeviceState, HostState

MOST_SPARE = 8  # maps kept for reuse
MOST_WASTE = 2  # a spare map may be this many times larger than asked for
# PyTorch leaves smaller inputs (B·C·T·H) to a slow convolution of its own instead of oneDNN
ONEDNN_ELEMENTS = 20480


@dataclass(frozen=True)
class Padding:
    """Zero rows and columns around each frame."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


@dataclass
class Run:
    """One pass of a stream: where state lives, how large an input block may be, and whom to ask before each layer.

    On a processor, memory is handed round instead of freed: touching fresh pages costs more than arithmetic on them.
    """

    state: DeviceState | HostState
    block_bytes: int
    check: Callable[[], None]
    on_processor: bool
    _scratch: Tensor | None = None
    _spare: list[Tensor] = field(default_factory=list)

    def block(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised memory for one input block, valid until the next is asked for."""
        if not self.on_processor:
            return like.new_empty(shape)
        need = math.prod(shape) * like.itemsize
        if self._scratch is None or self._scratch.numel() < need:
            self._scratch = None  # freed before the larger one is made
            self._scratch = like.new_empty(need, dtype=torch.uint8)
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
        if maps is None or not self.on_processor:
            return
        storage = maps.untyped_storage()
        if maps.nbytes == storage.nbytes():  # views of something larger stay with their owner
            self._spare = [maps.new_empty(0, dtype=torch.uint8).set_(storage), *self._spare][:MOST_SPARE]

    def bands(self, source: Source, rows: int, row_bytes: int, conv: nn.Conv3d) -> Iterator[tuple[int, int]]:
        """Split `rows` of output so that a block stays near the limit, but no smaller than the kernel it goes with."""
        limit = max(self.block_bytes, kernel_bytes(conv, source.data))
        step = max(limit // row_bytes, _fewest_rows(source) if self.on_processor else 1)
        count = max(1, rows // step)
        step = -(-rows // count)  # bands of nearly equal height
        for top in range(0, rows, step):
            yield top, min(top + step, rows)


@dataclass
class Source:
    """Maps [B,T,H,W,C], the affine a norm amounts to, and the remembered frames [B,H,W,C] in front, as activated."""

    data: Tensor
    affine: tuple[Tensor, Tensor] | None
    head: list[Tensor]  # none at the start of a clip; after a single first frame one too few: it is repeated
    lead: int  # frames in front at the start of a clip
    back: int  # frames in front later on

    def block(self, run: Run, top: int, bottom: int, padding: Padding) -> Tensor:
        """Rows top..bottom (outside the frame: zeros) of head and maps, normalised and activated: [B,k+T,h,w,C]."""
        block = self.blank(run, top, bottom, padding)
        height, width, front = self.data.shape[2], self.data.shape[3], self.front
        inside = slice(max(top, 0), min(bottom, height))
        rows, columns = slice(inside.start - top, inside.stop - top), slice(padding.left, padding.left + width)
        _write(block[:, front:, rows, columns], self.data[:, :, inside], self.affine)
        for number in range(front):
            frame = self.before(number)[:, inside] if self.head else block[:, front, rows, columns]
            block[:, number, rows, columns] = frame
        for border in (block[:, :, : rows.start], block[:, :, rows.stop :]):
            border.zero_()
        for border in (block[:, :, :, : columns.start], block[:, :, :, columns.stop :]):
            border.zero_()
        return block

    def blank(self, run: Run, top: int, bottom: int, padding: Padding) -> Tensor:
        """Memory for such a block."""
        batch, frames, _, width, channels = self.data.shape
        full_width = padding.left + width + padding.right
        return run.block((batch, self.front + frames, bottom - top, full_width, channels), self.data)

    @property
    def front(self) -> int:
        """Frames of a block that come before the maps."""
        return self.back if self.head else self.lead

    def before(self, number: int) -> Tensor:
        """The remembered frame [B,H,W,C] that stands at `number` of the front ones."""
        return self.head[max(0, number - self.front + len(self.head))]

    def row_bytes(self) -> int:
        """Bytes of one row of a block."""
        batch, frames, _, width, channels = self.data.shape
        return batch * (frames + self.lead) * width * channels * self.data.itemsize


class Memory:
    """The newest input frames of a layer, copied band by band while its blocks are at hand.

    They are apart from the frames remembered so far, whose rows the next band still reads.
    """

    def __init__(self, run: Run, layer: nn.Module, data: Tensor, count: int) -> None:
        self._run, self._layer, self._count = run, layer, count
        batch, frames, self._height, self._width, channels = data.shape
        shape = (batch, self._height, self._width, channels)
        self._frames = [run.empty(shape, data) for _ in range(min(frames, count))]

    def block(self, source: Source, top: int, bottom: int, padding: Padding, rows: slice) -> Tensor:
        """`source.block`; of its last frames, input rows `rows` are remembered."""
        rows = slice(rows.start, min(rows.stop, self._height))
        fused = kernels.kernels_for(source.data.device)
        if fused is None:
            block = source.block(self._run, top, bottom, padding)
            self._add(block, top, rows, padding.left)
            return block
        block = source.blank(self._run, top, bottom, padding)
        head = [source.before(number) for number in range(source.front)] if source.head else []
        fused.fill(block, source.data, source.affine, head, (top, padding.left), self._frames, rows)
        return block

    def _add(self, block: Tensor, first: int, rows: slice, left: int) -> None:
        inside = slice(rows.start - first, rows.stop - first)
        for number, frame in enumerate(reversed(self._frames), start=1):
            frame[:, rows] = block[:, -number, inside, left : left + self._width]

    def close(self) -> None:
        """Hand the frames to the run's state."""
        if self._frames:
            for frame in self._run.state.keep(self._layer, self._frames, self._count):
                self._run.give_back(frame)


def kernel_bytes(conv: nn.Conv3d, data: Tensor) -> int:
    """Bytes of the kernel at the precision of `data`."""
    return math.prod(conv.kernel_size) * conv.in_channels * conv.out_channels * data.itemsize


def _write(target: Tensor, data: Tensor, affine: tuple[Tensor, Tensor] | None) -> None:
    if affine is None:
        target.copy_(data)
        return
    scale, shift = affine
    torch.addcmul(shift, data, scale, out=target)
    F.silu(target, inplace=True)


def _fewest_rows(source: Source) -> int:
    batch, frames, _, _, channels = source.data.shape
    return ONEDNN_ELEMENTS // (batch * channels * (frames + source.lead)) + 1
