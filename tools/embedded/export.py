"""Training's tensors as the one file the pack ships."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

DESCRIPTION = {"description": "SeedVR2 Anywhere embedded model", "licence": "Apache-2.0", "format": "pt"}


def export(state: Mapping[str, Tensor], path: Path) -> int:
    """Write transformer, VAE and texts in float16; returns the file's size in bytes."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.detach().half().contiguous() for key, tensor in state.items()}
    save_file(dict(sorted(tensors.items())), path, DESCRIPTION)
    return path.stat().st_size
