"""The fused kernels, in Triton. Every program works on whole rows, so sums have one order and results are repeatable.

Offsets of frames and rows are 64-bit: four frames of 4K maps hold more than 2³¹ numbers.
"""

# Triton's decorator hides that a launch takes plain numbers and options of its own
# pyright: reportArgumentType=false, reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from .modulation import NORM_EPSILON

TILE = 4096  # numbers a program works on at a time: 32 for each thread of four warps
NO_SPECIALISATION = ["first", "height", "front", "has_head", "kept", "kept_top", "kept_bottom", "top", "rows", "frames"]


def on_its_device(call: Callable) -> Callable:
    """Triton launches on the current device, wherever the tensors are: have it be that of the first one."""

    @functools.wraps(call)
    def there(first: Tensor, *rest):
        with torch.cuda.device_of(first):
            return call(first, *rest)

    return there


@triton.jit(do_not_specialize=NO_SPECIALISATION)
def _fill(
    block, data, scale, shift, head0, head1, kept0, kept1,
    batch_stride, frame_stride, first, height, width, full_width, left, rows, frames, front, has_head,
    kept, kept_top, kept_bottom,
    NORM: tl.constexpr, C: tl.constexpr, BC: tl.constexpr, BX: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame, row = program // rows, program % rows
    sample, number = frame // frames, frame % frames
    given = frames - front
    source = tl.maximum(number - front, 0)
    line = first + row
    inside = (line >= 0) & (line < height)
    channels = tl.arange(0, BC)
    within = channels < C
    target = block + program.to(tl.int64) * full_width * C
    origin = data + sample.to(tl.int64) * batch_stride + source.to(tl.int64) * frame_stride
    origin += line.to(tl.int64) * width * C
    plain = (sample.to(tl.int64) * height + line) * width * C
    from_head = (number < front) & (has_head != 0)
    age = frames - number
    keeps = (age <= kept) & (line >= kept_top) & (line < kept_bottom)
    if NORM:
        vector = (sample * given + source) * C + channels
        factor = tl.load(scale + vector, mask=within, other=0.0)[None, :]
        offset = tl.load(shift + vector, mask=within, other=0.0)[None, :]
    for start in range(0, full_width, BX):
        place = start + tl.arange(0, BX)
        column = place - left
        shown = ((column >= 0) & (column < width) & inside)[:, None] & within[None, :]
        spot = column[:, None] * C + channels[None, :]
        if from_head:
            if number == 0:
                value = tl.load(head0 + plain + spot, mask=shown, other=0.0).to(tl.float32)
            else:
                value = tl.load(head1 + plain + spot, mask=shown, other=0.0).to(tl.float32)
        else:
            value = tl.load(origin + spot, mask=shown, other=0.0).to(tl.float32)
            if NORM:
                value = value * factor + offset
                value = tl.where(shown, value * tl.sigmoid(value), 0.0)
        value = value.to(block.dtype.element_ty)
        everywhere = (place < full_width)[:, None] & within[None, :]
        tl.store(target + place[:, None] * C + channels[None, :], value, mask=everywhere)
        if keeps:
            if age == 1:
                tl.store(kept0 + plain + spot, value, mask=shown)
            else:
                tl.store(kept1 + plain + spot, value, mask=shown)


@on_its_device
def fill(
    block: Tensor,
    data: Tensor,
    affine: tuple[Tensor, Tensor] | None,
    head: list[Tensor],
    corner: tuple[int, int],
    kept: list[Tensor],
    rows: slice,
) -> None:
    """See `Kernels.fill`. `head` has a frame for each of the block's front ones, or none."""
    data = _by_rows(data)
    batch, frames, block_rows, full_width, channels = block.shape
    scale, shift = affine if affine is not None else (data, data)
    first_head, second_head = (head[0], head[-1]) if head else (data, data)
    newest, older = (kept[-1], kept[0]) if kept else (block, block)
    _fill[(batch * frames * block_rows,)](
        block, data, scale.contiguous(), shift.contiguous(), first_head, second_head, newest, older,
        data.stride(0), data.stride(1), corner[0], data.shape[2], data.shape[3], full_width, corner[1], block_rows,
        frames, frames - data.shape[1], int(bool(head)), len(kept), rows.start, rows.stop,
        NORM=affine is not None, C=channels, **_tile(channels),
    )  # fmt: skip


@triton.jit(do_not_specialize=["rows", "height", "top", "frames"])
def _finish(
    maps, out, bias, skip, mean, spread,
    out_batch, out_frame, skip_batch, skip_frame, rows, width, height, top, frames,
    BIAS: tl.constexpr, SKIP: tl.constexpr, WRITE: tl.constexpr, MEASURE: tl.constexpr,
    C: tl.constexpr, BC: tl.constexpr, BX: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame, row = program // rows, program % rows
    sample, number = (frame // frames).to(tl.int64), (frame % frames).to(tl.int64)
    channels = tl.arange(0, BC)
    within = channels < C
    line = row.to(tl.int64) * width * C
    source = maps + program.to(tl.int64) * width * C
    residual = skip + sample * skip_batch + number * skip_frame + line
    target = out + sample * out_batch + number * out_frame + line
    if BIAS:
        offset = tl.load(bias + channels, mask=within, other=0.0).to(tl.float32)[None, :]
    pivot = tl.load(source + channels, mask=within, other=0.0).to(tl.float32)  # near the mean: sums stay exact
    total = tl.zeros([BX, BC], dtype=tl.float32)
    squares = tl.zeros([BX, BC], dtype=tl.float32)
    for start in range(0, width, BX):
        place = start + tl.arange(0, BX)
        shown = (place < width)[:, None] & within[None, :]
        spot = place[:, None] * C + channels[None, :]
        value = tl.load(source + spot, mask=shown, other=0.0).to(tl.float32)
        if BIAS:
            value += offset
        if SKIP:
            value += tl.load(residual + spot, mask=shown, other=0.0).to(tl.float32)
        if WRITE:
            stored = value.to(out.dtype.element_ty)
            tl.store(target + spot, stored, mask=shown)
            value = stored.to(tl.float32)
        if MEASURE:
            value = tl.where(shown, value - pivot[None, :], 0.0)
            total += value
            squares += value * value
    if MEASURE:
        middle = tl.sum(total, axis=0) / width
        around = tl.maximum(tl.sum(squares, axis=0) - width * middle * middle, 0.0)
        moment = (frame.to(tl.int64) * height + top + row) * C + channels
        tl.store(mean + moment, middle + pivot, mask=within)
        tl.store(spread + moment, around, mask=within)


@on_its_device
def finish(
    maps: Tensor,
    out: Tensor | None,
    bias: Tensor | None,
    skip: Tensor | None,
    moments: tuple[Tensor, Tensor] | None,
    top: int,
) -> None:
    """See `Kernels.finish`."""
    maps = maps.contiguous()
    batch, frames, rows, width, channels = maps.shape
    target = maps if out is None else out
    residual = maps if skip is None else _by_rows(skip)
    mean, spread = moments if moments is not None else (maps, maps)
    _finish[(batch * frames * rows,)](
        maps, target, maps if bias is None else bias, residual, mean, spread,
        target.stride(0), target.stride(1), residual.stride(0), residual.stride(1), rows, width,
        mean.shape[2], top, frames,
        BIAS=bias is not None, SKIP=skip is not None, WRITE=out is not None, MEASURE=moments is not None,
        C=channels, **_tile(channels),
    )  # fmt: skip


@triton.jit(do_not_specialize=["rows", "height", "top", "has_top", "has_bottom"])
def _interleave(
    grid, bias, maps, row_bias, column_bias, corner_bias, mean, spread,
    maps_frame, rows, width, height, top, has_top, has_bottom,
    BIAS: tl.constexpr, Z: tl.constexpr, C: tl.constexpr, BC: tl.constexpr, BX: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    frame, row = program // rows, program % rows  # of the enlarged maps: rows of this band
    small, phase = frame // Z, frame % Z
    parity = row % 2
    small_rows = rows // 2 + 1
    small_width = width // 2 + 1
    channels = tl.arange(0, BC)
    within = channels < C
    source = grid + (small.to(tl.int64) * small_rows + row // 2 + parity) * small_width * (4 * Z * C)
    target = maps + frame.to(tl.int64) * maps_frame + row.to(tl.int64) * width * C
    at_top = (row == 0) & (has_top != 0)
    at_bottom = (row == rows - 1) & (has_bottom != 0)
    side = tl.where(at_bottom, 1, 0)
    first = parity * 2 * Z * C + phase * C  # in the leftmost column
    pivot = tl.load(source + first + channels, mask=within, other=0.0).to(tl.float32)
    total = tl.zeros([BX, BC], dtype=tl.float32)
    squares = tl.zeros([BX, BC], dtype=tl.float32)
    for start in range(0, width, BX):
        place = start + tl.arange(0, BX)
        column = place % 2
        shown = (place < width)[:, None] & within[None, :]
        kind = ((parity * 2 + column) * Z + phase) * C
        spot = (place // 2 + column) * (4 * Z * C) + kind
        value = tl.load(source + spot[:, None] + channels[None, :], mask=shown, other=0.0).to(tl.float32)
        if BIAS:
            value += tl.load(bias + kind[:, None] + channels[None, :], mask=shown, other=0.0).to(tl.float32)
        left_or_right = (place == 0) | (place == width - 1)
        end = tl.where(place == 0, 0, 1)
        edge = left_or_right[:, None] & shown
        beside = ((end * Z + phase) * 2 + parity) * C
        value += tl.load(column_bias + beside[:, None] + channels[None, :], mask=edge, other=0.0).to(tl.float32)
        if at_top | at_bottom:
            above = ((side * Z + phase) * 2 + column) * C
            value += tl.load(row_bias + above[:, None] + channels[None, :], mask=shown, other=0.0).to(tl.float32)
            corner = ((side * Z + phase) * 2 + end) * C
            value += tl.load(corner_bias + corner[:, None] + channels[None, :], mask=edge, other=0.0).to(tl.float32)
        stored = value.to(maps.dtype.element_ty)
        tl.store(target + place[:, None] * C + channels[None, :], stored, mask=shown)
        value = tl.where(shown, stored.to(tl.float32) - pivot[None, :], 0.0)
        total += value
        squares += value * value
    middle = tl.sum(total, axis=0) / width
    around = tl.maximum(tl.sum(squares, axis=0) - width * middle * middle, 0.0)
    moment = (frame.to(tl.int64) * height + top + row) * C + channels
    tl.store(mean + moment, middle + pivot, mask=within)
    tl.store(spread + moment, around, mask=within)


@on_its_device
def interleave(
    grid: Tensor,
    bias: Tensor | None,
    maps: Tensor,
    borders: tuple[Tensor, Tensor, Tensor],
    edges: tuple[bool, bool],
    moments: tuple[Tensor, Tensor],
    top: int,
) -> None:
    """See `Kernels.interleave`: grid [B,T,h+1,W+1,4·z·C], maps [B,T·z,2h,2W,C] of a whole frame's rows."""
    grid = grid.contiguous()
    _, frames, rows, width, channels = maps.shape
    has_top, has_bottom = (int(edge) for edge in edges)
    _interleave[(maps.shape[0] * frames * rows,)](
        grid, grid if bias is None else bias, maps, *(each.contiguous() for each in borders), *moments,
        maps.stride(1), rows, width, moments[0].shape[2], top, has_top, has_bottom,
        BIAS=bias is not None, Z=frames // grid.shape[1], C=channels, **_tile(channels),
    )  # fmt: skip


@triton.jit(do_not_specialize=["tokens", "length"])
def _windows(
    heads, weight, table, text, out, token_stride, head_stride, tokens, length, epsilon,
    NORM: tl.constexpr, TURN: tl.constexpr, H: tl.constexpr, BH: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    window, place = program // length, program % length
    head, element = tl.arange(0, BH), tl.arange(0, D)
    shown = (head < H)[:, None] & (element >= 0)[None, :]
    target = out + program.to(tl.int64) * (H * D) + head[:, None] * D + element[None, :]
    if place >= tokens:
        words = text + (place - tokens) * (H * D) + head[:, None] * D + element[None, :]
        tl.store(target, tl.load(words, mask=shown, other=0.0), mask=shown)
    else:
        token = (window * tokens + place).to(tl.int64)
        source = heads + token * token_stride + head[:, None] * head_stride + element[None, :]
        value = tl.load(source, mask=shown, other=0.0).to(tl.float32)
        if NORM:
            size = tl.sum(value * value, axis=1) / D
            value = value * (1.0 / tl.sqrt(size + epsilon))[:, None]
            value = value * tl.load(weight + element).to(tl.float32)[None, :]
        if TURN:
            pair = tl.arange(0, D // 2)
            angle = table + token * D + 2 * pair
            cosine, sine = tl.load(angle)[None, :], tl.load(angle + 1)[None, :]
            first, second = tl.split(tl.reshape(value, [BH, D // 2, 2]))
            turned = tl.join(first * cosine - second * sine, first * sine + second * cosine)
            value = tl.reshape(turned, [BH, D])
        tl.store(target, value.to(out.dtype.element_ty), mask=shown)


@on_its_device
def windows(heads: Tensor, weight: Tensor | None, table: Tensor | None, text: Tensor | None, out: Tensor) -> None:
    """See `Kernels.windows`: heads [W·n,h,d] of any strides, table [W·n,d/2] complex64, text [L,h,d]."""
    count, length, number, size = out.shape
    _windows[(count * length,)](
        heads, heads if weight is None else weight, heads if table is None else torch.view_as_real(table),
        heads if text is None else text.contiguous(), out, heads.stride(0), heads.stride(1),
        heads.shape[0] // count, length, NORM_EPSILON,
        NORM=weight is not None, TURN=table is not None, H=number, BH=triton.next_power_of_2(number), D=size,
    )  # fmt: skip


@triton.jit
def _norm(
    x, update, gate, scale, shift, out, width, epsilon,
    ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * width
    place = tl.arange(0, BLOCK)
    shown = place < width
    value = tl.load(x + row + place, mask=shown, other=0.0).to(tl.float32)
    if ADD:
        more = tl.load(update + row + place, mask=shown, other=0.0).to(tl.float32)
        stored = (value + more * tl.load(gate + place, mask=shown, other=0.0).to(tl.float32)).to(x.dtype.element_ty)
        tl.store(x + row + place, stored, mask=shown)
        value = stored.to(tl.float32)
    inverse = 1.0 / tl.sqrt(tl.sum(value * value, axis=0) / width + epsilon)
    value = value * inverse * tl.load(scale + place, mask=shown, other=0.0).to(tl.float32)
    value += tl.load(shift + place, mask=shown, other=0.0).to(tl.float32)
    tl.store(out + row + place, value.to(out.dtype.element_ty), mask=shown)


@on_its_device
def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """See `Kernels.modulated_norm`."""
    x = x.contiguous()
    return _normed(x, None, scale, scale, shift)


@on_its_device
def add_and_norm(residual: Tensor, update: Tensor, gate: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """See `Kernels.add_and_norm`; residual [N,D] is contiguous."""
    return _normed(residual, update.contiguous(), gate, scale, shift)


def _normed(x: Tensor, update: Tensor | None, gate: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    out, width = torch.empty_like(x), x.shape[-1]
    block = triton.next_power_of_2(width)
    vectors = (vector.contiguous() for vector in (gate, scale, shift))
    _norm[(x.numel() // width,)](
        x, x if update is None else update, *vectors, out, width, NORM_EPSILON,
        ADD=update is not None, BLOCK=block, num_warps=8 if block >= TILE else 4,
    )  # fmt: skip
    return out


@triton.jit
def _gated(gate, x, count, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    shown = place < count
    value = tl.load(gate + place, mask=shown, other=0.0).to(tl.float32)
    value = value * tl.sigmoid(value) * tl.load(x + place, mask=shown, other=0.0).to(tl.float32)
    tl.store(gate + place, value.to(gate.dtype.element_ty), mask=shown)


@on_its_device
def gated(gate: Tensor, x: Tensor) -> Tensor:
    """See `Kernels.gated`; both contiguous."""
    _gated[(triton.cdiv(gate.numel(), TILE),)](gate, x, gate.numel(), BLOCK=TILE)
    return gate


def _by_rows(maps: Tensor) -> Tensor:
    """The same maps; a copy only where rows, columns and channels do not follow each other in memory."""
    channels, width = maps.shape[4], maps.shape[3]
    return maps if maps.stride()[2:] == (width * channels, channels, 1) else maps.contiguous()


def _tile(channels: int) -> dict[str, int]:
    wide = triton.next_power_of_2(channels)
    return {"BC": wide, "BX": max(1, TILE // max(wide, 16))}
