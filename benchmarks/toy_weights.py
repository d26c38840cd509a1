"""Transformers of any size with made-up weights, and inputs for them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.config import DiTConfig, expected_keys
from ..models.rotary import frequencies


def dit_config(style: str, width: int = 256, layers: int = 4, separate: int | None = None, **changes) -> DiTConfig:
    """A config of any size in the style of the 3B or the 7B."""
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


REAL_DIT = {
    "3b": dit_config("3b", 2560, layers=32, separate=10, text_width=5120),
    "7b": dit_config("7b", 3072, layers=36, text_width=5120),
}


def random_dit_weights(
    config: DiTConfig, seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Weights spread like a trained model's, so that outputs are of order 1."""
    source, state = torch.Generator(device).manual_seed(seed), {}
    for key, shape in expected_keys(config).items():
        values = torch.empty(shape, device=device, dtype=dtype).normal_(generator=source)
        if key.endswith("freqs"):
            values = frequencies(config.rotary_pairs, config.head_width, config.dit_v2).to(device)
        elif key.endswith("_scale") or "norm" in key:
            values = 1 + 0.1 * values
        else:
            values *= 0.1 if len(shape) == 1 else shape[1] ** -0.5
        state[key] = values
    return state


def dit_inputs(
    config: DiTConfig, grid: tuple[int, int, int], text_length: int = 58, seed: int = 1, batch: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """latent [B,16,T,H,W], condition [B,17,T,H,W] and text [L, width] for a latent grid (T, H, W)."""
    source = torch.Generator().manual_seed(seed)
    latent = torch.randn(batch, 16, *grid, generator=source)
    condition = torch.randn(batch, 17, *grid, generator=source)
    return latent, condition, torch.randn(text_length, config.text_width, generator=source)
