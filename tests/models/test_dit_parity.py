"""Our transformer against ComfyUI's own: same process, same weights, float32."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.benchmarks.parity_dit import compare
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.tests.models.dit_toys import config, inputs, native_dit, native_velocity, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 2e-5  # on outputs of order 1
REDUCED = {
    "3b": config("3b"),
    "3b, last text separate": config("3b", layers=2, separate=2),
    "7b": config("7b"),
    "7b, three heads": config("7b", width=384, layers=2),
}
FULL_WIDTH = {
    "3b": config("3b", 2560, layers=2, separate=1, text_width=5120),
    "7b": config("7b", 3072, layers=2, text_width=5120),
}
GRIDS = [(1, 32, 32), (5, 30, 54), (2, 26, 14), (33, 6, 10), (1, 2, 2), (3, 14, 90)]


def assert_same_velocity(ours, theirs, arguments) -> None:
    with torch.inference_mode():
        expected = native_velocity(theirs, *arguments, 1000.0)
        found = ours(*arguments, 1000.0)
    assert expected.std() > 0.3, "the comparison needs outputs of order 1"
    assert (found - expected).abs().max() <= TOLERANCE, f"off by {(found - expected).abs().max():.1e}"


@pytest.mark.comfy
@pytest.mark.parametrize("style", REDUCED)
def test_reduced_transformer_equals_comfyui_on_every_grid(style):
    weights = random_weights(REDUCED[style])
    theirs, ours = native_dit(REDUCED[style], weights), load_dit(weights)
    for grid in GRIDS:
        assert_same_velocity(ours, theirs, inputs(REDUCED[style], grid))


@pytest.mark.comfy
@pytest.mark.parametrize("style", FULL_WIDTH)
def test_full_width_transformer_equals_comfyui(style):
    weights = random_weights(FULL_WIDTH[style])
    theirs, ours = native_dit(FULL_WIDTH[style], weights), load_dit(weights)
    for grid in [(2, 18, 26), (1, 6, 10)]:
        assert_same_velocity(ours, theirs, inputs(FULL_WIDTH[style], grid))


@pytest.mark.comfy
def test_random_transformers_on_random_grids_equal_comfyui():
    assert compare(seed=7, count=8) <= TOLERANCE
