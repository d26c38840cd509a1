"""The tools that train the embedded model: the start is a code that shows pictures, and a step makes no nonsense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from seedvr2_anywhere.models import load_dit, load_vae
from seedvr2_anywhere.models.sampler import NOISE_TIMESTEP, condition_for
from seedvr2_anywhere.tools.embedded import batches, clips, dit_start, latents, stages, train, vae_start
from seedvr2_anywhere.tools.embedded.degrade import Harm, degrade, draw_harm, shrink
from seedvr2_anywhere.tools.embedded.dit_plain import PlainDiT
from seedvr2_anywhere.tools.embedded.learner import WARM_UP, Course, Learner
from seedvr2_anywhere.tools.embedded.muon import Muon, orthogonal
from seedvr2_anywhere.tools.embedded.place import Place
from seedvr2_anywhere.tools.embedded.vae_plain import PlainVAE

HERE = Place(torch.device("cpu"), 0)


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    """Waves that move, [4,3,9,48,48] in −1..1."""
    grids = torch.meshgrid(torch.arange(9), torch.arange(48), torch.arange(48), indexing="ij")
    t, y, x = (grid.float() for grid in grids)
    waves = [torch.sin((x * (k + 1) + y * k - 3 * t) / 14 + k) * torch.cos(y / (9 + k)) for k in range(4)]
    return torch.stack([torch.stack([w, 0.7 * w + 0.1, 0.2 - w]) for w in waves]) * 0.8


@pytest.fixture(scope="module")
def state(video):
    return vae_start.starting_weights(video, 1) | dit_start.starting_weights(1)


def test_the_code_of_pixels_is_undone(state, video):
    first = vae_start.code_of(state)
    shown = vae_start.unpacked(vae_start.code(video, first)[:, :, 1:], first)
    assert train.psnr(shown, train.colours(video)) > 40


def test_the_start_shows_pictures_in_the_engines_own_vae(state, video, one_thread):
    vae = load_vae(vae_start.of(state))
    shown = vae.decode(vae.encode(video))
    assert train.psnr(train.colours(shown), train.colours(video)) > 25


@pytest.mark.parametrize("level", [1, 2])
def test_the_coarse_way_equals_the_way_from_pixels(state, video, one_thread, level):
    plain, first = PlainVAE(vae_start.with_plain_cells(state), vae_start.CONFIG), vae_start.code_of(state)
    with torch.no_grad():
        latent = plain.encode(video)
        assert (plain.encode(vae_start.entered(video, level, first), level) - latent).abs().max() < 1e-4
        shown = vae_start.left(plain.decode(latent, level), level, first)
        # the last norm divides by each frame's own spread: what is left of that in the file's precision
        assert train.psnr(shown, train.colours(plain.decode(latent))) > 45


@pytest.mark.parametrize("size", [(2, 8, 8), (7, 12, 12), (3, 16, 20), (1, 4, 6)])
def test_the_transformer_that_learns_is_the_engines(state, one_thread, size):
    own = {key: tensor + 0.05 * torch.randn_like(tensor) for key, tensor in dit_start.of(state).items()}
    module, text = load_dit(own, dtype=torch.float32), state["positive_conditioning"]
    noise, condition = torch.randn(2, 3, 16, *size).unbind(0)
    with torch.no_grad():
        wanted = module(noise, condition_for(condition), text, NOISE_TIMESTEP)
        found = PlainDiT(module)(noise, condition_for(condition), text, NOISE_TIMESTEP)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_the_transformer_starts_by_answering_the_condition(state):
    latent, noise = torch.randn(2, 1, 16, 2, 4, 6).unbind(0)
    dit = load_dit(dit_start.of(state))
    velocity = dit(noise, condition_for(latent), state["positive_conditioning"], NOISE_TIMESTEP)
    assert (noise - velocity - latent).abs().max() < 1e-5


@pytest.mark.parametrize("restores, level, name", [(True, 1, "restored"), (False, 2, "rebuilt")])
def test_steps_lower_the_loss_on_their_own_clip(state, video, one_thread, restores, level, name):
    stage = replace(stages.STAGES[-1], rate=2e-5, restores=restores, level=level)
    trainer = train.Trainer(state, stage, HERE)
    clean, harmed = video[:1, :, :5, :32, :32], degrade(video[0, :, :5, :32, :32], Harm(2, noise=0.02))[None]
    losses = [float(trainer.step(WARM_UP + number, clean, harmed)[name]) for number in range(5)]
    assert min(losses[1:]) < losses[0]


def test_a_learner_goes_on_from_what_was_kept():
    def learner() -> Learner:
        start = {"matrix": torch.eye(3, 4), "vector": torch.ones(3)}
        return Learner(start, Course(8, 0.1, 0.1, 0.9))

    def go(learner: Learner, numbers: range) -> None:
        for number in numbers:
            shown = learner.learned["matrix"] @ torch.arange(4.0) + learner.learned["vector"]
            learner.step(number, (shown - number).square().mean())

    whole, first, second = learner(), learner(), learner()
    go(whole, range(8))
    go(first, range(5))
    second.restore(first.kept())
    go(second, range(5, 8))
    for key, tensor in whole.average.items():
        assert torch.equal(second.average[key], tensor)


def test_batches_are_the_same_whoever_draws_them_and_from_whichever_on():
    pictures = np.random.default_rng(0).integers(0, 255, (12, 90, 100, 3), dtype=np.uint8)
    library, stage = (
        clips.Library([pictures], [pictures[:1]]),
        replace(stages.STAGES[-1], steps=3, batches=((5, 2, 32),)),
    )
    drawn = list(batches.batches(library, stage, 0, HERE))
    later = list(batches.batches(library, stage, 1, Place(HERE.device, 1)))
    assert len(drawn) == 3
    for one, other in zip(drawn[1:], later, strict=True):
        assert torch.equal(torch.stack(one), torch.stack(other))
    assert not torch.equal(drawn[0][0], drawn[1][0])


@pytest.mark.parametrize("rows, columns, length", [(8, 30, 1), (30, 8, (30 / 8) ** 0.5), (12, 12, 1)])
def test_a_step_has_the_same_length_in_every_direction(rows, columns, length):
    left, _, right = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
    gradient = left @ torch.linspace(1e-4, 1e-3, min(rows, columns)).diag() @ right
    values = torch.linalg.svdvals(orthogonal([gradient])[0])
    assert (values - length).abs().max() < 0.01 * length


def test_matrices_find_the_least_square_solution():
    given, wanted = torch.randn(40, 6), torch.randn(40, 3)
    best = torch.linalg.lstsq(given, wanted).solution.T
    found = torch.zeros(3, 6, requires_grad=True)
    optimizer = Muon([{"params": [found]}], 0.1)
    for number in range(400):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.98**number
        found.grad = None
        (given @ found.T - wanted).square().mean().backward()
        optimizer.step()
    assert (found - best).abs().max() < 0.02


def test_the_transformer_learns_from_stored_latents(state, one_thread):
    clean = torch.randn(16, 2, 6, 6)
    given = 0.5 * clean + 0.3
    text, stage = state["positive_conditioning"], latents.LatentStage("latents", 60, 3e-3, 1, 1, 5, (48,), 9)
    own = latents.learn(
        stage, dict(dit_start.of(state)), text, [(clean.half(), given.half())], torch.ones(1, 16, 1, 1, 1),
        np.random.default_rng(1), lambda text: None,
    )  # fmt: skip
    noise = torch.randn(1, 16, 2, 6, 6)
    with torch.no_grad():
        answer = noise - load_dit(own)(noise, condition_for(given[None]), text, NOISE_TIMESTEP)
    assert (answer[0] - clean).square().mean() < 0.7 * (given - clean).square().mean()


@pytest.mark.parametrize("harm", [Harm(2), Harm(3, "area", blur=0.5), Harm(4, noise=0.03, crf=28), Harm(2, jpeg=50)])
def test_a_degraded_clip_keeps_shape_and_brightness_and_is_the_same_again(video, harm):
    first, again = degrade(video[0], harm), degrade(video[0], harm)
    assert first.shape == video[0].shape
    assert torch.equal(first, again)
    assert (first.mean((1, 2, 3)) - video[0].mean((1, 2, 3))).abs().max() < 0.05


def test_small_clips_have_even_sides_and_harm_follows_the_generator(video):
    assert shrink(video[0], Harm(3)).shape == (9, 16, 16, 3)
    assert draw_harm(np.random.default_rng(5)) == draw_harm(np.random.default_rng(5))


def test_samples_are_cut_from_the_library_at_the_size_asked_for():
    pictures = np.random.default_rng(0).integers(0, 255, (12, 90, 100, 3), dtype=np.uint8)
    sampler = clips.Sampler(clips.Library([pictures], [pictures[:1]]), np.random.default_rng(1))
    drawn = sampler.draw(3, 25, 32)
    assert drawn.shape == (3, 3, 25, 32, 32)
    assert drawn.abs().max() <= 1
