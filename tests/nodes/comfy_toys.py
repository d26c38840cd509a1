"""ComfyUI's modules in this process, and small weights files with all parts, plain or quantised by ComfyUI."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file
from seedvr2_anywhere.benchmarks.native_seedvr2 import COMFYUI, comfy
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.benchmarks.toy_weights import dit_config, random_dit_weights
from seedvr2_anywhere.engine.network import VAE_PREFIXES
from seedvr2_anywhere.tests.models.quantized_toys import quantize

DIT = dit_config("3b", layers=2, separate=1)
KINDS = ("int8_convrot", "fp8")  # of all that files come in: one whose layers are turned, one that is cast


def pack_module(name: str) -> ModuleType:
    """A module of the pack's nodes, with ComfyUI's own modules on the processor beside it."""
    comfy()
    sys.path.append(str(COMFYUI))
    try:
        return importlib.import_module(f"seedvr2_anywhere.nodes.{name}")
    finally:
        sys.path.remove(str(COMFYUI))


def write_weights(path: Path, kind: str = "", seed: int = 0) -> Path:
    """A file with a small transformer, VAE and text; `kind` names how the transformer's blocks are quantised."""
    state = {key: tensor for key, tensor in make_weights().items() if key.startswith(VAE_PREFIXES)}
    generator = torch.Generator().manual_seed(seed)
    for role in ("positive", "negative"):
        state[f"{role}_conditioning"] = torch.randn(8, DIT.text_width, generator=generator)
    transformer = {key: tensor.half() for key, tensor in random_dit_weights(DIT, seed).items()}
    save_file(state | (quantize(transformer, kind)[0] if kind else transformer), path)
    return path
