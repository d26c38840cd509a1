"""Timestep sinusoid, the layout of the modulation vector, and norms against their plain formula."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models import layers
from seedvr2_anywhere.models.modulation import TimeEmbedding, add_gated, modulated_norm, normalize, sinusoid
from seedvr2_anywhere.tests.models.dit_toys import config

HALF_ULP_AT_1000 = 2.0**-15  # float32 angles are that coarse, whoever computes them


def test_sinusoid_at_1000_is_the_published_one():
    wave = sinusoid(1000.0, 256)
    sines = torch.tensor([0.826880, 0.613603, -0.898020, -0.544021, 0.107254])
    cosines = torch.tensor([0.562379, 0.789615, 0.439954, -0.839072, 0.994232])
    torch.testing.assert_close(wave[[0, 1, 2, 64, 127]], sines, rtol=0, atol=HALF_ULP_AT_1000)
    torch.testing.assert_close(wave[[128, 129, 130, 192, 255]], cosines, rtol=0, atol=HALF_ULP_AT_1000)


def test_embedding_is_read_channel_slowest_then_layer_then_kind():
    cfg = config("3b", width=128)
    embedding = TimeEmbedding(cfg, layers, device="cpu", dtype=torch.float32)
    for layer in (embedding.proj_in, embedding.proj_hid, embedding.proj_out):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    embedding.proj_out.bias.data = torch.arange(6.0 * 128)
    with torch.no_grad():
        vectors = embedding(1000.0, torch.device("cpu"), torch.float32)
    assert vectors.shape == (6, 128)
    assert vectors[:, 5].tolist() == [5 * 6.0 + kind for kind in range(6)]  # attention, MLP × shift, scale, gate


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_modulated_norm_is_the_plain_formula(dtype, tolerance):
    torch.manual_seed(0)
    x, scale, shift = torch.randn(5, 64) * 30, torch.randn(64), torch.randn(64)
    x, scale, shift = x.to(dtype), scale.to(dtype), shift.to(dtype)
    wide = x.double()
    plain = wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    with torch.no_grad():
        found = modulated_norm(x, scale, shift)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), plain * scale + shift, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(normalize(x).double(), plain, rtol=tolerance, atol=tolerance)


def test_gated_sum_is_in_place_only_without_gradients():
    residual, update, gate = torch.ones(2, 3), torch.full((2, 3), 2.0), torch.tensor([1.0, 2.0, 3.0])
    assert add_gated(residual, update, gate).tolist() == [[3, 5, 7]] * 2
    assert residual.tolist() == [[1, 1, 1]] * 2
    with torch.no_grad():
        add_gated(residual, update, gate)
    assert residual.tolist() == [[3, 5, 7]] * 2
