"""Sampling rules: one step, many steps, guidance, and the timestep shift of condition noise."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from seedvr2_anywhere.models.errors import BadInput
from seedvr2_anywhere.models.sampler import (
    condition_for,
    guide,
    sample,
    shift_timestep,
    timestep_shift,
    timesteps,
    with_condition_noise,
)

# latent (T, h, w) → shift factor, and 1000·τ' for a tenth of noise
SHIFTS = {
    (1, 32, 32): (1.0, 100.0),
    (1, 128, 128): (3.2, 262.295),
    (1, 90, 160): (2.915833, 244.702),
    (1, 136, 240): (5.528333, 380.521),
    (2, 90, 160): (1.066556, 105.951),
    (6, 90, 160): (1.516093, 144.169),
    (2, 136, 240): (1.244498, 121.480),
    (12, 136, 240): (3.791871, 296.428),
    (37, 90, 160): (5.0, 357.143),
    # the axes as the official call passes them, without the frame axis
    (90, 160, 16): (2.709237, 231.376),
    (136, 240, 16): (4.979396, 356.195),
    (128, 128, 16): (2.959979, 247.490),
    (270, 480, 16): (17.064434, 654.702),
}


@pytest.mark.parametrize("size", SHIFTS)
def test_timestep_shift_is_the_published_one(size):
    shift, moved = SHIFTS[size]
    assert timestep_shift(*size) == pytest.approx(shift, abs=2e-6)
    assert shift_timestep(100.0, timestep_shift(*size)) == pytest.approx(moved, abs=1e-3)


def test_one_step_is_noise_minus_velocity():
    noise, calls = torch.randn(1, 16, 2, 4, 4), []

    def velocity(x, timestep):
        calls.append(timestep)
        return x * 0.5 + 1

    assert sample(velocity, noise).equal(noise - (noise * 0.5 + 1))
    assert calls == [1000.0]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_straight_flow_ends_at_the_data_whatever_the_steps(steps):
    data, noise = torch.randn(1, 16, 1, 4, 4), torch.randn(1, 16, 1, 4, 4)
    torch.testing.assert_close(sample(lambda x, t: noise - data, noise, steps), data, rtol=0, atol=1e-6)


def test_many_steps_follow_the_two_ended_rule():
    noise, x = torch.randn(1, 16, 1, 2, 2), None
    velocity = lambda x, t: torch.sin(3 * x) + t / 1000  # noqa: E731
    x, schedule = noise, [1000.0, 750.0, 500.0, 250.0, 0.0]
    for now, following in pairwise(schedule):
        v = velocity(x, now)
        data, end = x - now / 1000 * v, x + (1 - now / 1000) * v
        x = (1 - following / 1000) * data + following / 1000 * end
    torch.testing.assert_close(sample(velocity, noise, 4), x, rtol=0, atol=1e-6)
    assert timesteps(4) == schedule[:-1]


def test_guidance_of_one_is_the_positive_and_rescale_restores_its_spread():
    positive, negative = torch.randn(2, 16, 3, 4, 4), torch.randn(2, 16, 3, 4, 4)
    torch.testing.assert_close(guide(positive, negative, 1.0), positive)
    torch.testing.assert_close(guide(positive, negative, 3.0), negative + 3 * (positive - negative))
    rescaled = guide(positive, negative, 3.0, rescale=1.0)
    torch.testing.assert_close(rescaled.std(dim=1), positive.std(dim=1))
    half = guide(positive, negative, 3.0, rescale=0.5)
    torch.testing.assert_close(half, 0.5 * rescaled + 0.5 * guide(positive, negative, 3.0))


def test_condition_is_the_latent_and_a_mask_of_ones():
    latent = torch.randn(1, 16, 2, 4, 6)
    condition = condition_for(latent)
    assert condition.shape == (1, 17, 2, 4, 6)
    assert condition[:, :16].equal(latent)
    assert (condition[:, 16] == 1).all()


def test_condition_noise_of_zero_changes_nothing():
    latent, noise = torch.randn(1, 16, 2, 4, 6), torch.randn(1, 16, 2, 4, 6)
    assert with_condition_noise(latent, noise, 0.0).equal(latent)
    share = shift_timestep(100.0, timestep_shift(2, 4, 6)) / 1000
    torch.testing.assert_close(with_condition_noise(latent, noise, 0.1), (1 - share) * latent + share * noise)


def test_no_steps_are_refused():
    with pytest.raises(BadInput, match="steps is 0"):
        sample(lambda x, t: x, torch.zeros(1), 0)
