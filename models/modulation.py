"""Timestep embedding and the shift, scale and gate vectors made from it.

The embedding is read as [channel, layer, kind]: attention or MLP, then shift, scale, gate. Every block adds vectors of
its own. With one timestep all of this is constant, so blocks receive the finished sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import kernels
from .config import ADA_VECTORS, DiTConfig
from .layers import Operations

LONGEST_PERIOD = 10000.0  # of the timestep sinusoid
NORM_EPSILON = 1e-5  # of every norm in the transformer


@dataclass(frozen=True)
class Modulation:
    """The six vectors [D] of one branch of one block, in compute dtype."""

    attn_shift: Tensor
    attn_scale: Tensor
    attn_gate: Tensor
    mlp_shift: Tensor
    mlp_scale: Tensor
    mlp_gate: Tensor


class Vectors(nn.Module):
    """A leaf that holds named vectors of equal length and gives them stacked, in float32, where they are wanted."""

    def __init__(self, names: tuple[str, ...], width: int, device: torch.device | str | None):
        super().__init__()
        self.names = names
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.empty(width, device=device), requires_grad=False))

    def forward(self, device: torch.device) -> Tensor:
        """[names, width] float32 on `device`."""
        return torch.stack([self.get_parameter(name).to(device, torch.float32) for name in self.names])


class TimeEmbedding(nn.Module):
    """Three linear layers over the sinusoid of the raw timestep (0..1000)."""

    def __init__(self, config: DiTConfig, operations: Operations, **factory):
        super().__init__()
        self.sinusoid = config.sinusoid
        self.proj_in = operations.Linear(config.sinusoid, config.time_width, **factory)
        self.proj_hid = operations.Linear(config.time_width, config.time_width, **factory)
        self.proj_out = operations.Linear(config.time_width, 6 * config.width, **factory)

    def forward(self, timestep: float, device: torch.device, dtype: torch.dtype) -> Tensor:
        """[6, D] float32: shift, scale and gate of attention, then of the MLP."""
        wave = sinusoid(timestep, self.sinusoid).to(device, dtype)[None]
        hidden = nn.functional.silu(self.proj_in(wave))
        hidden = nn.functional.silu(self.proj_hid(hidden))
        return self.proj_out(hidden).float().view(-1, 6).t()  # channel slowest in the flat vector


def sinusoid(timestep: float, length: int) -> Tensor:
    """[length] float32, sine half first; frequencies from 1 down towards 1/10000."""
    half = length // 2
    # float32 throughout, as the model was trained: at 1000 the angle's own rounding (3e-5) shows in the velocity
    angle = timestep * torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(LONGEST_PERIOD) / half))
    return torch.cat([angle.sin(), angle.cos()])


def ada_vectors(width: int, device: torch.device | str | None) -> Vectors:
    """The leaf with a block's own six vectors."""
    return Vectors(ADA_VECTORS, width, device)


def fold(embedding: Tensor, own: Tensor, dtype: torch.dtype) -> Modulation:
    """Sum of the embedding's and a block's own vectors, both [6, D] float32, cast once."""
    return Modulation(*(embedding + own).to(dtype).contiguous().unbind(0))


def normalize(x: Tensor) -> Tensor:
    """x / sqrt(mean(x²) + 1e-5) over the last axis, with float32 statistics, as a new tensor of the same dtype."""
    return nn.functional.rms_norm(x, (x.shape[-1],), None, NORM_EPSILON)


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """normalize(x)·scale + shift as a new tensor; float32 statistics, the fewest passes over memory."""
    fused = kernels.kernels_for(x.device)
    if fused is not None:
        return fused.modulated_norm(x, scale, shift)
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return nn.functional.rms_norm(x, (x.shape[-1],), scale, NORM_EPSILON).add_(shift)
    # torch has no fused kernel for this on the CPU: three passes here, six there
    inverse = inverse_rms(x)
    y = x * inverse
    return torch.addcmul(shift, y, scale, out=y)


def inverse_rms(x: Tensor) -> Tensor:
    """1 / sqrt(mean(x²) + 1e-5) over the last axis, kept, in float32."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (length.square() / x.shape[-1] + NORM_EPSILON).rsqrt()


def add_and_norm(residual: Tensor, update: Tensor, gate: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """`add_gated` and the modulated norm of what it gives."""
    fused = kernels.kernels_for(residual.device)
    if fused is not None and residual.is_contiguous():
        return residual, fused.add_and_norm(residual, update, gate, scale, shift)
    residual = add_gated(residual, update, gate)
    return residual, modulated_norm(residual, scale, shift)


def add_gated(residual: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    """residual + update·gate, in place unless gradients are wanted."""
    if torch.is_grad_enabled():
        return torch.addcmul(residual, update, gate)
    return residual.addcmul_(update, gate)
