"""HDR that is kept: the source's light where nothing changed, the network's detail where something did, tags along."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.engine.hdr import keep_light, nits_to_hlg, sdr_light
from seedvr2_anywhere.engine.network import load_network
from seedvr2_anywhere.engine.tone import SDR_WHITE, hlg_to_nits, to_sdr
from seedvr2_anywhere.engine.upscale import Source, Wish, upscale
from seedvr2_anywhere.media.description import Mastering

CURVES = ("pq", "hlg")
GRADING = Mastering(
    tuple(map(Fraction, ("0.68", "0.32", "0.265", "0.69", "0.15", "0.06", "0.3127", "0.329", "0.005", "1000"))),
    (1000, 400),
)


def codes_of(frames: int = 1) -> torch.Tensor:
    """Greys from black to the brightest, and colours of all kinds."""
    grey = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(frames, 8, 64, 3)
    colours = torch.rand(frames, 24, 64, 3, generator=torch.Generator().manual_seed(5))
    return torch.cat([grey, colours], dim=1)


@pytest.mark.parametrize("curve", CURVES)
def test_what_the_network_did_not_change_keeps_its_codes(curve):
    codes = codes_of()
    shown = to_sdr(codes, curve)
    assert (keep_light(shown.clone(), shown, codes, curve) - codes).abs().max() < 1e-3  # of 10 bits: one code


def test_hlg_codes_and_light_are_inverse():
    codes = codes_of()[0].permute(2, 0, 1)
    assert (nits_to_hlg(hlg_to_nits(codes)) - codes).abs().max() < 1e-4


def test_sdr_white_is_reference_white_without_colour():
    light = sdr_light(torch.ones(2, 2, 3))
    torch.testing.assert_close(light, torch.full((3, 2, 2), SDR_WHITE), rtol=1e-5, atol=0)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("change", [-0.05, 0.05])
def test_brighter_in_sdr_is_brighter_in_hdr_and_darker_is_darker(curve, change):
    codes = torch.linspace(0.2, 0.6, 64).view(1, 1, 64, 1).expand(1, 4, 64, 3)
    shown = to_sdr(codes, curve)
    moved = keep_light((shown + change).clamp(0, 1), shown, codes, curve) - codes
    inside = (shown > 0.06) & (shown < 0.9)
    assert inside.any()
    assert (moved[inside] * change > 0).all()
    assert moved.abs().max() < 0.2


@pytest.mark.parametrize("curve", CURVES)
def test_a_kept_hdr_clip_is_tagged_and_as_bright_as_its_source(tmp_path, curve):
    weights = tmp_path / "stand_in.safetensors"
    save_file(make_weights(), weights)
    source, frames = tmp_path / "hdr.mp4", 5
    rows = np.linspace(6000, 46000, 32)[:, None, None] * np.array([1.0, 0.9, 0.8])
    pictures = np.broadcast_to(rows, (frames, 32, 64, 3)).astype(np.uint16)
    colour = media.Colour("bt2020", "limited", curve, "bt2020", mastering=GRADING)
    media.write(source, [(pictures, np.arange(frames))], time_base=Fraction(1, 24), picture=media.Picture(colour),
                encoding=media.Encoding("MP4 H.265", quality="near lossless"))  # fmt: skip
    with torch.no_grad():
        done = upscale(Source(source, keep_hdr=True), Wish(new_resolution=48), load_network(weights), tmp_path)
    info = media.probe(done.path)
    assert (info.colour.transfer, info.colour.primaries, info.bit_depth) == (curve, "bt2020", 10)
    assert info.colour.mastering == media.probe(source).colour.mastering is not None
    result, before = (np.concatenate([batch[0] for batch in media.read(path)]) for path in (done.path, source))
    assert np.abs(result.mean((0, 1, 2)) - before.mean((0, 1, 2))).max() <= 3 / 255 * 65535
