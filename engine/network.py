"""A transformer, a video VAE and the text they were trained with, ready to run together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import media
from ..models import load_dit, load_vae
from ..models.checkpoint import open_state_dict
from ..models.dit import NaDiT
from ..models.errors import UnsupportedCheckpoint
from ..models.text import TextConditioning, read_text_conditioning, without_conditioning
from ..models.vae import VideoVAE

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


def load_network(
    dit: Path,
    vae: Path | None = None,
    text: Path | None = None,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> Network:
    """The network in weights files. One file may hold all three parts, as the embedded model's does.

    Raises BadCheckpoint or UnsupportedCheckpoint, naming the file and the part that is missing.
    """
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
    return Network(
        load_dit(rest, device=device, dtype=dtype),
        load_vae(vae or own_vae, device=device, dtype=dtype),
        conditioning,
        dit.stem,
        identity,
    )
