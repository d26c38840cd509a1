"""Telling whether weights are still those that something was computed from."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from torch import Tensor, nn


class Snapshot:
    """Which weight tensors some modules had, and how often each had been written to; keeps none of them alive."""

    def __init__(self, modules: Iterable[nn.Module]):
        self.seen = [(weakref.ref(weight), _writes(weight)) for weight in _weights(modules)]

    def holds(self, modules: Iterable[nn.Module]) -> bool:
        """True while the modules have the same tensors, unwritten since."""
        weights = _weights(modules)
        return len(weights) == len(self.seen) and all(
            seen() is weight and writes == _writes(weight)
            for weight, (seen, writes) in zip(weights, self.seen, strict=True)
        )


def _weights(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [weight for module in modules for weight in (*module.parameters(), *module.buffers())]


def _writes(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version
