"""Layers built when no `operations` are given: weights stay as stored, the input's dtype decides the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn


class Operations(Protocol):
    """Where layers come from: this module, torch.nn or ComfyUI's ops."""

    @property
    def Linear(self) -> Callable[..., nn.Module]:
        """Class of linear layers."""
        ...

    @property
    def Conv3d(self) -> Callable[..., nn.Conv3d]:
        """Class of convolutions over frames."""
        ...


class Linear(nn.Linear):
    """torch.nn.Linear that takes any input dtype: the weight is cast for the call, never kept twice."""

    def reset_parameters(self) -> None:
        """Weights come from a file: no time is spent on random ones."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] → [..., out] in the dtype of the input."""
        weight = self.weight.to(input.dtype)
        bias = None if self.bias is None else self.bias.to(input.dtype)
        if input.dtype == torch.float32 and input.device.type == "cpu" and not torch.is_grad_enabled():
            return _float32_linear()(input, weight, bias)
        return nn.functional.linear(input, weight, bias)


@cache
def _float32_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """The faster float32 product on this CPU: oneDNN's where torch has it (twice MKL's rate on AMD), else torch's.

    The operator is torch's own but not public, so it is tried once on a small case and passed over if it fails.
    """
    try:
        operator = torch.ops.mkldnn._linear_pointwise
        probe, weight, bias = torch.arange(12.0).view(3, 4), torch.arange(20.0).view(5, 4), torch.arange(5.0)
        found = operator(probe, weight, bias, "none", [], "")
        if torch.allclose(found, nn.functional.linear(probe, weight, bias), atol=1e-5):
            return lambda x, w, b: operator(x, w, b, "none", [], "")
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        pass
    return nn.functional.linear


class Conv3d(nn.Conv3d):
    """torch.nn.Conv3d without random initialisation; on the CPU always oneDNN's."""

    def reset_parameters(self) -> None:
        """Weights come from a file: no time is spent on random ones."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, T, H, W] → [B, C', t, h, w]; zero padding only."""
        # torch gives small inputs (B·C·T·H up to 20480) to a loop of its own, up to ten times slower
        if input.device.type == "cpu" and torch.backends.mkldnn.is_available() and not torch.is_grad_enabled():
            return torch.ops.aten.mkldnn_convolution(
                input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
            )
        return super().forward(input)
