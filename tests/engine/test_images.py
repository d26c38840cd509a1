"""Images in memory are restored like the frames of a file, and survive the way to codes and back."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.engine.errors import BadFrames
from seedvr2_anywhere.engine.images import batches_of, join_opacity, restore_images, there_and_back
from seedvr2_anywhere.engine.network import load_network
from seedvr2_anywhere.engine.upscale import Wish


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_file(make_weights(), path)
    return load_network(path)


def images(frames: int, channels: int = 3) -> torch.Tensor:
    rows = torch.linspace(0.1, 0.9, 32).view(1, 32, 1, 1)
    return rows.expand(frames, 32, 48, channels) * torch.linspace(0.8, 1, frames).view(-1, 1, 1, 1)


@pytest.mark.parametrize("frames, batch_size, channels", [(1, 0, 3), (2, 1, 3), (6, 5, 4)])
def test_number_size_and_colours_follow_the_images(network, frames, batch_size, channels):
    source = images(frames, channels)
    with torch.no_grad():
        done = restore_images(source, Wish(new_resolution=48, batch_size=batch_size), network)
    assert done.shape == (frames, 48, 72, channels)
    assert (done.mean((1, 2)) - source.mean((1, 2))).abs().max() <= 3 / 255
    assert done.min() >= 0
    assert done.max() <= 1


def test_codes_bring_images_back():
    source = images(20, 4)
    back = torch.cat([join_opacity(batch) for batch in batches_of(source)])
    assert (back - source).abs().max() <= 0.5 / 65535 + 1e-7
    stamps = [int(tick) for batch in batches_of(source) for tick in batch[1]]
    assert stamps == list(range(20))


def test_there_and_back_shows_the_ends_once():
    numbers = torch.arange(4.0).view(4, 1, 1, 1)
    assert there_and_back(numbers).flatten().tolist() == [0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("wrong", [torch.zeros(0, 8, 8, 3), torch.zeros(1, 8, 8, 2), "a picture"])
def test_what_is_no_image_is_refused(network, wrong):
    with pytest.raises(BadFrames):
        restore_images(wrong, Wish(), network)
