"""Small transformers for the tests: configs, weights by formula or by seed, inputs, and ComfyUI's own module beside."""

from __future__ import annotations

import importlib
import math
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from seedvr2_anywhere.models.config import DiTConfig, expected_keys
from seedvr2_anywhere.models.rotary import frequencies
from torch import Tensor

COMFYUI = Path(__file__).resolve().parents[2] / ".env" / "ComfyUI"


def config(style: str, width: int = 256, layers: int = 4, separate: int | None = None, **changes) -> DiTConfig:
    """A reduced config in the style of the 3B or the 7B."""
    is_3b = style == "3b"
    sizes = {
        "width": width,
        "heads": width // 128,
        "head_width": 128,
        "layers": layers,
        "separate": (2 if is_3b else layers) if separate is None else separate,
        "gated_mlp": is_3b,
        "hidden": -(-int(2 * width * 4 / 3) // 256) * 256 if is_3b else 4 * width,
        "text_width": 64,
        "sinusoid": 256,
        "time_width": width,
        "rotary_pairs": 21 if is_3b else 10,
        "dit_v2": is_3b,
    }
    return DiTConfig(**(sizes | changes))


REAL = {
    "3b": config("3b", 2560, layers=32, separate=10, text_width=5120),
    "7b": config("7b", 3072, layers=36, text_width=5120),
}


def formula_weights(cfg: DiTConfig) -> dict[str, Tensor]:
    """Deterministic weights of the golden vectors: sin(0.37·i + 1.3·j), scaled by kind."""
    state, keys = {}, expected_keys(cfg)
    for j, key in enumerate(sorted(keys)):
        shape = keys[key]
        wave = torch.sin(0.37 * torch.arange(math.prod(shape), dtype=torch.float64) + 1.3 * j)
        if key.endswith("freqs"):
            state[key] = frequencies(cfg.rotary_pairs, cfg.head_width, cfg.dit_v2)
            continue
        around_one = key.endswith("_scale") or ("norm" in key and key.endswith("weight"))
        if len(shape) == 1:
            values = 0.1 * wave + around_one
        else:
            values = wave * math.sqrt(1.5 / math.prod(shape[1:]))
        state[key] = values.float().reshape(shape)
    return state


def random_weights(cfg: DiTConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights like a trained model's in spread: outputs come out of order 1."""
    source, state = torch.Generator().manual_seed(seed), {}
    for key, shape in expected_keys(cfg).items():
        values = torch.empty(shape).normal_(generator=source)
        if key.endswith("freqs"):
            values = frequencies(cfg.rotary_pairs, cfg.head_width, cfg.dit_v2)
        elif key.endswith("_scale") or "norm" in key:
            values = 1 + 0.1 * values
        elif len(shape) == 1:
            values *= 0.1
        else:
            values *= shape[1] ** -0.5
        state[key] = values
    return state


def inputs(cfg: DiTConfig, grid: tuple[int, int, int], text_length: int = 58, seed: int = 1, batch: int = 1):
    """latent [B,16,T,H,W], condition [B,17,T,H,W], text [L, width] for a latent grid (T, H, W)."""
    source = torch.Generator().manual_seed(seed)
    latent = torch.randn(batch, 16, *grid, generator=source)
    condition = torch.randn(batch, 17, *grid, generator=source)
    return latent, condition, torch.randn(text_length, cfg.text_width, generator=source)


def cosine(shape: tuple[int, ...], phase: float) -> Tensor:
    """Inputs of the golden vectors: cos(0.11·i + phase), row-major."""
    return torch.cos(0.11 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).float().reshape(shape)


@cache
def comfy() -> SimpleNamespace:
    """ComfyUI's ops and its own SeedVR2 module, imported for the CPU; its folder stays on sys.path only meanwhile."""
    sys.path.append(str(COMFYUI))
    try:
        importlib.import_module("comfy.cli_args").args.cpu = True
        return SimpleNamespace(
            ops=importlib.import_module("comfy.ops"),
            quant_ops=importlib.import_module("comfy.quant_ops"),
            model=importlib.import_module("comfy.ldm.seedvr.model"),
            patcher=importlib.import_module("comfy.model_patcher"),
        )
    finally:
        sys.path.remove(str(COMFYUI))


def native(cfg: DiTConfig, state: dict[str, Tensor], monkeypatch) -> torch.nn.Module:
    """ComfyUI's own transformer with the same weights; it knows the 7B by its width alone, so that is patched."""
    module = comfy().model
    monkeypatch.setattr(module, "SEEDVR2_7B_VID_DIM", -1 if cfg.dit_v2 else cfg.width)
    style = {"mlp_type": "swiglu", "vid_out_norm": True} if cfg.dit_v2 else {"mlp_type": "normal", "rope_dim": 64}
    theirs = module.NaDiT(
        norm_eps=1e-5, num_layers=cfg.layers, vid_dim=cfg.width, txt_in_dim=cfg.text_width, heads=cfg.heads,
        mm_layers=cfg.separate, operations=comfy().ops.disable_weight_init, device="cpu", dtype=torch.float32, **style,
    )  # fmt: skip
    missing, unexpected = theirs.load_state_dict(state, strict=False, assign=True)
    assert not unexpected
    assert set(missing) <= {"positive_conditioning", "negative_conditioning"}
    return theirs.requires_grad_(False).eval()


def native_velocity(theirs, latent: Tensor, condition: Tensor, text: Tensor, timestep: float = 1000.0) -> Tensor:
    """One call of ComfyUI's module, positive branch only."""
    options = {"cond_or_uncond": [0]}
    moment = torch.tensor([timestep])
    return theirs(latent, moment, text[None], condition=condition, transformer_options=options)
