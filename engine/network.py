"""A transformer, a video VAE and the text they were trained with, ready to run together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .. import media
from ..models import load_dit, load_vae
from ..models.checkpoint import NamedState, open_state_dict, stored_keys
from ..models.dit import NaDiT
from ..models.dit_loader import default_dtype, is_quantized
from ..models.errors import UnsupportedCheckpoint
from ..models.text import POSITIVE_KEYS, TextConditioning, read_text_conditioning, without_conditioning
from ..models.vae import VideoVAE
from ..models.vae_loader import default_vae_dtype
from .placement import Placement, Resident

VAE_PREFIXES = ("encoder.", "decoder.")
Velocity = Callable[..., Tensor]


@dataclass(frozen=True)
class Network:
    """What a run computes with; `identity` is the same exactly when the weights are."""

    dit: NaDiT
    vae: VideoVAE
    text: TextConditioning
    name: str
    identity: str
    placement: Placement = field(default=Resident(torch.device("cpu")))


def load_network(
    dit: Path,
    vae: Path | None = None,
    text: Path | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    placement: Placement | None = None,
) -> Network:
    """The network in weights files. One file may hold all three parts, as the embedded model's does.

    `dtype` is the one it computes in (None: chosen by device); without a `placement` its weights stay on `device`.
    Raises BadCheckpoint or UnsupportedCheckpoint, naming the file and the part that is missing.
    """
    placement = placement or Resident(torch.device(device))
    files = [path for path in (dit, vae, text) if path is not None]
    identity = " ".join(media.identify(path) for path in files)
    state, name = open_state_dict(dit)
    own_vae = {key: tensor for key, tensor in state.items() if key.startswith(VAE_PREFIXES)}
    conditioning = read_text_conditioning(text or state)
    if conditioning is None:
        raise UnsupportedCheckpoint(f"{name} holds no text conditioning: name the small file that does, too.")
    if not own_vae and vae is None:
        raise UnsupportedCheckpoint(f"{name} holds no VAE: name its file, too (ema_vae_fp16.safetensors).")
    rest = {key: tensor for key, tensor in without_conditioning(state).items() if key not in own_vae}
    vae_state = NamedState(own_vae, name) if vae is None else NamedState(*open_state_dict(vae))
    network = Network(
        _place_dit(NamedState(rest, name), dtype, placement),
        _place_vae(vae_state, dtype, placement),
        conditioning,
        dit.stem,
        identity,
        placement,
    )
    placement.adopt(network.dit)
    placement.adopt(network.vae)
    return network


def holds_all_parts(path: Path) -> bool:
    """True when a file holds a VAE and the text beside its transformer. Raises BadCheckpoint."""
    keys = stored_keys(path)
    return any(key.startswith(VAE_PREFIXES) for key in keys) and any(key in keys for key in POSITIVE_KEYS)


def _place_dit(state: NamedState, dtype: torch.dtype | None, placement: Placement) -> NaDiT:
    dtype = dtype or default_dtype(placement.device)
    operations = placement.operations(dtype, is_quantized(state, state.name))
    return load_dit(state, device=placement.home, dtype=dtype, operations=operations)


def _place_vae(state: NamedState, dtype: torch.dtype | None, placement: Placement) -> VideoVAE:
    dtype = dtype or default_vae_dtype(state, placement.device)
    return load_vae(state, device=placement.home, dtype=dtype, operations=placement.operations(dtype, False))
