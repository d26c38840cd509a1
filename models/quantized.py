"""Linear layers over quantised weights without ComfyUI: the weight stays small and is widened for each call.

Inside ComfyUI its own ops do this, with integer arithmetic. Here the result is that of the dequantised weight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from .errors import UnsupportedCheckpoint
from .formats import QuantizedLayer

MXFP8_BLOCK = 32  # columns that share a scale
NVFP4_BLOCK = 16
# float4 e2m1 values by code; the high nibble of a byte is the earlier column
FLOAT4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
TILE_ROWS, TILE_COLUMNS = 128, 4  # block scales are stored in tiles of this size, 32 rows interleaved


class QuantizedLinear(nn.Module):
    """A leaf that answers like a Linear with the dequantised weight."""

    weight: Tensor
    weight_scale: Tensor | None
    weight_scale_2: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: QuantizedLayer, tensors: dict[str, Tensor], name: str):
        super().__init__()
        if layer.format not in DECODERS:
            raise UnsupportedCheckpoint(
                f"{name} is quantised as {layer.format}, which works only inside ComfyUI. "
                "Use the fp16, fp8 or int8 file of the same model."
            )
        self.layer = layer
        for part in ("weight", "weight_scale", "weight_scale_2", "bias"):
            self.register_buffer(part, tensors.get(part))

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] → [..., out] in the dtype of the input."""
        if self.layer.rotation_group:  # weight columns are rotated: turning the input alike undoes it
            turn = hadamard(self.layer.rotation_group).to(input)
            input = (input.unflatten(-1, (-1, self.layer.rotation_group)) @ turn).flatten(-2)
        weight = DECODERS[self.layer.format](self.weight, self.weight_scale, self.weight_scale_2).to(input.dtype)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return nn.functional.linear(input, weight, bias)


@cache
def hadamard(size: int) -> Tensor:
    """The regular Hadamard matrix of ConvRot: Kronecker powers of a 4×4 one, orthonormal and symmetric."""
    quarter = 1.0 - 2.0 * torch.eye(4).flip(0)
    turn = torch.ones(1, 1)
    while turn.shape[0] < size:
        turn = torch.kron(turn, quarter)
    if turn.shape[0] != size:
        raise UnsupportedCheckpoint(f"ConvRot groups of {size} columns: expected a power of 4.")
    return turn / size**0.5


def untile(scales: Tensor, rows: int, columns: int) -> Tensor:
    """Block scales [rows, columns] out of the tiled order tensor cores read them in."""
    down, across = -(-rows // TILE_ROWS), -(-columns // TILE_COLUMNS)
    tiles = scales.reshape(down, across, 32, TILE_ROWS // 32, TILE_COLUMNS)
    whole = tiles.permute(0, 3, 2, 1, 4).reshape(down * TILE_ROWS, across * TILE_COLUMNS)
    return whole[:rows, :columns]


def _decode_float8(weight: Tensor, scale: Tensor | None, _: Tensor | None) -> Tensor:
    return weight.float() if scale is None else weight.float() * scale.float().reshape(-1, 1)


def _decode_int8(weight: Tensor, scale: Tensor, _: Tensor | None) -> Tensor:
    return weight.float() * scale.float().reshape(-1, 1)  # per row, or one for all


def _decode_mxfp8(weight: Tensor, scale: Tensor, _: Tensor | None) -> Tensor:
    rows, columns = weight.shape
    exponents = untile(scale.view(torch.uint8), rows, columns // MXFP8_BLOCK).float() - 127  # e8m0: an exponent alone
    return (weight.float().unflatten(1, (-1, MXFP8_BLOCK)) * torch.exp2(exponents)[:, :, None]).flatten(1)


def _decode_nvfp4(weight: Tensor, scale: Tensor, whole_scale: Tensor) -> Tensor:
    codes = weight.view(torch.uint8)
    codes = torch.stack([codes >> 4, codes & 0x0F], dim=-1).flatten(1)
    values = torch.tensor(FLOAT4_VALUES, device=codes.device)[codes.int()]
    scales = untile(scale.view(torch.float8_e4m3fn).float(), values.shape[0], values.shape[1] // NVFP4_BLOCK)
    return (values.unflatten(1, (-1, NVFP4_BLOCK)) * (scales * whole_scale.float())[:, :, None]).flatten(1)


# format → (weight, weight_scale, weight_scale_2) to the float32 weight
DECODERS: dict[str, Callable[..., Tensor]] = {
    "float8_e4m3fn": _decode_float8,
    "float8_e5m2": _decode_float8,
    "int8_tensorwise": _decode_int8,
    "mxfp8": _decode_mxfp8,
    "nvfp4": _decode_nvfp4,
}
