"""What a VAE stream will need in memory, found by running it on tensors without contents.

Nothing is modelled: the same code runs on the meta device and every allocation is counted, so the figures follow each
change of the network or of its options. What libraries take for themselves (convolution workspaces, the allocator's
fragments) is not in them.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from .vae import VideoVAE
from .vae_config import SPATIAL_FACTOR, TEMPORAL_FACTOR, VAEConfig
from .vae_stream import DecoderStream, EncoderStream

_OTHERWISE = {"kind": "cuda"}
ELEMENTWISE = {f"aten::{name}" for name in ("add", "addcmul", "clamp", "div", "mul", "pow", "rsqrt", "sub")}
IN_PLACE = {f"aten::{name}_" for name in ("add", "clamp", "copy", "mul", "pow", "silu", "sub", "zero")}
ALIKE = {  # operations whose result has the shape of a quicker one's
    "aten::linalg_vector_norm": lambda x, order, *rest, **more: torch.sum(x, *rest, **more),
    "aten::mean": lambda x, *rest, **more: torch.sum(x, *rest, **more),
    "aten::addmm": lambda bias, left, right: torch.mm(left, right),
}
SLICES = 4  # of which the last two are steady state


@dataclass(frozen=True)
class Footprint:
    """Bytes a running stream needs at its highest point, weights and the slice it is given included."""

    device: int
    host: int  # remembered frames in host memory
    weights: int  # of `device`
    state: int  # remembered frames, wherever they are


def decoder_footprint(config: VAEConfig, height: int, width: int, dtype: torch.dtype, **options) -> Footprint:
    """Of a `DecoderStream` whose frames are height × width pixels; `options` as for the stream, of a GPU."""
    vae = _ghost(config, dtype)
    latent = _empty((1, config.latent_channels, 1, height // SPATIAL_FACTOR, width // SPATIAL_FACTOR), dtype)
    return _watch(vae, vae.decoder, vae.decoder_stream(**_OTHERWISE | options), [latent] * SLICES)


def encoder_footprint(config: VAEConfig, height: int, width: int, dtype: torch.dtype, **options) -> Footprint:
    """Of an `EncoderStream` whose frames are height × width pixels; `options` as for the stream, of a GPU."""
    vae = _ghost(config, dtype)
    frames = [_empty((1, config.pixel_channels, count, height, width), dtype) for count in (1, TEMPORAL_FACTOR)]
    return _watch(vae, vae.encoder, vae.encoder_stream(**_OTHERWISE | options), frames[:1] + frames[1:] * (SLICES - 1))


@functools.cache
def _ghost(config: VAEConfig, dtype: torch.dtype) -> VideoVAE:
    with torch.device("meta"):
        vae = VideoVAE(config, nn)
    vae.dtype = dtype
    return vae.to(dtype)


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _watch(vae: VideoVAE, half: nn.Module, stream: EncoderStream | DecoderStream, clip: list[Tensor]) -> Footprint:
    weights = sum(parameter.nbytes for parameter in half.parameters())
    with LiveBytes() as live:
        for part in clip:
            stream.push(part)
    state = stream.state_bytes()
    host = state if stream.on_host else 0
    largest = max(part.nbytes for part in clip)
    return Footprint(device=live.peak - host + weights + largest, host=host, weights=weights, state=state)


def _shape_of(func, args: tuple, kwargs: dict) -> Tensor | None:
    """What an operation on tensors without contents gives, where PyTorch would say so slowly; None elsewhere.

    It answers these in Python, and loads its compiler and SymPy for the first one: three seconds.
    """
    name = func._schema.name
    if name == "aten::cat" and args[0][0].is_meta:
        return _joined(*args, **kwargs)
    if not args or not isinstance(args[0], Tensor) or not args[0].is_meta:
        return None
    if name in ALIKE:
        return ALIKE[name](*args, **kwargs)
    if name in IN_PLACE:
        return args[0]
    return kwargs.get("out", _combined(args)) if name in ELEMENTWISE else None


def _joined(tensors: list[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape[dim] = sum(each.shape[dim] for each in tensors)
    return torch.empty(shape, dtype=tensors[0].dtype, device="meta")


def _combined(args: tuple) -> Tensor:
    """Tensors and numbers, element by element."""
    tensors = [each for each in args if isinstance(each, Tensor)]
    dtype = functools.reduce(torch.promote_types, [each.dtype for each in tensors])
    shape = torch.broadcast_shapes(*(each.shape for each in tensors))
    alike = next((each for each in tensors if each.shape == shape), None)
    return torch.empty(shape, dtype=dtype, device="meta") if alike is None else torch.empty_like(alike, dtype=dtype)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every storage made while it is active, until its last tensor is gone.

    Storages of `known` tensors were there before: results that are views of them count nothing.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._live = {tensor.untyped_storage()._cdata for tensor in known}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would load its compiler, for seconds, to keep it away from here. Nothing is compiled."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and take note of what it made."""
        result = _shape_of(func, args, kwargs or {})
        if result is None:
            result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._note, result)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        self._live.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._live.discard(key)
        self.now -= size
