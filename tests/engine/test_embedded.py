"""The pack's own model: one small file that loads like the large ones and gives a better picture than enlargement."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from seedvr2_anywhere.benchmarks import embedded as measured
from seedvr2_anywhere.benchmarks.footage import footage
from seedvr2_anywhere.engine.embedded import EMBEDDED, embedded_model
from seedvr2_anywhere.engine.images import restore_images
from seedvr2_anywhere.engine.network import load_network
from seedvr2_anywhere.engine.resize import resize
from seedvr2_anywhere.engine.upscale import Wish
from seedvr2_anywhere.tools.embedded import dit_start, vae_start
from seedvr2_anywhere.tools.embedded.degrade import Harm, shrink
from seedvr2_anywhere.tools.embedded.vae_plain import PlainVAE

MOST_BYTES = 12_000_000
CLIP, FRAMES, SIDE = "api_wan_text_to_video-1", 5, 96  # held out; needs the template packages of the environment


@pytest.fixture(scope="module")
def network():
    return load_network(embedded_model())


def clean() -> torch.Tensor:
    """The middle of a held-out clip, [T,H,W,3] in 0..1."""
    if CLIP not in footage():
        pytest.skip("the template packages with the clips are not installed")
    clip = measured.clean_clip(CLIP, FRAMES)
    top, left = ((size - SIDE) // 2 for size in clip.shape[1:3])
    return clip[:, top : top + SIDE, left : left + SIDE]


def test_the_file_is_small_complete_and_in_half_precision():
    state = load_file(EMBEDDED)
    assert EMBEDDED.stat().st_size <= MOST_BYTES
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    parts = {*dit_start.of(state), *vae_start.of(state), "positive_conditioning", "negative_conditioning"}
    assert parts == set(state)


def test_what_was_trained_is_what_the_engine_computes(network, one_thread):
    video = clean().permute(3, 0, 1, 2)[None, :, :5, :48, :64] * 2 - 1
    plain = PlainVAE(
        {key: tensor.float() for key, tensor in vae_start.of(load_file(EMBEDDED)).items()}, vae_start.CONFIG
    )
    with torch.no_grad():
        latent = plain.encode(video)
        assert (network.vae.encode(video) - latent).abs().max() < 1e-3
        assert (network.vae.decode(latent) - plain.decode(latent)).abs().max() < 2e-3


@pytest.mark.parametrize("factor", [2, 4])
def test_noise_is_taken_away_and_the_picture_is_nearer_to_the_clean_one(network, one_thread, factor):
    wanted = clean()
    small = torch.from_numpy(shrink(wanted.permute(3, 0, 1, 2) * 2 - 1, Harm(factor, noise=10 / 255))) / 255
    restored = measured.score(restore_images(small, Wish(size_by="scale", scale=float(factor)), network), wanted)
    enlarged = measured.score(resize(small, SIDE, SIDE), wanted)
    assert restored.psnr > enlarged.psnr + 0.3
    assert restored.ssim > enlarged.ssim + 0.02
    assert restored.flicker < 0.9 * enlarged.flicker
