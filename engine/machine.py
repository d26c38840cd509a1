"""The device that computes, and what is free on it: what a plan is made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from .plan import GIB, Card, Room


@dataclass(frozen=True)
class Machine:
    """A card, and what is free at the moment whenever asked."""

    card: Card
    room: Callable[[], Room]


def machine_of(device: torch.device | str, limit_gb: float = 0) -> Machine:
    """The machine as the system describes it; `limit_gb` > 0: most GiB of device memory to use."""
    device = torch.device(device)
    return Machine(card_of(device), lambda: limited(Room(_device_free(device), _host_free()), limit_gb))


def card_of(device: torch.device | str) -> Card:
    """Name, size and abilities of a device."""
    device = torch.device(device)
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return Card(found.name, "cuda", found.total_memory, torch.cuda.is_bf16_supported(including_emulation=False))
    name = "the processor" if device.type == "cpu" else device.type
    return Card(name, device.type, psutil.virtual_memory().total, False)


def limited(room: Room, limit_gb: float) -> Room:
    """The same with no more device memory than the user allows; 0 is no limit."""
    return Room(min(room.device, int(limit_gb * GIB)), room.host) if limit_gb else room


def _host_free() -> int:
    return psutil.virtual_memory().available


def _device_free(device: torch.device) -> int:
    """What the driver has left and what PyTorch holds back; other devices than CUDA's share host memory."""
    if device.type == "cpu":
        return 0
    if device.type != "cuda":
        return _host_free()
    free, _total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)
