"""Weights in the hands of ComfyUI's memory manager: it loads, streams, offloads and forgets them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import nn

from ..engine.network import Network
from ..models.layers import Operations
from . import comfy_host

SECONDS_TO_FORGET = 1.0  # the manager still looks at a model that it has just unloaded


class Managed:
    """A Placement by ComfyUI: what does not fit beside the work is streamed or waits in main memory."""

    def __init__(self, device: torch.device, unloaded: Callable[[], None] = lambda: None) -> None:
        self.device = device
        self.home = torch.device("cpu")
        self._unloaded = unloaded
        self._patchers: list = []

    def operations(self, dtype: torch.dtype, is_quantized: bool) -> Operations | None:
        """ComfyUI's, which cast, stream and dequantise; but on the processor our own layers are twice as fast."""
        if self.device.type == "cpu" and not is_quantized:
            return None
        return comfy_host.operations_for(self.device, dtype, is_quantized)

    def adopt(self, module: nn.Module) -> None:
        """Have ComfyUI know the module."""
        self._patchers.append(comfy_host.patcher_of(module, self.device, self._unloaded))

    def bring(self, needed: int) -> None:
        """Have the weights loaded, other models leaving as far as `needed` bytes beside them ask for it."""
        comfy_host.load(self._patchers, needed)


class LoadedNetwork:
    """The one network that stays loaded between runs, for as long as ComfyUI's memory manager keeps it."""

    def __init__(self) -> None:
        self._key: object = None
        self._network: Network | None = None

    def get(self, key: object, device: torch.device, load: Callable[[Managed], Network]) -> Network:
        """The network known by `key`, loaded where there is none; another one is forgotten first."""
        if self._network is None or self._key != key:
            self.forget()
            self._network = load(Managed(device, lambda: self._forget_soon(key)))
            self._key = key
        return self._network

    def forget(self) -> None:
        """Let its memory go."""
        self._key = self._network = None

    def _forget_soon(self, key: object) -> None:
        timer = threading.Timer(SECONDS_TO_FORGET, lambda: self.forget() if self._key == key else None)
        timer.daemon = True
        timer.start()
