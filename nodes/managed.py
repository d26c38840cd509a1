"""Weights in the hands of ComfyUI's memory manager: it loads, streams, offloads and forgets them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import nn

from ..engine.network import Network
from ..engine.placement import Need, Part, Weights
from ..models.dit import NaDiT
from ..models.layers import Operations
from . import comfy_host

SECONDS_TO_FORGET = 1.0  # the manager still looks at a model that it is unloading
MOST_TRIES = 30  # after these it has loaded the model again


class Managed:
    """A Placement by ComfyUI: what does not fit beside the work is streamed or waits in main memory."""

    def __init__(self, device: torch.device, unloaded: Callable[[], None] = lambda: None) -> None:
        self.device = device
        self.home = torch.device("cpu")
        self._unloaded = unloaded
        self._patchers: dict[str, object] = {}
        self._needs: Mapping[Part, Need] = {}
        self._used: Part | None = None
        self.told: Callable[[Part], None] = lambda part: None  # hears which part computes next

    def operations(self, dtype: torch.dtype, is_quantized: bool) -> Operations | None:
        """ComfyUI's, which cast, stream and dequantise; but on the processor our own layers are twice as fast."""
        if self.device.type == "cpu" and not is_quantized:
            return None
        return comfy_host.operations_for(self.device, dtype, is_quantized)

    def adopt(self, module: nn.Module) -> None:
        """Have ComfyUI know the module."""
        part = "transformer" if isinstance(module, NaDiT) else "VAE"
        self._patchers[part] = comfy_host.patcher_of(module, self.device, self._unloaded)

    def arrange(self, weights: Weights, needs: Mapping[Part, Need]) -> None:
        """What works beside the weights; how they are held is ComfyUI's to decide."""
        self._needs, self._used = needs, None

    def use(self, part: Part, begins: bool = False) -> None:
        """Have the part's weights loaded; other models leave as far as memory still to be taken asks for it."""
        if begins or part != self._used:
            patcher = self._patchers["transformer" if part == "transformer" else "VAE"]
            self.told(part)
            need = self._needs.get(part, Need(0))
            comfy_host.load([patcher], need.working + (need.state if begins else 0))  # a state that is there takes none
            self._used = part

    @property
    def is_listed(self) -> bool:
        """True while the manager counts the weights among those it loaded."""
        return comfy_host.has_loaded(list(self._patchers.values()))


class LoadedNetwork:
    """The one network that stays loaded between runs, for as long as ComfyUI's memory manager keeps it."""

    def __init__(self) -> None:
        self._key: object = None
        self._network: Network | None = None
        self._managed: Managed | None = None

    def get(
        self,
        key: object,
        device: torch.device,
        load: Callable[[Managed], Network],
        told: Callable[[Part], None] = lambda part: None,
    ) -> Network:
        """The network known by `key`, loaded where there is none; another one is forgotten first.

        `told` hears which part computes next.
        """
        if self._network is None or self._key != key:
            self.forget()
            managed = Managed(device, lambda: self._forget_soon(key))
            self._network, self._key, self._managed = load(managed), key, managed
        assert self._managed is not None
        self._managed.told = told
        return self._network

    def forget(self) -> None:
        """Let its memory go."""
        self._key = self._network = self._managed = None

    def _forget_soon(self, key: object, tries: int = 0) -> None:
        timer = threading.Timer(SECONDS_TO_FORGET, self._forget_unlisted, (key, tries))
        timer.daemon = True
        timer.start()

    def _forget_unlisted(self, key: object, tries: int) -> None:
        managed = self._managed
        if self._key != key or managed is None:
            return
        if not managed.is_listed:
            self.forget()
        elif tries < MOST_TRIES:
            self._forget_soon(key, tries + 1)
