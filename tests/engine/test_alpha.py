"""Transparency arrives at the new size, and hidden colours never show."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.engine.alpha import join_alpha, split_alpha
from seedvr2_anywhere.engine.errors import BadFrames, BadSize
from seedvr2_anywhere.engine.resize import resize
from torch import Tensor

ORANGE = torch.tensor([0.9, 0.5, 0.1])


def disc(side: int, hidden: float) -> Tensor:
    """An orange disc with a soft edge on pixels that are fully transparent and hold this grey."""
    axis = torch.arange(side) - (side - 1) / 2
    alpha = (side / 3 - (axis[:, None] ** 2 + axis**2).sqrt()).clamp(0, 1)[..., None]
    return torch.cat((torch.where(alpha > 0, ORANGE, hidden), alpha), dim=-1)[None]


@pytest.mark.parametrize("hidden", [0.0, 1.0])
@pytest.mark.parametrize("side", [5, 24, 33])
def test_hidden_colour_takes_that_of_its_surroundings(hidden, side):
    colour, alpha = split_alpha(disc(side, hidden))
    torch.testing.assert_close(colour, ORANGE.expand_as(colour), atol=1e-5, rtol=0)
    assert alpha.equal(disc(side, hidden)[..., 3:])


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_no_fringe_shows_when_the_picture_grows(hidden):
    colour, alpha = split_alpha(disc(24, hidden))
    result = join_alpha(resize(colour, 96, 96), alpha)
    assert result.shape == (1, 96, 96, 4)
    visible = result[..., 3] > 0
    torch.testing.assert_close(result[visible][:, :3], ORANGE.expand(int(visible.sum()), 3), atol=1e-5, rtol=0)


def test_visible_pixels_keep_their_colour_exactly():
    frames = torch.rand(2, 20, 30, 4, generator=torch.Generator().manual_seed(0))
    frames[..., 3] = (frames[..., 3] - 0.5).clamp(min=0)
    colour, alpha = split_alpha(frames)
    visible = alpha[..., 0] > 0
    assert colour[visible].equal(frames[..., :3][visible])
    hidden = colour[~visible]
    assert hidden.min() >= 0 and hidden.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7)])
def test_wholly_hidden_and_wholly_visible_frames_stay(size):
    frames = torch.rand(2, *size, 4, generator=torch.Generator().manual_seed(0))
    frames[0, ..., 3], frames[1, ..., 3] = 0, 1
    colour, alpha = split_alpha(frames)
    assert torch.cat((colour, alpha), dim=-1).equal(frames)


def test_flat_alpha_stays_flat_and_in_range():
    alpha = torch.full((2, 6, 8, 1), 0.25)
    result = join_alpha(torch.zeros(2, 24, 32, 3), alpha)[..., 3]
    torch.testing.assert_close(result, torch.full_like(result, 0.25), atol=1e-6, rtol=0)
    edge = torch.zeros(1, 8, 8, 1)
    edge[:, 4:] = 1
    grown = join_alpha(torch.zeros(1, 32, 32, 3), edge)[..., 3]
    assert grown.min() == 0 and grown.max() == 1


def test_codes_are_read_and_the_argument_is_left_alone():
    codes = (disc(24, 0.0) * 255).round().to(torch.uint8)
    before = codes.clone()
    colour, alpha = split_alpha(codes)
    assert colour.dtype == alpha.dtype == torch.float32
    assert codes.equal(before)
    assert (alpha * 255).round().to(torch.uint8).equal(codes[..., 3:])


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadFrames, match="width, 4"):
        split_alpha(torch.zeros(1, 4, 4, 3))
    with pytest.raises(BadSize, match="2 frames of alpha for 3"):
        join_alpha(torch.zeros(3, 4, 4, 3), torch.zeros(2, 4, 4, 1))
