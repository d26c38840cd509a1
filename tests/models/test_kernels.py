"""The fused kernels compute what the plain path computes. Without a GPU they run in Triton's interpreter."""

from __future__ import annotations

import sys

import pytest
import torch
from seedvr2_anywhere.benchmarks.toy_weights import dit_config, dit_inputs, random_dit_weights
from seedvr2_anywhere.models import kernels, layers, load_dit, modulation, moments
from seedvr2_anywhere.models.attention import HeadNorm
from seedvr2_anywhere.models.convolve import BELOW_RIGHT, Frames, convolve
from seedvr2_anywhere.models.moments import FrameNorm, Moments
from seedvr2_anywhere.models.rotary import rotate, rotation
from seedvr2_anywhere.models.source import Run
from seedvr2_anywhere.models.state import DeviceState
from seedvr2_anywhere.models.subpixel import SubpixelUp, UpSampler

pytest.importorskip("triton", reason="Triton comes with PyTorch for Linux only")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = 1e-4 if DEVICE == "cuda" else 2e-5  # cuDNN sums in another order where it adds no bias


@pytest.fixture(scope="module")
def triton_kernels():
    """The kernels, on a GPU or in the interpreter that tests/conftest.py asks for."""
    from seedvr2_anywhere.models import kernels_triton
    from triton.runtime import interpreter

    patch = pytest.MonkeyPatch()
    original = interpreter._patch_lang_tensor

    def with_index(tensor, scope):
        original(tensor, scope)  # its own __index__ fails with NumPy 2.4: a number is an array of one element there
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    patch.setattr(interpreter, "_patch_lang_tensor", with_index)
    yield kernels_triton
    patch.undo()


@pytest.fixture
def paths(triton_kernels, monkeypatch):
    """Calls something on the plain path and on the fused one: `paths(call)` → both results."""
    # what a GPU's plain path does, sums of squares around nothing: the same rounding on both paths
    monkeypatch.setattr(Moments, "add", lambda self, top, band: self._put(top, band, moments._summed_rows))

    def both(call):
        results = []
        for choice in (None, triton_kernels):
            monkeypatch.setattr(kernels, "kernels_for", lambda device, choice=choice: choice)
            results.append(call())
        return results

    with torch.no_grad():
        yield both


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def assert_same(plain, fused) -> None:
    torch.testing.assert_close(fused, plain, atol=TOLERANCE, rtol=TOLERANCE)


CONVOLUTIONS = {
    "as in a residual block": {"skip": "identity"},
    "with a shortcut": {"skip": "conv"},
    "down-sampler": {"padding": BELOW_RIGHT, "kernel": (3, 3, 3), "stride": (2, 2, 2)},
    "spatial down-sampler": {"padding": BELOW_RIGHT, "kernel": (1, 3, 3), "stride": (1, 2, 2)},
    "without a norm, three channels": {"inner": 3, "norm": False, "measure": False},
    "only a norm follows": {"only_normed": True},
}


@pytest.mark.parametrize("block_bytes", [1 << 30, 3000])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_streaming_convolution_is_the_same(paths, name, block_bytes):
    case = {"inner": 32, "norm": True, "kernel": (3, 3, 3), "stride": (1, 1, 1), "skip": None} | CONVOLUTIONS[name]
    conv = conv_of(case["inner"], 32, case["kernel"], case["stride"])
    shortcut = conv_of(case["inner"], 32, (1, 1, 1)) if case["skip"] == "conv" else None
    norm = norm_of(case["inner"]) if case["norm"] else None
    options = {key: case[key] for key in ("padding", "measure", "only_normed") if key in case}

    def call():
        run, results = Run(DeviceState(), block_bytes, lambda: None, False), []
        for number, frames in enumerate((1, 2, 4)):
            x = noise(1, frames, 6, 8, case["inner"], seed=number)
            measured = Moments(tuple(x.shape), x.device)
            measured.add(0, x)
            skip = (x, shortcut) if case["skip"] else None
            answer = convolve(run, conv, Frames(x, measured), norm=norm, skip=skip, **options)
            offset = 0 if answer.offset is None else answer.offset
            results += [answer.data + offset, *(answer.moments.groups(8) if answer.moments else ())]
        return results

    assert_same(*paths(call))


@pytest.mark.parametrize("block_bytes", [1 << 30, 2000])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_composed_up_sampler_is_the_same(paths, frames, block_bytes):
    up = SubpixelUp(UpSampler(8, 8, frames), layers)
    for number, parameter in enumerate(up.parameters()):
        parameter.data = noise(*parameter.shape, seed=number) / 8

    def call():
        run, results = Run(DeviceState(), block_bytes, lambda: None, False), []
        for number, length in enumerate((1, 1, 2)):
            answer = up(run, Frames(noise(1, length, 3, 4, 8, seed=number)))
            results += [answer.data, *answer.moments.groups(4)]
        return results

    assert_same(*paths(call))


@pytest.mark.parametrize("style", ["3b", "7b"])
def test_a_transformer_is_the_same(paths, style):
    config = dit_config(style, layers=3)
    module = load_dit(random_dit_weights(config), device=DEVICE, dtype=torch.float32)
    inputs = [each.to(DEVICE) for each in dit_inputs(config, (2, 4, 6), text_length=5)]
    assert_same(*paths(lambda: module(*inputs, 1000.0)))


@torch.no_grad()
def test_heads_are_normed_turned_and_followed_by_the_text(triton_kernels):
    heads, text = noise(6, 3, 2, 128).unbind(1)[1], noise(4, 2, 128, seed=1)
    norm, table = HeadNorm(128, None), rotation(noise(6, 60, seed=2), 128)
    norm.weight.data = noise(128, seed=3)
    out = torch.empty(2, 7, 2, 128, device=DEVICE)
    triton_kernels.windows(heads, norm.weight, table, text, out)
    wanted = rotate(norm(heads), table).unflatten(0, (2, 3))
    assert_same(torch.cat([wanted, text.expand(2, 4, 2, 128)], dim=1), out)


@torch.no_grad()
def test_vectors_need_not_lie_together_in_memory(triton_kernels):
    x, (scale, shift, gate) = noise(5, 48), noise(48, 3, seed=1).unbind(1)
    assert_same(modulation.modulated_norm(x, scale, shift), triton_kernels.modulated_norm(x, scale, shift))
    update, residual = noise(5, 48, seed=2), x.clone()
    normed = triton_kernels.add_and_norm(residual, update, gate, scale, shift)
    assert_same(x + update * gate, residual)
    assert_same(modulation.modulated_norm(x + update * gate, scale, shift), normed)


def test_moments_of_flat_maps_far_from_zero_are_exact(triton_kernels):
    x = 30 + 1e-3 * noise(1, 1, 2, 64, 16)
    mean, spread = torch.empty(1, 1, 2, 16, device=DEVICE), torch.empty(1, 1, 2, 16, device=DEVICE)
    triton_kernels.finish(x, None, None, None, (mean, spread), 0)
    exact = x.double()
    wanted = (exact - exact.mean(3, keepdim=True)).square().sum(3)
    torch.testing.assert_close(spread.double(), wanted, rtol=1e-3, atol=0)


def test_nothing_is_fused_on_the_processor_or_while_something_learns():
    assert kernels.kernels_for(torch.device("cpu")) is None
    with torch.enable_grad():
        assert kernels.kernels_for(torch.device("cuda")) is None


def test_where_kernels_cannot_be_built_the_plain_path_is_taken(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)  # as on a machine without it
    monkeypatch.delitem(sys.modules, "seedvr2_anywhere.models.kernels_triton", raising=False)
    kernels._tried.cache_clear()
    with torch.no_grad(), caplog.at_level("INFO"):
        assert kernels.kernels_for(torch.device("cuda")) is None
    kernels._tried.cache_clear()
    assert "the plain path is used" in caplog.text


def conv_of(inner: int, outer: int, kernel, stride=(1, 1, 1)) -> layers.Conv3d:
    conv = layers.Conv3d(inner, outer, kernel, stride)
    conv.weight.data = noise(*conv.weight.shape) / conv.weight[0].numel() ** 0.5
    conv.bias.data = noise(outer, seed=1)
    return conv.requires_grad_(False)


def norm_of(channels: int) -> FrameNorm:
    norm = FrameNorm(channels).requires_grad_(False)
    norm.weight.data, norm.bias.data = 1 + 0.1 * noise(channels), noise(channels, seed=1)
    return norm
