"""Memory that a thread uses again for one frame after the other.

The system clears fresh memory page by page at its first use; for pictures that takes as long as computing in it.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class Scratch(threading.local):
    """Tensors by name, each thread's its own; what is in one stays until the thread asks for that name again."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def of(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """An uninitialised float32 tensor on the processor."""
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape:
            kept = self._kept[name] = torch.empty(shape)
        return kept
