"""Small video VAEs with weights by formula or at random."""

from __future__ import annotations

import functools
import math

import torch
from seedvr2_anywhere.models import load_vae
from seedvr2_anywhere.models.vae_config import VAEConfig, expected_vae_keys
from torch import Tensor

TOY = VAEConfig(widths=(32, 64, 96, 96))
SMALL = VAEConfig(widths=(32, 32, 64, 64))


def random_weights(config: VAEConfig = TOY, seed: int = 0) -> dict[str, Tensor]:
    """Weights that keep activations of order 1, with biases large enough for their borders to matter."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in expected_vae_keys(config).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            state[key] = noise / math.prod(shape[1:]) ** 0.5
        else:
            state[key] = 1 + 0.1 * noise if "norm" in key and key.endswith("weight") else 0.3 * noise
    return state


def formula_weights(config: VAEConfig) -> dict[str, Tensor]:
    """The golden fill: s = sin(0.37·i + 1.3·j) in float64, scaled by the fan, j the key's place in sorted order."""
    state = {}
    for j, (key, shape) in enumerate(sorted(expected_vae_keys(config).items())):
        wave = torch.sin(0.37 * torch.arange(math.prod(shape), dtype=torch.float64) + 1.3 * j).reshape(shape)
        if len(shape) > 1:
            wave = wave * (1.5 / math.prod(shape[1:])) ** 0.5
        else:
            wave = 1 + 0.1 * wave if "norm" in key and key.endswith("weight") else 0.1 * wave
        state[key] = wave.float()
    return state


def formula_input(shape: tuple[int, ...], phase: float) -> Tensor:
    return torch.cos(0.11 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).float().reshape(shape)


@functools.cache
def toy_vae(config: VAEConfig = TOY):
    return load_vae(random_weights(config))


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def worst(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{list(a.shape)} against {list(b.shape)}"
    return float((a.float() - b.float()).abs().max())
