"""What the VAE costs: arithmetic counted on meta tensors at 1080p, long-clip steady state, without attention."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models.vae import VideoVAE
from seedvr2_anywhere.models.vae_config import VAEConfig
from torch.utils.flop_counter import FlopCounterMode

HEIGHT, WIDTH = 1088, 1920
MOST = {"decode": 18.9e6, "encode": 9.0e6}  # FLOP per pixel; the plain decoder needs 23.55e6
FRAMES = 4  # per latent


@pytest.fixture(scope="module")
def vae():
    with torch.device("meta"):
        return VideoVAE(VAEConfig(), torch.nn)


def steady_flops(stream, clip) -> int:
    """Arithmetic of convolutions and projections in one more slice of a running stream."""
    for _ in range(3):
        stream.push(clip)
    with FlopCounterMode(display=False) as counter:
        stream.push(clip)
    counts = counter.get_flop_counts()["Global"]
    return sum(flops for operation, flops in counts.items() if "bmm" not in str(operation))


def test_decoding_a_pixel_takes_a_fifth_less_than_the_plain_decoder(vae):
    flops = steady_flops(vae.decoder_stream(), torch.empty(1, 16, 1, HEIGHT // 8, WIDTH // 8, device="meta"))
    per_pixel = flops / (FRAMES * HEIGHT * WIDTH)
    print(f"decode: {per_pixel / 1e6:.2f} MFLOP per output pixel")
    assert 18e6 < per_pixel <= MOST["decode"]


def test_encoding_a_pixel_takes_no_more_than_its_layers(vae):
    stream = vae.encoder_stream()
    stream.push(torch.empty(1, 3, 1, HEIGHT, WIDTH, device="meta"))
    flops = steady_flops(stream, torch.empty(1, 3, FRAMES, HEIGHT, WIDTH, device="meta"))
    per_pixel = flops / (FRAMES * HEIGHT * WIDTH)
    print(f"encode: {per_pixel / 1e6:.2f} MFLOP per pixel")
    assert 8.5e6 < per_pixel <= MOST["encode"]
