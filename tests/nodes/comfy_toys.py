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
from seedvr2_anywhere.models.formats import encode_mark
from torch import Tensor

DIT = dit_config("3b", layers=2, separate=1)
# marks as files carry them → how ComfyUI's layouts make the tensors
KINDS = {
    "int8_convrot": (
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 256},
        ("TensorWiseINT8Layout", {"per_channel": True, "convrot": True, "convrot_groupsize": 256}),
    ),
    "fp8": ({"format": "float8_e4m3fn"}, ("TensorCoreFP8E4M3Layout", {"scale": "recalculate"})),
}


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


def quantize(state: dict[str, Tensor], kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state dict as ComfyUI quantises its blocks, and its dequantised twin."""
    mark, (layout, options) = KINDS[kind]
    packed, twin = {}, dict(state)
    for key, tensor in state.items():
        if not (key.startswith("blocks.") and key.endswith(".weight") and ".norm_" not in key):
            packed[key] = tensor
            continue
        quantized = comfy().quant_ops.QuantizedTensor.from_float(tensor, layout, **options)
        packed |= quantized.state_dict(key)
        packed[key.removesuffix("weight") + "comfy_quant"] = encode_mark(mark)
        twin[key] = quantized.dequantize()
    return packed, twin
