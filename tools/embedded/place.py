"""Where the embedded model learns: a device, and the processes that draw its batches."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """A device; `workers` processes draw ahead, 0 draws in between."""

    device: torch.device
    workers: int

    def bring(self, clips: Tensor) -> Tensor:
        """Drawn clips on the device, float32."""
        return clips.to(self.device, non_blocking=True).float()

    def autocast(self) -> contextlib.AbstractContextManager:
        """Arithmetic in bfloat16 where it does no harm."""
        return torch.autocast(self.device.type, torch.bfloat16)
