"""Weights are known again only while nothing was replaced or written."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.models.snapshot import Snapshot
from torch import nn

CHANGES = {
    "written in place": lambda layer: nn.init.zeros_(layer.bias),
    "replaced": lambda layer: setattr(layer, "weight", nn.Parameter(layer.weight.detach().clone())),
    "loaded": lambda layer: layer.load_state_dict(layer.state_dict()),
    "bias dropped": lambda layer: layer.register_parameter("bias", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(change):
    layer = nn.Linear(3, 2)
    snapshot = Snapshot([layer])
    assert snapshot.holds([layer])
    CHANGES[change](layer)
    assert not snapshot.holds([layer])


def test_freed_weights_never_match_new_ones_at_their_place():
    layer = nn.Linear(3, 2)
    snapshot = Snapshot([layer])
    for _ in range(50):
        layer.weight = nn.Parameter(torch.zeros(2, 3))
        assert not snapshot.holds([layer])
