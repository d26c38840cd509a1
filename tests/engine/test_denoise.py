"""A shot through the transformer: windows, noise and stitching together, however latents arrive."""

from __future__ import annotations

import weakref

import pytest
import torch
from seedvr2_anywhere.engine.denoise import Denoiser, Part, encoded_from
from seedvr2_anywhere.engine.noise import shot_noise
from seedvr2_anywhere.engine.windows import Windowing, mix, plan_windows
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.models.errors import BadInput
from seedvr2_anywhere.models.sampler import condition_for, guide
from seedvr2_anywhere.models.text import TextConditioning
from seedvr2_anywhere.tests.models.dit_toys import config, random_weights

CONFIG = config("3b", 128, layers=2, separate=1)
SIZE, SEED, SHOT = (6, 8), 1245, 48
WINDOWING = Windowing(5, 2)


@pytest.fixture(scope="module")
def dit():
    return load_dit(random_weights(CONFIG))


@pytest.fixture(scope="module")
def text():
    source = torch.Generator().manual_seed(3)
    return TextConditioning(*(torch.randn(length, CONFIG.text_width, generator=source) for length in (5, 7)))


def encoded(latents: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 16, latents, *SIZE, generator=torch.Generator().manual_seed(latents))


def restored(dit, text, latents, push: int = 3, windowing=WINDOWING, **options) -> torch.Tensor:
    denoiser = Denoiser(dit, text, windowing, SEED, **options)
    return torch.cat(list(denoiser.restore(latents.split(push, dim=2), Part(SHOT))), dim=2)


def one_window(dit, text, latents, start: int, stop: int) -> torch.Tensor:
    """The rule written out: noise − velocity."""
    noise = shot_noise(SEED, SHOT, (start, stop), SIZE)
    return noise - dit(noise, condition_for(latents[:, :, start:stop]), text.positive, 1000.0)


def test_a_shot_is_its_windows_mixed_where_they_meet(dit, text):
    latents = encoded(7)
    first, second = plan_windows(7, WINDOWING)
    before, after = (one_window(dit, text, latents, window.start, window.stop) for window in (first, second))
    expected = torch.cat([before[:, :, :-2], mix(before[:, :, -2:], after[:, :, :2]), after[:, :, 2:]], dim=2)
    assert restored(dit, text, latents).equal(expected)


@pytest.mark.parametrize("latents", [1, 4, 19])
def test_the_result_does_not_depend_on_how_latents_arrive(dit, text, latents):
    whole = restored(dit, text, encoded(latents), push=latents)
    assert whole.shape == (1, 16, latents, *SIZE)
    assert whole.dtype == torch.float32
    for push in (1, 2, 7):
        assert restored(dit, text, encoded(latents), push=push).equal(whole)


@pytest.mark.parametrize("wanted", [0, 1, 4, 8, 12, 18])
def test_the_rest_of_an_interrupted_shot_is_exactly_that_of_the_whole(dit, text, wanted):
    latents = encoded(19)
    first = encoded_from(wanted, WINDOWING)
    assert first <= wanted
    part = Part(SHOT, wanted, first)
    rest = Denoiser(dit, text, WINDOWING, SEED).restore(latents[:, :, first:].split(4, dim=2), part)
    assert torch.cat(list(rest), dim=2).equal(restored(dit, text, latents)[:, :, wanted:])


def test_memory_does_not_grow_with_the_shot(dit, text):
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def latents():
        nonlocal most
        for number in range(40):
            latent = encoded(1) + number
            alive.add(latent)
            yield latent
            del latent
            most = max(most, len(alive))

    for _ in Denoiser(dit, text, WINDOWING, SEED).restore(latents(), Part(SHOT)):
        pass
    assert most <= WINDOWING.look_ahead + WINDOWING.length, f"{most} latents held at once"


def test_guidance_looks_at_both_texts(dit, text):
    latents = encoded(2)
    noise, condition = shot_noise(SEED, SHOT, (0, 2), SIZE), condition_for(latents)
    positive, negative = (dit(noise, condition, each, 1000.0) for each in (text.positive, text.negative))
    expected = noise - guide(positive, negative, 3.0)
    torch.testing.assert_close(restored(dit, text, latents, cfg_scale=3.0), expected)


def test_guidance_without_the_negative_text_is_refused(dit, text):
    with pytest.raises(BadInput, match="negative text"):
        restored(dit, TextConditioning(text.positive, None), encoded(2), cfg_scale=1.5)


def test_pictures_together_equal_pictures_one_by_one(dit, text):
    pictures = encoded(1, batch=3)
    denoiser = Denoiser(dit, text, WINDOWING, SEED)
    together = denoiser.restore_pictures(pictures)
    alone = [denoiser.restore_pictures(picture[None]) for picture in pictures]
    assert together.equal(torch.cat(alone))
    assert together.shape == pictures.shape


def test_a_check_may_stop_it_before_any_block(dit, text):
    calls = []

    def check():
        calls.append(None)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        restored(dit, text, encoded(9), check=check)
    assert len(calls) == 3
    assert dit.on_block is None, "a stopped run leaves its check behind"


def test_latents_that_begin_too_late_are_refused(dit, text):
    with pytest.raises(BadInput, match="begin at 6"):
        list(Denoiser(dit, text, WINDOWING, SEED).restore([encoded(6)], Part(SHOT, wanted=6, first=6)))
