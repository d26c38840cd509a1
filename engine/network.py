"""A transformer, a video VAE and the text they were trained with, ready to run together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from .. import media
from ..models import load_dit, load_vae
from ..models.checkpoint import NamedState, open_state_dict, stored_keys
from ..models.config import infer_config
from ..models.dit import NaDiT
from ..models.dit_loader import default_dtype, is_quantized
from ..models.errors import UnsupportedCheckpoint
from ..models.formats import modernize, plain_shapes, quantized_layers
from ..models.text import POSITIVE_KEYS, TextConditioning, read_text_conditioning, without_conditioning
from ..models.vae import VideoVAE
from ..models.vae_config import infer_vae_config
from ..models.vae_loader import default_vae_dtype
from .placement import Placement, Plain
from .plan import Outline, Plan, precision_of

VAE_PREFIXES = ("encoder.", "decoder.")


@dataclass(frozen=True)
class Network:
    """What a run computes with; `identity` is the same exactly when the weights are."""

    dit: NaDiT
    vae: VideoVAE
    text: TextConditioning
    name: str
    identity: str
    placement: Placement = field(default_factory=lambda: Plain(torch.device("cpu")))

    @property
    def device(self) -> torch.device:
        """The one that computes."""
        return self.placement.device

    @property
    def precision(self) -> str:
        """Number format of the transformer's arithmetic, as plans name it."""
        return precision_of(self.dit.dtype)

    @property
    def outline(self) -> Outline:
        """What plans need to know."""
        return Outline(self.name, self.dit.config, _size(self.dit), self.vae.config, len(self.text.positive))


def load_network(
    dit: Path,
    vae: Path | None = None,
    text: Path | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    placement: Placement | None = None,
    check: Callable[[], None] = lambda: None,
) -> Network:
    """The network in weights files. One file may hold all three parts, as the embedded model's does.

    `dtype` is the one it computes in, `plan.semantic.dtype` (None: chosen by device); without a `placement` its weights
    are read to `device`. `check` is called between tensors and may raise to stop. Raises BadCheckpoint or
    UnsupportedCheckpoint, naming the file and the part that is missing.
    """
    placement = placement or Plain(torch.device(device))
    parts = _Parts(dit, vae, text)
    network = Network(
        _place_dit(parts.transformer, dtype, placement, check),
        _place_vae(parts.vae, dtype, placement, check),
        parts.text,
        dit.stem,
        " ".join(media.identify(path) for path in (dit, vae, text) if path is not None),
        placement,
    )
    placement.adopt(network.dit)
    placement.adopt(network.vae)
    return network


def arrange(network: Network, plan: Plan) -> None:
    """Tell whoever places the network's weights what the plan is."""
    network.placement.arrange(plan.neutral.weights, plan.peaks.needs)


def outline_of(dit: Path, vae: Path | None = None, text: Path | None = None) -> Outline:
    """What plans need to know of weights files, from their headers alone. Raises as `load_network`."""
    parts = _Parts(dit, vae, text)
    state = modernize(parts.transformer)
    config = infer_config(plain_shapes(state, quantized_layers(state, dit.name)), dit.name)
    stored = sum(tensor.nbytes for tensor in parts.transformer.values())
    return Outline(dit.stem, config, stored, infer_vae_config(parts.vae, parts.vae.name), len(parts.text.positive))


def holds_all_parts(path: Path) -> bool:
    """True when a file holds a VAE and the text beside its transformer. Raises BadCheckpoint."""
    keys = stored_keys(path)
    return any(key.startswith(VAE_PREFIXES) for key in keys) and any(key in keys for key in POSITIVE_KEYS)


class _Parts:
    """The three parts of one to three files; tensors are views of mapped files, not read yet."""

    def __init__(self, dit: Path, vae: Path | None, text: Path | None) -> None:
        state, name = open_state_dict(dit)
        own_vae = {key: tensor for key, tensor in state.items() if key.startswith(VAE_PREFIXES)}
        conditioning = read_text_conditioning(text or state)
        if conditioning is None:
            raise UnsupportedCheckpoint(f"{name} holds no text conditioning: name the small file that does, too.")
        if not own_vae and vae is None:
            raise UnsupportedCheckpoint(f"{name} holds no VAE: name its file, too (ema_vae_fp16.safetensors).")
        rest = {key: tensor for key, tensor in without_conditioning(state).items() if key not in own_vae}
        self.text: TextConditioning = conditioning
        self.vae = NamedState(own_vae, name) if vae is None else NamedState(*open_state_dict(vae))
        self.transformer = NamedState(rest, name)


def _size(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _place_dit(state: NamedState, dtype: torch.dtype | None, placement: Placement, check: Callable[[], None]) -> NaDiT:
    dtype = dtype or default_dtype(placement.device)
    operations = placement.operations(dtype, is_quantized(state, state.name))
    return load_dit(state, device=placement.home, dtype=dtype, operations=operations, check=check)


def _place_vae(
    state: NamedState, dtype: torch.dtype | None, placement: Placement, check: Callable[[], None]
) -> VideoVAE:
    # always our own layers: its half gigabyte is never streamed, and they alone keep kernels in the order of the maps
    dtype = dtype or default_vae_dtype(state, placement.device)
    return load_vae(state, device=placement.home, dtype=dtype, check=check)
