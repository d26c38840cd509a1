"""What the VAE costs, counted on tensors without contents: arithmetic at 1080p, long-clip steady state, and memory."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models.vae import VideoVAE
from seedvr2_anywhere.models.vae_config import VAEConfig
from seedvr2_anywhere.models.vae_memory import LiveBytes, decoder_footprint, encoder_footprint
from seedvr2_anywhere.tests.models.vae_toys import SMALL, noise, toy_vae
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


GIB = 1 << 30
SIZES = [(720, 1280), (1088, 1920), (2160, 3840)]
# elements remembered per pixel of a frame: the sum over layers of frames × channels × grid
STATE_LAW = {"decode": 3656, "encode": 1942}
FOOTPRINTS = {"decode": decoder_footprint, "encode": encoder_footprint}


@pytest.mark.parametrize("kind", FOOTPRINTS)
@pytest.mark.parametrize("height, width", SIZES)
def test_state_follows_its_law(kind, height, width):
    found = FOOTPRINTS[kind](VAEConfig(), height, width, torch.bfloat16)
    assert found.state == pytest.approx(2 * STATE_LAW[kind] * height * width, rel=1e-3)
    assert found.host == 0
    assert found.device > found.state + found.weights


def test_a_1080p_decode_with_state_on_the_host_fits_8_gb_of_device_and_16_gib_of_host():
    tight = {"state": "host", "full_frames": 1, "block_bytes": 128 << 20}
    found = decoder_footprint(VAEConfig(), HEIGHT, WIDTH, torch.bfloat16, **tight)
    print(f"device {found.device / GIB:.2f} GiB, host {found.host / GIB:.2f} GiB")
    assert found.device <= 8e9
    assert found.host <= 16 * GIB


@pytest.mark.parametrize(
    "options", [{}, {"state": "host", "full_frames": 1}, {"full_frames": 2, "block_bytes": 1 << 20}]
)
def test_the_footprint_is_what_a_real_stream_holds(options):
    height, width = 64, 80
    predicted = decoder_footprint(SMALL, height, width, torch.float32, **options)
    stream = toy_vae(SMALL).decoder_stream(**options)
    for _ in range(4):
        stream.push(noise(1, 16, 1, height // 8, width // 8))
    assert stream.state_bytes() == predicted.state == (predicted.host or predicted.state)


PEAK_CASES = [
    (half, device, options)
    for half in FOOTPRINTS
    for device in ("cuda", "cpu")  # how memory is managed; the arithmetic is the CPU's
    for options in ({}, {"full_frames": 1}, {"full_frames": 1, "block_bytes": 1 << 18})
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("half", "device", "options"), PEAK_CASES)
def test_the_predicted_peak_is_what_a_real_run_reaches(half, device, options):
    height, width = 96, 128
    vae, options = toy_vae(SMALL), {"kind": device, **options}
    if half == "decode":
        part, stream, clip = vae.decoder, vae.decoder_stream(**options), [noise(1, 16, 1, height // 8, width // 8)] * 4
    else:
        frames = noise(1, 3, 4, height, width)
        part, stream, clip = vae.encoder, vae.encoder_stream(**options), [frames[:, :, :1], *[frames] * 3]
    with LiveBytes([*vae.parameters(), *vae.buffers(), *clip]) as live:
        for frames in clip:
            stream.push(frames)
    weights = sum(parameter.nbytes for parameter in part.parameters())
    predicted = FOOTPRINTS[half](SMALL, height, width, torch.float32, **options).device
    real = live.peak + weights + max(frames.nbytes for frames in clip)
    assert real == pytest.approx(predicted, rel=0.1), f"real {real:,}, predicted {predicted:,}"


def test_live_bytes_counts_storages_once_and_until_they_are_gone():
    with LiveBytes() as live:
        first = torch.empty(1000, dtype=torch.uint8, device="meta")
        view = first[:10]
        second = torch.empty(500, dtype=torch.uint8, device="meta")
        assert live.now == 1500
        del first
        assert live.now == 1500, "a view keeps its storage"
        del view, second
        assert (live.now, live.peak) == (0, 1500)
