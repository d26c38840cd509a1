"""From a weights file to a transformer that computes, whatever the container."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from . import layers
from .checkpoint import check_finite, check_keys, open_state_dict
from .config import DiTConfig, expected_keys, infer_config
from .dit import NaDiT
from .errors import BadCheckpoint, BadInput, UnsupportedCheckpoint
from .formats import FLOAT8, QuantizedLayer, modernize, plain_shapes, quantized_layers, with_usable_vectors
from .quantized import QuantizedLinear
from .text import without_conditioning

FREQS_KEY = ".rope.rope.freqs"


def load_dit(
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    operations: layers.Operations | None = None,
    check: Callable[[], None] = lambda: None,
) -> NaDiT:
    """The transformer of a weights file or state dict; `dtype` is the one it computes in (None: chosen by device).

    Weights stay as stored and where they lie (views of the mapped file) unless `device` is another one.
    With `operations` (ComfyUI's) give `dtype` too. `check` is called between tensors and may raise to stop.
    Raises BadCheckpoint or UnsupportedCheckpoint.
    """
    state, name = open_state_dict(weights)
    state = modernize(without_conditioning(state))
    quantized = quantized_layers(state, name)
    shapes = plain_shapes(state, quantized)
    config = infer_config(shapes, name)
    check_keys(shapes, expected_keys(config), name)
    check_finite({key: tensor for key, tensor in state.items() if not key.endswith(FREQS_KEY)}, name, check)
    if dtype is not None and (not dtype.is_floating_point or dtype.itemsize < 2):
        raise BadInput(
            f"dtype is {dtype}, expected float32, bfloat16 or float16: weights may be 8-bit, arithmetic not."
        )
    device = torch.device(device)
    if operations is None or operations is nn:
        dtype = dtype or default_dtype(device)
        module = _load_plain(config, with_usable_vectors(state, dtype), quantized, device, dtype, name, check)
    else:
        dtype = dtype or _stored_dtype(state, device)
        module = _load_with(operations, config, with_usable_vectors(state, dtype), dtype, name).to(device)
    return module.requires_grad_(False).eval()


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it, else float32; the activations are too large for float16."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def is_quantized(state: Mapping[str, Tensor], name: str) -> bool:
    """True when layers need operations that read quantised weights; raises BadCheckpoint for damaged marks."""
    return bool(quantized_layers(modernize(state), name))


def _load_plain(
    config: DiTConfig,
    state: dict[str, Tensor],
    quantized: Mapping[str, QuantizedLayer],
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    check: Callable[[], None],
) -> NaDiT:
    module = NaDiT(config, layers, "meta", dtype)
    state = {key: _brought(tensor, device, dtype, check) for key, tensor in _with_freqs(state, module).items()}
    for layer, kind in quantized.items():
        parts = {key.rpartition(".")[2]: state.pop(key) for key in list(state) if key.rpartition(".")[0] == layer}
        parent, _, leaf = layer.rpartition(".")
        module.get_submodule(parent).add_module(leaf, QuantizedLinear(kind, parts, f"{name}: {layer}"))
    module.load_state_dict(state, strict=not quantized, assign=True)
    return module


def _load_with(
    operations: layers.Operations, config: DiTConfig, state: dict[str, Tensor], dtype: torch.dtype, name: str
) -> NaDiT:
    """Never on the meta device: quantised weights would stay there."""
    module = NaDiT(config, operations, "cpu", dtype)
    try:
        module.load_state_dict(_with_freqs(state, module), strict=True, assign=True)
    except RuntimeError as error:
        if ".comfy_quant" not in str(error):
            raise BadCheckpoint(f"{name} does not fit its own layout: {error}") from error
        raise UnsupportedCheckpoint(
            f"{name} is quantised, and the given operations cannot read it. "
            "Give ComfyUI's mixed-precision operations, or none."
        ) from error
    for layer in module.modules():
        _keep_stored_dtype(layer)
    return module


def _keep_stored_dtype(layer: nn.Module) -> None:
    """A file may mix dtypes, so ComfyUI's lazy layers must not all be cast to the one they were built with."""
    for attribute in ("weight_comfy_model_dtype", "bias_comfy_model_dtype"):
        if hasattr(layer, attribute):
            setattr(layer, attribute, None)


def _with_freqs(state: dict[str, Tensor], module: NaDiT) -> dict[str, Tensor]:
    """Stored rotary frequencies are damaged in all 16- and 8-bit files: the closed form takes their place."""
    return {key: module.freqs.clone() if key.endswith(FREQS_KEY) else tensor for key, tensor in state.items()}


def _brought(tensor: Tensor, device: torch.device, dtype: torch.dtype, check: Callable[[], None]) -> Tensor:
    """The tensor on the device; a copy that is made anyway is made in compute dtype, unless that makes it larger."""
    check()
    if tensor.device == device or tensor.ndim < 2 or not tensor.is_floating_point() or tensor.dtype in FLOAT8:
        return tensor.to(device)
    return tensor.to(device, dtype if dtype.itemsize <= tensor.element_size() else None)


def _stored_dtype(state: Mapping[str, Tensor], device: torch.device) -> torch.dtype:
    stored = state["vid_in.proj.bias"].dtype
    return stored if stored in (torch.float32, torch.bfloat16) else default_dtype(device)
