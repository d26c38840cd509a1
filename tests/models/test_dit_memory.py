"""Predicted memory of a transformer call against what is alive at once when it runs."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.models.dit_memory import dit_peak_bytes, scratch_per_token
from seedvr2_anywhere.models.vae_memory import LiveBytes
from seedvr2_anywhere.tests.models.dit_toys import config, inputs, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")


CASES = [
    (style, dtype, grid, chunk)
    for style in ("3b", "7b")
    for dtype in (torch.float32, torch.bfloat16)
    for grid, chunk in (((3, 64, 64), 500), ((2, 60, 108), 1000), ((2, 60, 108), 10**6))
]


@pytest.mark.parametrize(("style", "dtype", "grid", "chunk"), CASES)
def test_predicted_peak_is_within_a_tenth(style, dtype, grid, chunk):
    cfg = config(style, 256, layers=2)
    module = load_dit(random_weights(cfg, dtype=dtype), dtype=dtype)
    module.scratch_bytes = chunk * scratch_per_token(cfg, dtype)
    arguments = inputs(cfg, grid)
    counter = LiveBytes([*module.parameters(), *module.buffers(), *arguments])
    with torch.no_grad(), counter:
        module(*arguments, 1000.0)
    predicted = dit_peak_bytes(cfg, grid, 58, dtype, "cpu", module.scratch_bytes)
    assert predicted / counter.peak == pytest.approx(1, abs=0.1), f"{counter.peak / predicted:.2f} of the prediction"
