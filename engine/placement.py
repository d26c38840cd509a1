"""Who makes the network's layers and brings their weights to the device: this room alone, or the program around it.

The engine says what the plan is and which part computes next; whoever implements `Placement` has that part's weights
where they can be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ..models.dit import NaDiT
from ..models.layers import Operations

Part = Literal["encoder", "transformer", "decoder"]
Weights = Literal["resident", "visiting", "streamed"]


@dataclass(frozen=True)
class Need:
    """Bytes that a part takes on the device beside its weights."""

    working: int  # while it computes
    state: int = 0  # from its first piece of a shot to the last


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
        """Where the transformer's layers, which compute in `dtype`, come from; None: models/layers.py."""
        ...

    def adopt(self, module: nn.Module) -> None:
        """Take charge of the weights of a module that was just read."""
        ...

    def arrange(self, weights: Weights, needs: Mapping[Part, Need]) -> None:
        """The plan, before a run and after each change of it.

        weights: of the transformer: resident; visiting, away while the VAE works; streamed block by block. needs: what
        each part takes beside its weights.
        """
        ...

    def use(self, part: Part, begins: bool = False) -> None:
        """Have the weights of the part that computes next ready, with its working memory free beside them.

        `begins`: it starts on a shot, so that its state is still to be made. Called on the network's thread before each
        piece of work; cheap when the part is the one of the last call.
        """
        ...


class Plain:
    """Weights are read to the device that computes. The transformer's leave it and come back as the plan says.

    Those that left once have a copy in host memory, which is kept; leaving again copies nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = self.home = device
        self._transformer: NaDiT | None = None
        self._away: set[nn.Parameter] = set()
        self._copies: dict[nn.Parameter, Tensor] = {}
        self._weights: Weights = "resident"

    def operations(self, dtype: torch.dtype, is_quantized: bool) -> Operations | None:
        """Our own layers."""
        return None

    def adopt(self, module: nn.Module) -> None:
        """Take note of the transformer; others stay."""
        if isinstance(module, NaDiT):
            self._transformer = module
            for index, block in enumerate(module.blocks):
                block.register_forward_pre_hook(partial(self._enter_block, index))

    def arrange(self, weights: Weights, needs: Mapping[Part, Need]) -> None:
        """See Placement."""
        self._weights = weights
        if weights == "resident" and self._transformer is not None:
            self._enter(self._transformer.parameters())

    def use(self, part: Part, begins: bool = False) -> None:
        """See Placement."""
        if self._weights == "resident" or self._transformer is None:
            return
        everything = set(self._transformer.parameters())
        if part != "transformer":
            self._leave(everything)
        elif self._weights == "visiting":
            self._enter(everything)
        else:
            self._enter(everything - set(self._transformer.blocks.parameters()))

    def _enter_block(self, index: int, *_call: object) -> None:
        if self._weights != "streamed" or self._transformer is None:
            return
        blocks = list(self._transformer.blocks)
        self._leave(blocks[index - 1].parameters())  # of the first: the last one of the call before
        self._enter(blocks[index].parameters())

    def _enter(self, weights: Iterable[nn.Parameter]) -> None:
        for weight in self._away.intersection(weights):
            weight.data = self._copies[weight].to(self.device, non_blocking=True, copy=True)
            self._away.discard(weight)

    def _leave(self, weights: Iterable[nn.Parameter]) -> None:
        for weight in set(weights) - self._away:
            if weight not in self._copies:
                copy = weight.data.cpu()
                self._copies[weight] = copy.pin_memory() if self.device.type == "cuda" else copy
            weight.data = self._copies[weight]
            self._away.add(weight)
