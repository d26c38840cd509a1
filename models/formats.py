"""What quantised checkpoints add to the plain ones, and how it is understood.

A quantised layer has `<layer>.comfy_quant`, the bytes of a small JSON, beside its weight and scales. Older files say
the same with one `scaled_fp8` marker and `<layer>.scale_weight`; they are brought to the newer form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import BadCheckpoint

MARK = ".comfy_quant"
HEADER_KEY = "_quantization_metadata"
LEGACY_MARKER = "scaled_fp8"
LEGACY_NAMES = {".scale_weight": ".weight_scale", ".scale_input": ".input_scale"}
SIDECARS = ("comfy_quant", "weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale")
# format → (scales it needs, values in one stored column)
FORMATS = {
    "float8_e4m3fn": ((), 1),
    "float8_e5m2": ((), 1),
    "int8_tensorwise": (("weight_scale",), 1),
    "mxfp8": (("weight_scale",), 1),
    "nvfp4": (("weight_scale", "weight_scale_2"), 2),
    "convrot_w4a4": (("weight_scale",), 2),
}
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
DEFAULT_ROTATION_GROUP = 256


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer's format and, where its columns were rotated, the size of the rotated groups (else 0)."""

    format: str
    rotation_group: int


def modernize(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with the legacy float8 marker and names brought to the newer form; nothing is copied."""
    marker = state.get(LEGACY_MARKER)
    if marker is None:
        return dict(state)
    layer = {"format": "float8_e4m3fn"} | ({"full_precision_matrix_mult": True} if marker.numel() == 2 else {})
    modern: dict[str, Tensor] = {}
    for key, tensor in state.items():
        old = next((suffix for suffix in LEGACY_NAMES if key.endswith(suffix)), None)
        if old:
            modern[key.removesuffix(old) + LEGACY_NAMES[old]] = tensor
        elif key != LEGACY_MARKER:
            modern[key] = tensor
        if old == ".scale_weight":
            modern[key.removesuffix(old) + MARK] = encode_mark(layer)
    return modern


def marks_in_header(metadata: Mapping[str, str], name: str) -> dict[str, Tensor]:
    """The marks of files that describe their quantised layers in the header instead of beside them."""
    text = metadata.get(HEADER_KEY)
    if text is None:
        return {}
    try:
        return {f"{layer}{MARK}": encode_mark(mark) for layer, mark in json.loads(text)["layers"].items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{name}: {HEADER_KEY} in its header cannot be read: {error!r}.") from error


def encode_mark(layer: Mapping[str, object]) -> Tensor:
    """A layer's JSON as the uint8 tensor that files hold."""
    return torch.tensor(list(json.dumps(layer).encode()), dtype=torch.uint8)


def quantized_layers(state: Mapping[str, Tensor], name: str) -> dict[str, QuantizedLayer]:
    """Format of each quantised layer; raises BadCheckpoint for an unknown format or a missing scale."""
    layers = {}
    for key in state:
        if key.endswith(MARK):
            layer = key.removesuffix(MARK)
            layers[layer] = _read_mark(state[key], f"{name}: {key}")
            needed = ("weight", *FORMATS[layers[layer].format][0])
            missing = [f"{layer}.{part}" for part in needed if f"{layer}.{part}" not in state]
            if missing:
                raise BadCheckpoint(f"{name}: {key} says {layers[layer].format}, but {', '.join(missing)} is missing.")
    return layers


def plain_shapes(state: Mapping[str, Tensor], layers: Mapping[str, QuantizedLayer]) -> dict[str, tuple[int, ...]]:
    """Key → shape as an unquantised file would have it: scales left out, packed columns counted singly."""
    shapes = {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".")
        if layer in layers and part in SIDECARS:
            continue
        shapes[key] = tuple(tensor.shape)
        if layer in layers and part == "weight" and tensor.ndim == 2:
            shapes[key] = (tensor.shape[0], tensor.shape[1] * FORMATS[layers[layer].format][1])
    return shapes


def with_usable_vectors(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Biases, norms and modulation out of float8 into `dtype` (exact); matrices stay as they are."""
    return {
        key: tensor.to(dtype) if tensor.ndim < 2 and tensor.dtype in FLOAT8 else tensor for key, tensor in state.items()
    }


def _read_mark(mark: Tensor, where: str) -> QuantizedLayer:
    try:
        layer = json.loads(bytes(mark.to(torch.uint8).tolist()))
        options = layer.get("params") or {}
        group = layer.get("convrot_groupsize", options.get("convrot_groupsize", DEFAULT_ROTATION_GROUP))
        rotated = layer.get("convrot", options.get("convrot", False)) or layer.get("format") == "convrot_w4a4"
        read = QuantizedLayer(str(layer.get("format")), int(group) if rotated else 0)
    except (ValueError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{where} is no readable description of a quantised layer: {error}.") from error
    if read.format not in FORMATS:
        raise BadCheckpoint(f"{where} names the format {read.format!r}, expected one of {', '.join(FORMATS)}.")
    return read
