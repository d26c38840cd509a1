"""The border of this room: weights files opened as views of the mapped file, and their contents checked.

Nothing here copies a tensor: `open_state_dict` gives what the file holds, where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .errors import BadCheckpoint, UnsupportedCheckpoint
from .formats import marks_in_header

COMFY_PREFIX = "model.diffusion_model."  # ComfyUI saves a diffusion model under this name
GGUF_MAGIC = b"GGUF"
ZIP_MAGIC = b"PK\x03\x04"  # torch.save since 1.6
LEGACY_TORCH_MAGIC = b"\x80\x02"  # torch.save before 1.6: cannot be mapped
MAX_HEADER_BYTES = 100_000_000  # limit of the safetensors format
SHOWN = 3  # keys of each kind named in a message
SCAN_BYTES = 1 << 20  # of a float8 tensor looked at together when searching for NaN
# float8 kind → (mask of the magnitude bits, lowest magnitude that is no number), from the OCP 8-bit formats
FLOAT8_BITS = {"float8_e4m3fn": (0x7F, 0x7F), "float8_e5m2": (0x7F, 0x7C), "float8_e8m0fnu": (0xFF, 0xFF)}
FLOAT8_FIRST_BAD = {getattr(torch, kind): bits for kind, bits in FLOAT8_BITS.items() if hasattr(torch, kind)}


class NamedState(dict[str, Tensor]):
    """A state dict that knows what to be called in messages."""

    def __init__(self, state: Mapping[str, Tensor], name: str) -> None:
        super().__init__(state)
        self.name = name


def open_state_dict(weights: str | os.PathLike[str] | Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """State dict and a name for messages; an optional `model.diffusion_model.` prefix is stripped.

    Tensors stay as opened (views of the mapped file). Raises BadCheckpoint or UnsupportedCheckpoint.
    """
    if isinstance(weights, Mapping):
        state, name = dict(weights), getattr(weights, "name", "the given state dict")
    else:
        path = Path(weights)
        state, name = _open_file(path), str(path)
    _require_tensors(state, name)
    return {key.removeprefix(COMFY_PREFIX): tensor for key, tensor in state.items()}, name


def stored_keys(path: Path) -> frozenset[str]:
    """Names of the tensors in a .safetensors file, from its header alone. Raises BadCheckpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return frozenset(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} is cut short or damaged: {error}. Download it again.") from error


def check_keys(
    found: Mapping[str, Tensor | tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], name: str
) -> None:
    """Raise BadCheckpoint unless tensors (or their shapes) are as expected, naming the first keys of each kind."""
    shapes = {key: tuple(value.shape if isinstance(value, Tensor) else value) for key, value in found.items()}
    missing = [f"{key} {list(shape)}" for key, shape in expected.items() if key not in shapes]
    unexpected = [f"{key} {list(shape)}" for key, shape in shapes.items() if key not in expected]
    misshapen = [
        f"{key} is {list(shapes[key])}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in shapes and shapes[key] != tuple(shape)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    problems = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in kinds.items() if keys]
    if problems:
        raise BadCheckpoint(
            f"{name} does not hold the {len(expected)} tensors of this model: {'; '.join(problems)}. "
            "The file is damaged, mixed from several models, or another model; download it again."
        )


def check_finite(state: Mapping[str, Tensor], name: str, check: Callable[[], None] = lambda: None) -> None:
    """Raise BadCheckpoint when a tensor holds NaN or infinity. Reads every element once, a few MB at a time.

    That is what reads a file from the disk, so `check` is called before each tensor, and may raise to stop.
    """
    for key, tensor in state.items():
        check()
        if not is_finite(tensor):
            raise BadCheckpoint(f"{name}: {key} holds NaN or infinite values. The file is damaged; download it again.")


def is_finite(tensor: Tensor) -> bool:
    """True when no element is NaN or infinite (meta and integer tensors never are); a few MB of scratch at most."""
    if tensor.is_meta or not tensor.dtype.is_floating_point or not tensor.numel():
        return True
    if tensor.dtype in FLOAT8_FIRST_BAD:
        return _float8_is_finite(tensor)
    low, high = torch.aminmax(tensor.detach())  # one pass without temporaries; a NaN comes out in both
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _float8_is_finite(tensor: Tensor) -> bool:
    """float8 has no arithmetic of its own, so its bytes are compared, without the sign bit."""
    mask, first_bad = FLOAT8_FIRST_BAD[tensor.dtype]
    pieces = tensor.detach().view(torch.uint8).reshape(-1).split(SCAN_BYTES)
    return all(int((piece & mask).max()) < first_bad for piece in pieces)


def _open_file(path: Path) -> dict[str, Tensor]:
    head = _read_head(path)
    if head.startswith(GGUF_MAGIC):
        raise UnsupportedCheckpoint(
            f"{path} is a GGUF file, which is not supported yet. Use the .safetensors file of the same model instead, "
            f"for example {_nearest_safetensors(path.name)}."
        )
    if head.startswith((ZIP_MAGIC, LEGACY_TORCH_MAGIC)):
        return _open_torch(path, mapped=head.startswith(ZIP_MAGIC))
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES:
        return _open_safetensors(path)
    raise BadCheckpoint(f"{path} is no weights file: expected .safetensors, it begins with {head[:8]!r}.")


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            header = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        size = path.stat().st_size
        raise BadCheckpoint(f"{path} ({size} bytes) is cut short or damaged: {error}. Download it again.") from error
    return state | marks_in_header(header, str(path))


def _open_torch(path: Path, mapped: bool) -> dict[str, Tensor]:
    """A .pth file: tensors alone, nothing in it is ever executed."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many kinds here, each with its own long text
        reason = str(error).splitlines()[0]
        raise BadCheckpoint(f"{path} is damaged or holds more than tensors: {reason}") from error
    if isinstance(content, Tensor):
        return {path.stem: content}
    if not isinstance(content, Mapping):
        raise BadCheckpoint(f"{path} holds a {type(content).__name__}, expected a dict of tensors.")
    return dict(content)


def _require_tensors(state: Mapping[str, object], name: str) -> None:
    strange = [f"{key} is {type(value).__name__}" for key, value in state.items() if not isinstance(value, Tensor)]
    strange += [f"key {key!r} is no text" for key in state if not isinstance(key, str)]
    if strange or not state:
        raise BadCheckpoint(f"{name}: expected named tensors only, found {_first(strange) or 'nothing'}.")


def _nearest_safetensors(name: str) -> str:
    size = "7b_sharp" if "sharp" in name.lower() else "7b" if "7b" in name.lower() else "3b"
    return f"seedvr2_ema_{size}_fp16.safetensors or its fp8 form"


def _first(items: Iterable[str]) -> str:
    items = list(items)
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
