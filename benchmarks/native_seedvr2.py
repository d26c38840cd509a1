"""ComfyUI's own SeedVR2 transformer and VAE as the rivals of the benchmarks and the references of the tests."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..models.config import DiTConfig
from ..models.vae_config import VAEConfig

COMFYUI = Path(__file__).resolve().parent.parent / ".env" / "ComfyUI"


@cache
def comfy() -> SimpleNamespace:
    """ComfyUI's ops and modules; its folder is on sys.path only while they are imported."""
    sys.path.append(str(COMFYUI))
    try:
        importlib.import_module("comfy.cli_args").args.cpu = not torch.cuda.is_available()
        return SimpleNamespace(
            ops=importlib.import_module("comfy.ops"),
            quant_ops=importlib.import_module("comfy.quant_ops"),
            model=importlib.import_module("comfy.ldm.seedvr.model"),
            vae=importlib.import_module("comfy.ldm.seedvr.vae"),
            patcher=importlib.import_module("comfy.model_patcher"),
        )
    finally:
        sys.path.remove(str(COMFYUI))


def native_dit(config: DiTConfig, state: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> nn.Module:
    """Their transformer with these weights. It knows the 7B by its width alone, so the width it looks for is set."""
    module = comfy().model
    style = {"mlp_type": "swiglu", "vid_out_norm": True} if config.dit_v2 else {"mlp_type": "normal", "rope_dim": 64}
    known_width = module.SEEDVR2_7B_VID_DIM
    module.SEEDVR2_7B_VID_DIM = -1 if config.dit_v2 else config.width
    try:
        theirs = module.NaDiT(
            norm_eps=1e-5, num_layers=config.layers, vid_dim=config.width, txt_in_dim=config.text_width,
            heads=config.heads, mm_layers=config.separate, operations=comfy().ops.disable_weight_init,
            device=next(iter(state.values())).device, dtype=dtype, **style,
        )  # fmt: skip
    finally:
        module.SEEDVR2_7B_VID_DIM = known_width
    missing, unexpected = theirs.load_state_dict(state, strict=False, assign=True)
    if unexpected or set(missing) - {"positive_conditioning", "negative_conditioning"}:
        raise ValueError(f"weights do not fit ComfyUI's module: {missing[:3]} missing, {unexpected[:3]} unexpected")
    return theirs.requires_grad_(False).eval()


def native_velocity(theirs: nn.Module, latent: Tensor, condition: Tensor, text: Tensor, timestep: float) -> Tensor:
    """One call of their module, positive branch only."""
    moment = torch.tensor([timestep], device=latent.device, dtype=latent.dtype)
    options = {"cond_or_uncond": [0]}
    return theirs(latent, moment, text[None], condition=condition, transformer_options=options)


def native_vae(config: VAEConfig, state: dict[str, Tensor]) -> Any:
    """Their VAE with these weights, in their dtype and place. It knows one set of widths, so these are set."""
    module = comfy().vae
    known_widths = module.BYTEDANCE_BLOCK_OUT_CHANNELS
    module.BYTEDANCE_BLOCK_OUT_CHANNELS = config.widths
    try:
        theirs = module.VideoAutoencoderKLWrapper()
    finally:
        module.BYTEDANCE_BLOCK_OUT_CHANNELS = known_widths
    some = next(iter(state.values()))
    theirs.to(some.device, some.dtype).load_state_dict(state, strict=True)
    return theirs.requires_grad_(False).eval()
