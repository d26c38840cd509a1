"""Resizing keeps what must stay, looks like the usual bicubic, and blends exactly at both ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from seedvr2_anywhere.engine.errors import BadFrames, BadSize
from seedvr2_anywhere.engine.resize import blend, resize
from torch import Tensor


def random_frames(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


SIZES = [((1, 1), (2, 2)), ((2, 2), (1, 1)), ((3, 5), (64, 48)), ((64, 48), (7, 9)), ((33, 17), (33, 34))]


@pytest.mark.parametrize(("source", "target"), SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_flat_frames_stay_flat(source, target, channels):
    frames = torch.full((2, *source, channels), 0.7)
    result = resize(frames, *target)
    assert result.shape == (2, *target, channels)
    torch.testing.assert_close(result, torch.full_like(result, 0.7), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_it_is_the_bicubic_of_pillow(source, target):
    frames = random_frames(1, *source, 3)
    for channel in range(3):
        picture = Image.fromarray(frames[0, :, :, channel].numpy()).resize(target[::-1], Image.Resampling.BICUBIC)
        wanted = torch.from_numpy(np.array(picture)).clamp(0, 1)
        worst = (resize(frames, *target)[0, :, :, channel] - wanted).abs().max()
        assert worst < 2e-6, f"largest difference {worst:.2e}"


def test_an_equal_size_changes_nothing():
    frames = random_frames(2, 9, 11, 3)
    assert resize(frames, 9, 11).equal(frames)


def test_overshoot_is_clamped():
    frames = torch.zeros(1, 16, 16, 3)
    frames[:, :, 8:] = 1
    result = resize(frames, 64, 64)
    assert result.min() == 0 and result.max() == 1


@pytest.mark.parametrize(("dtype", "highest"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_codes_are_read_as_their_values(dtype, highest):
    codes = (random_frames(2, 8, 10, 3) * highest).to(torch.int32)
    assert resize(codes.to(dtype), 16, 20).equal(resize(codes / highest, 16, 20))


def test_a_frame_does_not_depend_on_its_neighbours():
    frames = random_frames(3, 8, 10, 3)
    assert resize(frames, 19, 21).equal(torch.cat([resize(frame[None], 19, 21) for frame in frames]))


def test_strength_is_exact_at_both_ends_and_even_between():
    restored, reference = random_frames(2, 5, 6, 3, seed=1), random_frames(2, 5, 6, 3, seed=2)
    assert blend(restored, reference, 1).equal(restored)
    assert blend(restored, reference, 0).equal(reference)
    torch.testing.assert_close(blend(restored, reference, 0.25), restored / 4 + reference * 3 / 4, atol=1e-6, rtol=0)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_impossible_strength_is_refused(strength):
    with pytest.raises(BadFrames, match=r"expected 0 .* to 1"):
        blend(torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3), strength)


def test_blending_unequal_sizes_is_refused():
    with pytest.raises(BadSize, match="reference of"):
        blend(torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 4, 3), 0.5)
