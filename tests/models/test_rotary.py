"""Rotary embedding against the reference numbers of both styles."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models.rotary import frequencies, rotate, rotation, text_angles, video_angles

LANGUAGE = [
    1, 0.64494669, 0.41595620, 0.26826957, 0.17301957, 0.11158840, 0.07196856, 0.04641588, 0.02993577, 0.01930698,
    0.01245197, 0.00803086, 0.00517947, 0.00334048, 0.00215443, 0.00138950, 0.00089615, 0.00057797, 0.00037276,
    0.00024041, 0.00015505,
]  # fmt: skip
PIXEL = [
    3.1415927, 47.4729538, 91.8043213, 136.1356812, 180.4670410, 224.7984161, 269.1297913, 313.4611511, 357.7925110,
    402.1238708,
]  # fmt: skip
RAMP = torch.arange(128).float()[None, None] / 128  # one token, one head


def language_angles(place, text_length=58):
    return video_angles(torch.tensor([place]), torch.tensor([[2, 3, 3]]), frequencies(21, 128, True), text_length, True)


def pixel_angles(place, extent):
    return video_angles(torch.tensor([place]), torch.tensor([extent]), frequencies(10, 128, False), 58, False)


@pytest.mark.parametrize(("pairs", "language", "expected"), [(21, True, LANGUAGE), (10, False, PIXEL)])
def test_frequencies_are_the_published_ones(pairs, language, expected):
    found = frequencies(pairs, 128, language)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), rtol=1e-5, atol=5e-9)


def test_language_angles_count_from_the_text_and_restart_in_each_window():
    first, later = language_angles([0, 0, 0])[0], language_angles([1, 2, 1])[0]
    torch.testing.assert_close(first[:3], torch.tensor([58, 37.40691, 24.12546]), rtol=1e-6, atol=0)
    assert not first[21:].any()
    torch.testing.assert_close(later[:3], torch.tensor([59, 38.05185, 24.54142]), rtol=1e-6, atol=0)
    torch.testing.assert_close(later[21:24], torch.tensor([2, 1.28989, 0.83191]), rtol=1e-5, atol=0)
    torch.testing.assert_close(later[42:45], torch.tensor([1, 0.64495, 0.41596]), rtol=1e-5, atol=0)


def test_text_has_the_same_position_on_every_axis():
    angles = text_angles(6, frequencies(21, 128, True))[5].view(3, 21)
    torch.testing.assert_close(angles[0, :3], torch.tensor([5, 3.22473, 2.07978]), rtol=1e-5, atol=0)
    assert angles[1].equal(angles[0])
    assert angles[2].equal(angles[0])


def test_pixel_angles_run_from_minus_to_plus_one_across_the_window():
    g = torch.tensor(PIXEL)
    torch.testing.assert_close(pixel_angles([0, 0, 0], [2, 3, 4])[0].view(3, 10), -g.expand(3, 10))
    later = pixel_angles([1, 2, 1], [2, 3, 4])[0].view(3, 10)
    torch.testing.assert_close(later[:2], g.expand(2, 10))
    torch.testing.assert_close(later[2, :3], torch.tensor([-1.0471975, -15.8243170, -30.6014385]), rtol=1e-6, atol=0)


def test_a_pixel_axis_of_one_token_lies_at_minus_one():
    torch.testing.assert_close(pixel_angles([0, 0, 0], [1, 1, 1])[0].view(3, 10), -torch.tensor(PIXEL).expand(3, 10))


def test_rotation_turns_consecutive_pairs_and_leaves_the_rest():
    turned = rotate(RAMP, rotation(pixel_angles([0, 0, 0], [1, 1, 1]), 128))[0, 0]
    expected = torch.tensor([0, -0.0078125, -0.0226988, -0.0166800, -0.0490478, -0.0098364])
    torch.testing.assert_close(turned[:6], expected, rtol=0, atol=1e-6)
    assert turned[60:].equal(RAMP[0, 0, 60:])

    turned = rotate(RAMP, rotation(language_angles([0, 0, 0], text_length=1), 128))[0, 0]
    expected = torch.tensor([-0.0065740, 0.0042211, -0.0016032, 0.0281227, 0.0128015, 0.0483587])
    torch.testing.assert_close(turned[:6], expected, rtol=0, atol=1e-6)
    assert turned[126:].equal(RAMP[0, 0, 126:])
