"""The optimiser of the matrices: each step has the same length in every direction that the gradient points in.

Method: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks". The nearest semi-orthogonal
matrix comes from the inverse root of the small Gram matrix, by Newton-Schulz iterations on all Gram matrices of one
size at once: first their steep polynomial, which lifts what is small, then the one that settles at 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
FLOOR = 1e-6  # added to the Gram matrix's eigenvalues, whose sum is 1: what is smaller is rounding
STEEP, SETTLING = (3.4445, -4.7750, 2.0315), (15 / 8, -10 / 8, 3 / 8)  # of x, x³, x⁵; the second is Newton-Schulz's
POLYNOMIALS = (STEEP,) * 6 + (SETTLING,) * 2


class Muon(torch.optim.Optimizer):
    """Steps of one length; convolutions count as matrices of one row for each output."""

    def __init__(self, groups: Iterable[dict], rate: float) -> None:
        super().__init__(groups, {"lr": rate})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move all tensors, each of which has a gradient, against their smoothed gradients, Nesterov's way."""
        tensors = [(tensor, group["lr"]) for group in self.param_groups for tensor in group["params"]]
        gradients = [tensor.grad for tensor, _ in tensors if tensor.grad is not None]
        smooth = [self.state[tensor].setdefault("smooth", torch.zeros_like(tensor)) for tensor, _ in tensors]
        torch._foreach_lerp_(smooth, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, smooth, MOMENTUM)
        directions = orthogonal([each.flatten(1) for each in ahead])
        for (tensor, rate), direction in zip(tensors, directions, strict=True):
            tensor.add_(direction.view_as(tensor), alpha=-rate)


def orthogonal(matrices: list[Tensor]) -> list[Tensor]:
    """Of each the nearest matrix [R,C] whose singular values are all 1, or √(R/C) where it is tall."""
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    sizes = [matrix.norm().clamp(min=1e-30) for matrix in wide]
    wide = [matrix / size for matrix, size in zip(wide, sizes, strict=True)]
    numbers: dict[int, list[int]] = defaultdict(list)
    for number, matrix in enumerate(wide):
        numbers[len(matrix)].append(number)
    turned = list(wide)
    for same in numbers.values():
        roots = inverse_roots(torch.stack([wide[number] @ wide[number].T for number in same]))
        for number, root in zip(same, roots, strict=True):
            turned[number] = root @ wide[number]
    return [
        one if one.shape == matrix.shape else one.T * (matrix.shape[0] / matrix.shape[1]) ** 0.5
        for one, matrix in zip(turned, matrices, strict=True)
    ]


def inverse_roots(grams: Tensor) -> Tensor:
    """(G + FLOOR)^(−1/2) of symmetric matrices [B,N,N] with eigenvalues in 0..1."""
    one = torch.eye(grams.shape[-1], device=grams.device, dtype=grams.dtype)
    grams, roots = grams + FLOOR * one, one.expand_as(grams)
    for linear, cubic, quintic in POLYNOMIALS:
        factor = linear * one + cubic * grams + quintic * grams @ grams
        grams, roots = factor @ grams @ factor, factor @ roots
        grams = (grams + grams.mT) / 2  # what rounding makes lopsided grows otherwise
    return roots
