"""Noise is a pure function of seed, shot and place, and it is normal."""

from __future__ import annotations

import math

import pytest
import torch
from seedvr2_anywhere.engine.noise import LARGEST_SEED, picture_noise, shot_noise
from seedvr2_anywhere.models.errors import BadInput

SIZE = (34, 60)


@pytest.mark.parametrize("span", [(0, 1), (3, 7), (6, 13), (12, 13)])
def test_any_slice_is_that_part_of_the_whole(span):
    whole = shot_noise(7, 90, (0, 13), SIZE)
    assert whole.shape == (1, 16, 13, *SIZE)
    assert whole.dtype == torch.float32
    assert shot_noise(7, 90, span, SIZE).equal(whole[:, :, slice(*span)])


KNOWN = [0.437321, 1.115251, 2.310821, -0.537609, 1.287684, 0.475442, -0.745976, -2.096419]
PLACES = [(1245, 0, 0), (1246, 0, 0), (1245, 1, 0), (1245, 0, 1), (0, 1245, 0), (LARGEST_SEED, 0, 0), (0, 2**40, 9)]


def test_seed_shot_and_latent_each_give_unrelated_noise():
    flat = torch.stack([shot_noise(s, shot, (i, i + 1), SIZE).flatten() for s, shot, i in PLACES]).double()
    correlation = torch.corrcoef(flat) - torch.eye(len(PLACES), dtype=torch.float64)
    limit = 5 / math.sqrt(flat.shape[1])  # five standard errors
    assert correlation.abs().max() < limit, f"largest correlation {correlation.abs().max():.4f}, limit {limit:.4f}"


def test_values_are_normal():
    values = shot_noise(1245, 0, (0, 8), (68, 120)).flatten().double()
    count = values.numel()
    assert values.isfinite().all()
    assert abs(values.mean()) < 5 / math.sqrt(count)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((values**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / count)
    ordered = values.sort().values
    expected = 0.5 * (1 + torch.erf(ordered / math.sqrt(2)))
    distance = (expected - (torch.arange(count) + 0.5) / count).abs().max()
    assert distance < 1.95 / math.sqrt(count), f"Kolmogorov–Smirnov distance {distance:.2e}"  # passes 99.9 %


def test_neighbours_in_space_channel_and_time_are_independent():
    noise = shot_noise(3, 12, (0, 12), SIZE)[0]
    for axis in range(4):
        size = noise.shape[axis] - 1
        product = (noise.narrow(axis, 0, size) * noise.narrow(axis, 1, size)).double()
        assert abs(product.mean()) < 5 / math.sqrt(product.numel()), f"axis {axis}: {product.mean():.4f}"


def test_known_values_stay_the_same_for_ever():
    """A seed must give the same picture in the next version."""
    values = shot_noise(1245, 240, (5, 6), (2, 2)).flatten()
    known = torch.tensor(KNOWN)
    torch.testing.assert_close(values[[0, 1, 2, 3, 60, 61, 62, 63]], known, rtol=0, atol=1e-6)


def test_pictures_share_their_noise_whatever_their_number():
    one, five = picture_noise(9, 1, SIZE), picture_noise(9, 5, SIZE)
    assert five.shape == (5, 16, 1, *SIZE)
    assert all(picture.equal(one[0]) for picture in five)


BAD = [
    (-1, 0, (0, 1), SIZE),
    (2**32, 0, (0, 1), SIZE),
    (0, -1, (0, 1), SIZE),
    (0, 0, (2, 2), SIZE),
    (0, 0, (0, 1), (0, 4)),
]


@pytest.mark.parametrize("case", BAD)
def test_places_outside_are_refused(case):
    with pytest.raises(BadInput, match="expected"):
        shot_noise(*case)
