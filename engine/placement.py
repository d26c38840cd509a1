"""Who makes the network's layers and brings their weights to the device: this room alone, or the program around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from ..models.layers import Operations


class Placement(Protocol):
    """What loading and running a network ask of whoever holds its weights."""

    @property
    def device(self) -> torch.device:
        """The one that computes."""
        ...

    @property
    def home(self) -> torch.device:
        """Where weights are put when they are read."""
        ...

    def operations(self, dtype: torch.dtype, is_quantized: bool) -> Operations | None:
        """Where layers that compute in `dtype` come from; None: models/layers.py."""
        ...

    def adopt(self, module: nn.Module) -> None:
        """Take charge of the weights of a module that was just read."""
        ...

    def bring(self, needed: int) -> None:
        """Have the adopted weights ready to compute, with `needed` bytes of the device free beside them.

        Called on the network's thread before each shot; cheap when everything is in place.
        """
        ...


@dataclass(frozen=True)
class Resident:
    """Weights are read to the device that computes, and stay there."""

    device: torch.device

    @property
    def home(self) -> torch.device:
        """The same device."""
        return self.device

    def operations(self, dtype: torch.dtype, is_quantized: bool) -> Operations | None:
        """Our own layers."""
        return None

    def adopt(self, module: nn.Module) -> None:
        """They are where they belong."""

    def bring(self, needed: int) -> None:
        """They are where they belong."""
