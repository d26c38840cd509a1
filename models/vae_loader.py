"""A video VAE from a weights file: checked, its up-samplers composed, its layers from any `operations` namespace."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from . import layers
from .checkpoint import check_finite, check_keys, open_state_dict
from .subpixel import compose
from .vae import VideoVAE
from .vae_config import expected_vae_keys, infer_vae_config


def load_vae(
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    operations=None,
    check: Callable[[], None] = lambda: None,
) -> VideoVAE:
    """The VAE in a weights file or state dict, ready to encode and decode.

    dtype None: float32 on the CPU, elsewhere what the file holds. `operations`: where layers come from (None: torch).
    `check` is called between tensors and may raise to stop.
    Raises BadCheckpoint or UnsupportedCheckpoint before anything large is allocated.
    """
    state, name = open_state_dict(weights)
    config = infer_vae_config(state, name)
    check_keys(state, expected_vae_keys(config), name)
    check_finite(state, name, check)
    device = torch.device(device)
    dtype = dtype or default_vae_dtype(state, device)
    derived = derive_state(state, check)
    if operations is None:
        # the order of the maps in memory: otherwise PyTorch re-orders every kernel at every call
        derived = {key: _channels_last(tensor) for key, tensor in derived.items()}
        with torch.device("meta"):
            vae = VideoVAE(config, layers)
    else:
        vae = VideoVAE(config, operations)  # never on meta: ComfyUI's quantised weights would stay there
    vae.load_state_dict(derived, assign=True)
    vae.dtype = dtype
    return vae.to(device, dtype).requires_grad_(False).eval()


def default_vae_dtype(state: Mapping[str, Tensor], device: torch.device) -> torch.dtype:
    """float32 on the CPU, elsewhere what the file holds."""
    stored = state.get("decoder.conv_in.weight")
    return torch.float32 if device.type == "cpu" or stored is None else stored.dtype


def derive_state(state: Mapping[str, Tensor], check: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
    """The checkpoint's tensors with each decoder up-sampler replaced by its composed form."""
    derived = {key: tensor for key, tensor in state.items() if ".upsamplers." not in key}
    stems = [key.removesuffix(".upscale_conv.weight") for key in state if key.endswith(".upscale_conv.weight")]
    for stem in stems:
        check()
        expand, conv = (
            (state[f"{stem}.{layer}.weight"], state[f"{stem}.{layer}.bias"]) for layer in ("upscale_conv", "conv")
        )
        derived |= {f"{stem}.{key}": tensor for key, tensor in compose(expand, conv).items()}
    return derived


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last_3d) if tensor.dim() == 5 else tensor
