"""Small transformers for the tests; what the benchmarks need too comes from there."""

from __future__ import annotations

import math

import torch
from seedvr2_anywhere.benchmarks.native_seedvr2 import comfy, native_dit, native_velocity
from seedvr2_anywhere.benchmarks.toy_weights import REAL_DIT as REAL
from seedvr2_anywhere.benchmarks.toy_weights import dit_config as config
from seedvr2_anywhere.benchmarks.toy_weights import dit_inputs as inputs
from seedvr2_anywhere.benchmarks.toy_weights import random_dit_weights as random_weights
from seedvr2_anywhere.models.config import DiTConfig, expected_keys
from seedvr2_anywhere.models.rotary import frequencies
from torch import Tensor

__all__ = [
    "REAL",
    "comfy",
    "config",
    "cosine",
    "formula_weights",
    "inputs",
    "native_dit",
    "native_velocity",
    "random_weights",
]


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


def cosine(shape: tuple[int, ...], phase: float) -> Tensor:
    """Inputs of the golden vectors: cos(0.11·i + phase), row-major."""
    return torch.cos(0.11 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).float().reshape(shape)
