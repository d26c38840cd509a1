"""The small model that ships with the pack, so that everything runs anywhere, offline.

Until its file is there, a stand-in of the same architecture with made-up weights takes its place. It restores nothing:
its decoder answers with weak texture, so that a result is the source's own low frequencies.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..models.config import DiTConfig, expected_keys
from ..models.rotary import frequencies
from ..models.vae_config import VAEConfig, expected_vae_keys

EMBEDDED = Path(__file__).resolve().parent.parent / "models" / "embedded.safetensors"
STAND_IN = "seedvr2_stand_in_1.safetensors"  # the number rises when the weights below change
SEED = 1245
TEXT_LENGTH, TEXT_WIDTH = 8, 64
CONTRAST = 0.1  # of the decoder's answer
DIT = DiTConfig(
    width=128, heads=1, head_width=128, layers=2, separate=1, gated_mlp=True, hidden=512, text_width=TEXT_WIDTH,
    sinusoid=256, time_width=128, rotary_pairs=21, dit_v2=True,
)  # fmt: skip
VAE = VAEConfig(widths=(32, 32, 64, 64), encoder_blocks=1, decoder_blocks=1)


@dataclass(frozen=True)
class Embedded:
    """The file that holds all parts, and whether it is only the stand-in."""

    path: Path
    is_stand_in: bool


def embedded_model(cache: Path) -> Embedded:
    """The pack's own model, or the stand-in, written into `cache` once. Raises OSError when that cannot be written."""
    if EMBEDDED.is_file():
        return Embedded(EMBEDDED, False)
    path = cache / STAND_IN
    if not path.is_file():
        write_stand_in(path)
    return Embedded(path, True)


def write_stand_in(path: Path) -> None:
    """Write the stand-in; the file appears only when it is whole."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(make_stand_in(), part)
    os.replace(part, path)


def make_stand_in() -> dict[str, Tensor]:
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
