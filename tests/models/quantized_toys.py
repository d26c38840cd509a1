"""Small transformers as ComfyUI quantises them, and their dequantised twins."""

from __future__ import annotations

from seedvr2_anywhere.benchmarks.native_seedvr2 import comfy
from seedvr2_anywhere.models.formats import encode_mark
from torch import Tensor

# marks as files carry them → how ComfyUI's layouts make the tensors
KINDS = {
    "int8_convrot": (
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 256},
        ("TensorWiseINT8Layout", {"per_channel": True, "convrot": True, "convrot_groupsize": 256}),
    ),
    "int8": ({"format": "int8_tensorwise"}, ("TensorWiseINT8Layout", {"per_channel": True})),
    "fp8": ({"format": "float8_e4m3fn"}, ("TensorCoreFP8E4M3Layout", {"scale": "recalculate"})),
    "mxfp8": ({"format": "mxfp8"}, ("TensorCoreMXFP8Layout", {})),
    "nvfp4": ({"format": "nvfp4"}, ("TensorCoreNVFP4Layout", {})),
}


def is_block_matrix(key: str) -> bool:
    """Whether a key is a weight that is quantised."""
    return key.startswith("blocks.") and key.endswith(".weight") and ".norm_" not in key


def quantize(state: dict[str, Tensor], kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state dict as ComfyUI quantises it, and its dequantised twin."""
    mark, (layout, options) = KINDS[kind]
    packed, twin = {}, dict(state)
    for key, tensor in state.items():
        if not is_block_matrix(key):
            packed[key] = tensor
            continue
        quantized = comfy().quant_ops.QuantizedTensor.from_float(tensor, layout, **options)
        packed |= quantized.state_dict(key)
        packed[key.removesuffix("weight") + "comfy_quant"] = encode_mark(mark)
        twin[key] = quantized.dequantize()
    return packed, twin
