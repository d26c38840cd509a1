"""The linear layer used without ComfyUI: any input dtype and shape, the weight kept as stored."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models.layers import Linear

SHAPES = [(4,), (1, 4), (7, 4), (2, 3, 4), (0, 4)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("grad", [True, False])
def test_float32_products_are_torchs_own(shape, bias, grad):
    layer = Linear(4, 3, bias=bias)
    torch.nn.init.normal_(layer.weight)
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(shape)
    with torch.set_grad_enabled(grad):
        found = layer(x)
        torch.testing.assert_close(found, torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert found.requires_grad == grad


def test_strided_input_and_mapped_weights_work():
    layer = Linear(64, 48, bias=False)
    layer.weight = torch.nn.Parameter(torch.randn(48 * 64 + 3)[3:].view(48, 64))  # not aligned, as in some files
    x = torch.randn(10, 3, 64)[:, 1]
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), x @ layer.weight.t(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16], ids=str)
def test_the_input_decides_the_arithmetic(stored, computed):
    layer = Linear(16, 8)
    layer.load_state_dict({"weight": torch.randn(8, 16).to(stored), "bias": torch.randn(8).to(stored)}, assign=True)
    x = torch.randn(5, 16).to(computed)
    with torch.no_grad():
        found = layer(x)
    expected = torch.nn.functional.linear(x, layer.weight.to(computed), layer.bias.to(computed))
    assert layer.weight.dtype == stored
    assert found.dtype == computed
    torch.testing.assert_close(found, expected)
