"""The video VAE computes what its definition says: golden vectors, the plain form, ComfyUI's own module."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.benchmarks.native_seedvr2 import comfy, native_vae
from seedvr2_anywhere.models import load_vae
from seedvr2_anywhere.models.convolve import Frames
from seedvr2_anywhere.models.errors import BadCheckpoint, BadInput, ModelError, UnsupportedCheckpoint
from seedvr2_anywhere.models.moments import Moments, _centred_rows, _summed_rows
from seedvr2_anywhere.models.source import Run
from seedvr2_anywhere.models.state import DeviceState
from seedvr2_anywhere.models.subpixel import SubpixelUp, UpSampler, compose
from seedvr2_anywhere.models.vae_config import SCALE, VAEConfig, expected_vae_keys, infer_vae_config
from seedvr2_anywhere.tests.models.plain_vae import PlainVAE
from seedvr2_anywhere.tests.models.vae_toys import (
    SMALL,
    TOY,
    formula_input,
    formula_weights,
    noise,
    random_weights,
    toy_vae,
    worst,
)  # fmt: skip

GOLDEN_TOLERANCE = 1e-3  # the fill makes the network ill-conditioned
PLAIN_TOLERANCE = 1e-5
COMFYUI_TOLERANCE = 1e-4


def test_the_released_vae_has_250_tensors_and_250_million_parameters():
    keys = expected_vae_keys(VAEConfig())
    encoder = sum(torch.Size(shape).numel() for key, shape in keys.items() if key.startswith("encoder."))
    assert len(keys) == 250
    assert encoder == 100_046_496
    assert sum(torch.Size(shape).numel() for shape in keys.values()) - encoder == 150_601_731


@pytest.mark.parametrize("config", [VAEConfig(), TOY, SMALL, VAEConfig(widths=(32, 64, 64, 64), decoder_blocks=2)])
def test_sizes_are_read_off_the_weights(config):
    state = {key: torch.empty(shape, device="meta") for key, shape in expected_vae_keys(config).items()}
    assert infer_vae_config(state, "toy") == config


def test_golden_encoding():
    vae = load_vae(formula_weights(TOY))
    run = Run(DeviceState(), 1 << 30, lambda: None, on_processor=True)
    video = formula_input((1, 3, 9, 48, 64), 0.2).permute(0, 2, 3, 4, 1)
    with torch.no_grad():
        slices = [vae.encoder(run, part, 4) for part in (video[:, :1], video[:, 1:5], video[:, 5:])]
    posterior = torch.cat(slices, dim=1)[0]
    assert posterior.mean().item() == pytest.approx(0.0035979, abs=GOLDEN_TOLERANCE)
    assert posterior.std().item() == pytest.approx(0.1729116, abs=GOLDEN_TOLERANCE)
    expect(posterior[0, 0, 0, :4], (-0.17752, 0.03791, -0.16012, -0.14468))
    expect(posterior[2, 5, 7, 12:16], (0.09397, 0.07285, 0.01758, 0.01014))


def test_golden_decoding():
    vae = load_vae(formula_weights(TOY))
    video = vae.decode(formula_input((1, 16, 3, 6, 8), 0.5) * SCALE)[0].permute(1, 2, 3, 0)
    assert video.mean().item() == pytest.approx(-0.0556797, abs=GOLDEN_TOLERANCE)
    assert video.std().item() == pytest.approx(0.1135046, abs=GOLDEN_TOLERANCE)
    expect(video[0, 0, 0], (-0.08633, -0.06786, -0.03919))
    expect(video[1, 20, 30], (-0.09223, -0.06623, -0.03093))
    expect(video[8, 47, 63], (-0.48137, -0.38162, -0.09794))


def expect(found, values):
    assert found.tolist() == pytest.approx(values, abs=GOLDEN_TOLERANCE)


SHAPES = [(1, 5, 3), (2, 2, 2), (2, 6, 8), (3, 2, 5), (5, 4, 4)]


@pytest.mark.parametrize("latents, height, width", SHAPES)
@pytest.mark.parametrize("config", [TOY, SMALL])
def test_vae_equals_its_plain_form(config, latents, height, width):
    vae, plain = toy_vae(config), PlainVAE(random_weights(config))
    video = noise(1, 3, 4 * latents - 3, 8 * height, 8 * width).clamp(-1, 1)
    with torch.no_grad():
        assert worst(vae.encode(video), plain.encode(video)[:, :16] * SCALE) <= PLAIN_TOLERANCE
        latent = noise(1, 16, latents, height, width)
        assert worst(vae.decode(latent), plain.decode(latent / SCALE)) <= PLAIN_TOLERANCE


def test_samples_of_a_batch_do_not_mix():
    vae = toy_vae()
    latent, video = noise(2, 16, 2, 4, 3), noise(2, 3, 5, 32, 24)
    assert worst(vae.decode(latent), torch.cat([vae.decode(sample) for sample in latent.split(1)])) <= 1e-5
    assert worst(vae.encode(video), torch.cat([vae.encode(sample) for sample in video.split(1)])) <= 1e-5


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 4), (3, 1), (2, 2), (5, 7)])
@pytest.mark.parametrize("block_bytes", [1, 1 << 30])
def test_composed_up_sampler_equals_the_plain_one_to_the_border(frames, height, width, block_bytes):
    channels, outer = 24, 16
    state = {
        "up.upscale_conv.weight": noise(4 * frames * channels, channels, 1, 1, 1, seed=2) / channels**0.5,
        "up.upscale_conv.bias": noise(4 * frames * channels, seed=3),
        "up.conv.weight": noise(outer, channels, 3, 3, 3, seed=4) / (27 * channels) ** 0.5,
        "up.conv.bias": noise(outer, seed=5),
    }
    x = noise(1, channels, 4, height, width)
    with torch.no_grad():
        expected = PlainVAE(state).upsample("up", x)
        found = enlarge_piecewise(state, UpSampler(channels, outer, frames), x, block_bytes)
    assert worst(found, expected) <= PLAIN_TOLERANCE


def enlarge_piecewise(state, size, x, block_bytes):
    expand, conv = ((state[f"up.{name}.weight"], state[f"up.{name}.bias"]) for name in ("upscale_conv", "conv"))
    up = SubpixelUp(size, torch.nn)
    up.load_state_dict(compose(expand, conv))
    run = Run(DeviceState(), block_bytes, lambda: None, on_processor=True)
    pieces = [up(run, Frames(part.permute(0, 2, 3, 4, 1).clone())) for part in x.split([1, 2, 1], dim=2)]
    return torch.cat([piece.data.clone() for piece in pieces], dim=1).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("measure", [_centred_rows, _summed_rows])
def test_moments_are_those_of_group_norm_whatever_the_bands(measure, monkeypatch):
    monkeypatch.setattr("seedvr2_anywhere.models.moments._centred_rows", measure)
    x = noise(2, 3, 7, 5, 64) * 3 + 8
    moments = Moments(tuple(x.shape), x.device)
    for top, bottom in ((0, 2), (2, 3), (3, 7)):
        moments.add(top, x[:, :, top:bottom])
    mean, variance = moments.groups(32)
    grouped = x.double().unflatten(-1, (32, 2))
    assert worst(mean, grouped.mean(dim=(2, 3, 5))) <= 1e-5
    assert worst(variance, grouped.var(dim=(2, 3, 5), correction=0)) <= 2e-4


def test_bfloat16_stays_near_float32():
    half = load_vae(random_weights(), dtype=torch.bfloat16)
    latent = noise(1, 16, 3, 6, 8)
    found, expected = half.decode(latent), toy_vae().decode(latent)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).std() <= 0.03 * expected.std()


GRIDS = [(1, 6, 5), (2, 4, 4), (3, 2, 7), (5, 6, 8), (2, 12, 10), (9, 4, 2)]


@pytest.mark.comfy
@pytest.mark.parametrize(
    "config, grids",
    [(TOY, [(1, 6, 5), (2, 4, 4), (3, 2, 7), (5, 6, 8), (2, 12, 10), (9, 4, 2)]), (VAEConfig(), [(2, 4, 3)])],
)
def test_vae_equals_comfyui(config, grids):
    weights = random_weights(config)
    theirs, ours = native_vae(config, weights), load_vae(weights)
    with torch.no_grad():
        for latents, height, width in grids:
            video = noise(1, 3, 4 * latents - 3, 8 * height, 8 * width).clamp(-1, 1)
            expected = theirs.encode(video).reshape(1, 16, latents, height, width) * SCALE
            assert worst(ours.encode(video), expected) <= COMFYUI_TOLERANCE
            latent = noise(1, 16, latents, height, width)
            assert worst(ours.decode(latent), theirs.decode(latent)) <= COMFYUI_TOLERANCE


@pytest.mark.comfy
def test_vae_runs_on_comfyui_operations():
    weights = random_weights(SMALL)
    host = load_vae({key: tensor.half() for key, tensor in weights.items()}, operations=comfy().ops.manual_cast)
    host.dtype = torch.float32
    latent = noise(1, 16, 2, 4, 3)
    assert {parameter.device.type for parameter in host.parameters()} == {"cpu"}
    rounded = load_vae({key: tensor.half() for key, tensor in weights.items()})
    assert worst(host.decode(latent), rounded.decode(latent)) <= 2e-2  # composed weights are kept in 16 bit here


BAD_CALLS = {
    "two dimensions": lambda vae: vae.decode(noise(16, 3)),
    "wrong channels": lambda vae: vae.decode(noise(1, 8, 2, 4, 4)),
    "no latents": lambda vae: vae.decode(noise(1, 16, 0, 4, 4)),
    "no rows": lambda vae: vae.decode(noise(1, 16, 1, 0, 4)),
    "frames not 4m+1": lambda vae: vae.encode(noise(1, 3, 4, 16, 16)),
    "no frames": lambda vae: vae.encode(noise(1, 3, 0, 16, 16)),
    "odd size": lambda vae: vae.encode(noise(1, 3, 1, 16, 12)),
    "grey": lambda vae: vae.encode(noise(1, 1, 1, 16, 16)),
    "unknown state": lambda vae: vae.decoder_stream(state="disk"),
    "full frames": lambda vae: vae.decoder_stream(full_frames=0),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_is_refused_with_what_was_got(case):
    with pytest.raises(BadInput, match=r"expected|needs|must"):
        BAD_CALLS[case](toy_vae())


def damaged(change) -> dict:
    state = random_weights(SMALL)
    change(state)
    return state


BAD_WEIGHTS = {
    "missing": (lambda state: state.pop("decoder.conv_out.bias"), BadCheckpoint, "decoder.conv_out.bias"),
    "misshapen": (lambda state: state.update({"decoder.conv_out.bias": noise(4)}), BadCheckpoint, r"\[4\].*\[3\]"),
    "unexpected": (lambda state: state.update({"quant_conv.weight": noise(4)}), BadCheckpoint, "quant_conv.weight"),
    "NaN": (lambda state: state["encoder.conv_in.weight"].fill_(torch.nan), BadCheckpoint, "encoder.conv_in.weight"),
    "no VAE": (lambda state: state.clear() or state.update({"a": noise(1)}), UnsupportedCheckpoint, "ema_vae"),
    "no decoder": (
        lambda state: [state.pop(key) for key in list(state) if key.startswith("decoder.up_blocks.0")],
        ModelError, "decoder.up_blocks.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_refused_by_name(case):
    change, error, message = BAD_WEIGHTS[case]
    with pytest.raises(error, match=message):
        load_vae(damaged(change))
