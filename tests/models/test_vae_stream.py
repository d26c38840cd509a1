"""The VAE as a stream: however a clip is pushed, wherever state lives, the result is that of the whole clip."""

from __future__ import annotations

import random

import pytest
import torch
from seedvr2_anywhere.models.errors import BadInput
from seedvr2_anywhere.models.state import HostState
from seedvr2_anywhere.tests.models.vae_toys import SMALL, noise, toy_vae, worst

TOLERANCE = 1e-5
ENCODER_FIELD = 112  # frames before a latent that can change it
DECODER_FIELD = 37  # latents before a latent that can change its frames
FRAMES, LATENTS = 17, 5


def pushes(total: int, size: int | str) -> list[int]:
    if size == "random":
        generator, sizes = random.Random(7), []
        while sum(sizes) < total:
            sizes.append(min(generator.randint(1, 6), total - sum(sizes)))
        return sizes
    return [size] * (total // size) + ([total % size] if total % size else [])


def streamed(stream, clip, sizes):
    parts = [stream.push(part) for part in clip.split(sizes, dim=2)] + [stream.finish()]
    return torch.cat([part for part in parts if part is not None], dim=2)


OPTIONS = {
    "device": {},
    "host": {"state": "host"},
    "one full-size frame at a time": {"full_frames": 1},
    "narrow bands": {"block_bytes": 1},
    "two latents at a time": {"slice_latents": 2},
    "all": {"state": "host", "full_frames": 2, "block_bytes": 100_000},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, "random"])
def test_streaming_equals_the_whole_clip(size, options):
    vae = toy_vae()
    video, latent = noise(1, 3, FRAMES, 40, 24).clamp(-1, 1), noise(1, 16, LATENTS, 5, 3)
    encoded = streamed(vae.encoder_stream(**OPTIONS[options]), video, pushes(FRAMES, size))
    decoded = streamed(vae.decoder_stream(**OPTIONS[options]), latent, pushes(LATENTS, size))
    assert worst(encoded, vae.encode(video)) <= TOLERANCE
    assert worst(decoded, vae.decode(latent)) <= TOLERANCE


@pytest.mark.parametrize("options", ["device", "host"])
@pytest.mark.parametrize("size", [1, 3, "random"])
def test_push_size_and_place_of_state_change_no_bit(size, options):
    vae = toy_vae(SMALL)
    video, latent = noise(1, 3, FRAMES, 24, 32).clamp(-1, 1), noise(1, 16, LATENTS, 3, 4)
    encoded = streamed(vae.encoder_stream(**OPTIONS[options]), video, pushes(FRAMES, size))
    decoded = streamed(vae.decoder_stream(**OPTIONS[options]), latent, pushes(LATENTS, size))
    assert torch.equal(encoded, vae.encode(video))
    assert torch.equal(decoded, vae.decode(latent))


def test_a_decoder_started_37_latents_early_joins_the_continuous_clip():
    vae, start = toy_vae(SMALL), 5
    latent = noise(1, 16, start + DECODER_FIELD + 2, 2, 2)
    whole = vae.decode(latent)
    late = vae.decode(latent[:, :, start:])
    frames = 4 * 2  # of the two latents that follow the replay
    assert worst(late[:, :, -frames:], whole[:, :, -frames:]) <= TOLERANCE


def test_an_encoder_started_112_frames_early_joins_the_continuous_clip():
    vae, start = toy_vae(SMALL), 16
    video = noise(1, 3, start + ENCODER_FIELD + 9, 16, 16).clamp(-1, 1)
    whole, late = vae.encode(video), vae.encode(video[:, :, start:])
    assert worst(late[:, :, -2:], whole[:, :, -2:]) <= TOLERANCE


def reach(compute, clip) -> tuple[int, int]:
    """First and last position of the output that a change of the clip's middle frame or latent reaches."""
    changed = clip.clone()
    changed[:, :, clip.shape[2] // 2] += 1.0
    touched = (compute(clip) - compute(changed)).abs().amax(dim=(0, 1, 3, 4)).nonzero()
    return int(touched[0]), int(touched[-1])


def test_the_decoder_reads_37_latents_back_and_none_ahead():
    count = 2 * DECODER_FIELD + 7
    middle = count // 2
    first, last = reach(toy_vae(SMALL).decode, noise(1, 16, count, 1, 1))
    assert first == 4 * middle - 3
    assert (last + 3) // 4 - middle <= DECODER_FIELD


def test_the_encoder_reads_112_frames_back_and_none_ahead():
    count = 2 * ENCODER_FIELD + 41
    middle = count // 2
    first, last = reach(toy_vae(SMALL).encode, noise(1, 3, count, 8, 8).clamp(-1, 1))
    assert first == (middle + 3) // 4
    assert 4 * last - middle <= ENCODER_FIELD


def test_a_stream_stops_before_the_layer_at_which_its_check_raises():
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt

    stream = toy_vae(SMALL).decoder_stream(check=check)
    with pytest.raises(KeyboardInterrupt):
        stream.push(noise(1, 16, 3, 2, 2))
    assert len(calls) == 20


def test_frames_that_make_no_latent_are_named_at_the_end():
    stream = toy_vae(SMALL).encoder_stream()
    assert stream.push(noise(1, 3, 1, 16, 16)) is not None
    assert stream.push(noise(1, 3, 3, 16, 16)) is None
    with pytest.raises(BadInput, match="3 frames are left"):
        stream.finish()


def test_state_does_not_grow_with_the_clip():
    vae = toy_vae(SMALL)
    sizes = []
    stream = vae.decoder_stream()
    for _ in range(6):
        stream.push(noise(1, 16, 1, 3, 2))
        sizes.append(stream.state_bytes())
    assert sizes[2] == sizes[-1]


def test_host_state_fetches_the_next_layer_ahead_and_keeps_the_newest_frames():
    store = HostState(torch.device("cpu"))
    for step in range(4):
        for layer in "abc":
            found = [float(frame) for frame in store.take(layer)]
            assert found == [float(number) for number in range(step)][-2:]
            assert len(store._fetched) <= 1, "at most one layer is fetched ahead"
            store.keep(layer, [torch.tensor(float(step))], 2)
    store.forget("b")
    assert store.take("b") == []
