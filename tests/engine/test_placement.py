"""Weights that leave and come back change nothing, and no more of them are on the device than the plan says."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.engine.denoise import Denoiser, Part
from seedvr2_anywhere.engine.placement import Plain
from seedvr2_anywhere.engine.windows import Windowing
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.models.text import TextConditioning
from seedvr2_anywhere.tests.models.dit_toys import config, random_weights

CONFIG = config("3b", 128, layers=3, separate=1)
CPU = torch.device("cpu")


def answers(dit, placement: Plain, seen: list[int]) -> torch.Tensor:
    """Two windows' worth, with the VAE's turns before and after; `seen`: weights away at each block."""
    text = TextConditioning(torch.ones(5, CONFIG.text_width), None)
    check = lambda: seen.append(len(placement._away))  # noqa: E731
    denoiser = Denoiser(dit, text, Windowing(3, 1), 7, check=check, use=lambda: placement.use("transformer"))
    source = torch.randn(1, 16, 5, 4, 6, generator=torch.Generator().manual_seed(3))
    placement.use("encoder")
    found = torch.cat(list(denoiser.restore([source], Part(0))), dim=2)
    placement.use("decoder")
    return found


@pytest.fixture(scope="module")
def expected():
    dit = load_dit(random_weights(CONFIG))
    return answers(dit, Plain(CPU), [])


@pytest.mark.parametrize("weights", ["resident", "visiting", "streamed"])
def test_the_answers_stay_wherever_weights_are(expected, weights):
    dit, placement, seen = load_dit(random_weights(CONFIG)), Plain(CPU), []
    placement.adopt(dit)
    placement.arrange(weights, {})
    assert answers(dit, placement, seen).equal(expected)
    everything, blocks = len(list(dit.parameters())), len(list(dit.blocks.parameters()))
    assert len(placement._away) == (0 if weights == "resident" else everything)
    most_away = {"resident": 0, "visiting": 0, "streamed": blocks}[weights]
    assert max(seen) == most_away
    assert min(seen) == (0 if weights != "streamed" else blocks - max(len(list(b.parameters())) for b in dit.blocks))
    placement.arrange("resident", {})
    assert not placement._away


def test_what_left_once_is_not_copied_again(expected):
    dit, placement = load_dit(random_weights(CONFIG)), Plain(CPU)
    placement.adopt(dit)
    placement.arrange("visiting", {})
    answers(dit, placement, [])
    kept = {weight: copy.data_ptr() for weight, copy in placement._copies.items()}
    assert answers(dit, placement, []).equal(expected)
    assert {weight: copy.data_ptr() for weight, copy in placement._copies.items()} == kept
    assert all(weight.data_ptr() == kept[weight] for weight in dit.parameters())
