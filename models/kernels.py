"""Which fused kernels a device has: one pass over memory where PyTorch needs several.

They are an option: a machine without Triton, or where it cannot build, takes the plain path, which is also the
reference that the kernels are tested against. Results of the two differ by rounding only.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Kernels(Protocol):
    """What `kernels_triton` offers; maps are [B,T,H,W,C] with rows, columns and channels contiguous."""

    def fill(
        self,
        block: Tensor,
        data: Tensor,
        affine: tuple[Tensor, Tensor] | None,
        head: list[Tensor],
        corner: tuple[int, int],
        kept: list[Tensor],
        rows: slice,
    ) -> None:
        """A convolution's input block: `Source.block` and `Memory.add` at once."""

    def finish(
        self,
        maps: Tensor,
        out: Tensor | None,
        bias: Tensor | None,
        skip: Tensor | None,
        moments: tuple[Tensor, Tensor] | None,
        top: int,
    ) -> None:
        """maps + bias + skip into `out` (None: nowhere), and the mean and spread of its rows into `moments`."""

    def interleave(
        self,
        grid: Tensor,
        bias: Tensor | None,
        maps: Tensor,
        borders: tuple[Tensor, Tensor, Tensor],
        edges: tuple[bool, bool],
        moments: tuple[Tensor, Tensor],
        top: int,
    ) -> None:
        """The parities of a composed up-sampler side by side, with bias, border and moments."""

    def windows(
        self, heads: Tensor, weight: Tensor | None, table: Tensor | None, text: Tensor | None, out: Tensor
    ) -> None:
        """Heads [W·n,h,d], normed by `weight` and turned by `table` if given, then the text, into [W,n+L,h,d]."""

    def modulated_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """normalize(x)·scale + shift over the last axis."""
        ...

    def add_and_norm(self, residual: Tensor, update: Tensor, gate: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """residual += update·gate in place; returns its modulated norm."""
        ...

    def gated(self, gate: Tensor, x: Tensor) -> Tensor:
        """silu(gate)·x, in place of `gate`."""
        ...


def kernels_for(device: torch.device) -> Kernels | None:
    """The fused kernels of this device, or None where the plain path is to be taken."""
    if device.type != "cuda" or torch.is_grad_enabled():
        return None
    return _tried(device)


def are_present(kind: str) -> bool:
    """True where computing on a device of this kind will use them."""
    return kind == "cuda" and torch.cuda.is_available() and _tried(torch.device("cuda")) is not None


@cache
def _tried(device: torch.device) -> Kernels | None:
    """Kernels that gave the right answer on a small case: whatever fails in a strange setup shows there."""
    try:
        found = importlib.import_module(f"{__package__}.kernels_triton")
        x, vector = torch.linspace(-2, 2, 64, device=device).view(4, 16), torch.ones(16, device=device)
        wanted = torch.nn.functional.rms_norm(x, (16,), vector, 1e-5) + vector
        torch.testing.assert_close(found.modulated_norm(x, vector, vector), wanted, atol=1e-5, rtol=1e-5)
    except Exception as error:  # whatever a missing compiler or driver raises: the plain path is always there
        log.info("Fused kernels are not available on %s (%s): the plain path is used.", device, error)
        return None
    return found  # pyright: ignore[reportReturnType]
