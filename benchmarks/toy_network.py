"""A whole small network with made-up weights, for tests of everything but the picture: it restores nothing.

Its decoder answers with weak texture, so that a result is the source's own low frequencies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models.config import DiTConfig, expected_keys
from ..models.rotary import frequencies
from ..models.vae_config import VAEConfig, expected_vae_keys

SEED = 1245
TEXT_LENGTH, TEXT_WIDTH = 8, 64
CONTRAST = 0.1  # of the decoder's answer
DIT = DiTConfig(
    width=128, heads=1, head_width=128, layers=2, separate=1, gated_mlp=True, hidden=512, text_width=TEXT_WIDTH,
    sinusoid=256, time_width=128, rotary_pairs=21, dit_v2=True,
)  # fmt: skip
VAE = VAEConfig(widths=(32, 32, 64, 64), encoder_blocks=1, decoder_blocks=1)


def make_weights() -> dict[str, Tensor]:
    """Transformer, VAE and text conditioning in one state dict, float16, the same every time."""
    generator = torch.Generator().manual_seed(SEED)
    state = {key: _dit_values(key, shape, generator) for key, shape in expected_keys(DIT).items()}
    state |= {key: _vae_values(key, shape, generator) for key, shape in expected_vae_keys(VAE).items()}
    state["decoder.conv_out.weight"] *= CONTRAST
    for role in ("positive", "negative"):
        state[f"{role}_conditioning"] = torch.randn(TEXT_LENGTH, TEXT_WIDTH, generator=generator)
    return {key: tensor.half().contiguous() for key, tensor in state.items()}


def _dit_values(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Spread like a trained model's, so that outputs are of order 1."""
    if key.endswith("freqs"):
        return frequencies(DIT.rotary_pairs, DIT.head_width, DIT.dit_v2)
    values = torch.randn(shape, generator=generator)
    if key.endswith("_scale") or "norm" in key:
        return 1 + 0.1 * values
    return values * (0.1 if len(shape) == 1 else shape[1] ** -0.5)


def _vae_values(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5
    return torch.ones(shape) if "norm" in key and key.endswith("weight") else torch.zeros(shape)
