"""The optimiser of the matrices: each step has the same length in every direction that the gradient points in.

Method: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". The nearest semi-orthogonal
matrix is taken from the exact eigenvectors of the small Gram matrix: cheaper than iterations at widths about 100.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
FLOOR = 1e-7  # of the Gram matrix's eigenvalues, whose sum is 1: what is smaller is rounding


class Muon(torch.optim.Optimizer):
    """Steps of one length; convolutions count as matrices of one row for each output."""

    def __init__(self, groups: Iterable[dict], rate: float) -> None:
        super().__init__(groups, {"lr": rate})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move all tensors against their smoothed gradients, Nesterov's way."""
        for group in self.param_groups:
            for tensor in group["params"]:
                kept = self.state[tensor].setdefault("smooth", torch.zeros_like(tensor))
                kept.lerp_(tensor.grad, 1 - MOMENTUM)
                direction = orthogonal(tensor.grad.lerp(kept, MOMENTUM).flatten(1))
                tensor.add_(direction.view_as(tensor), alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix [R,C] whose singular values are all 1, or √(R/C) where it is tall."""
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    gram = gram / gram.diagonal().sum().clamp(min=1e-30)
    values, vectors = torch.linalg.eigh(gram)
    root = (vectors * values.clamp(min=FLOOR).rsqrt()) @ vectors.T
    turned = (root @ matrix if wide else matrix @ root) / matrix.norm().clamp(min=1e-30)
    return turned * max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
