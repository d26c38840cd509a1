"""The small model that ships with the pack, so that everything runs anywhere, offline: `docs/embedded_model.md`."""

from __future__ import annotations

from pathlib import Path

from .weights import MissingWeights

EMBEDDED = Path(__file__).resolve().parent.parent / "models" / "embedded.safetensors"


def embedded_model() -> Path:
    """The one file that holds transformer, VAE and text. Raises MissingWeights where the pack is incomplete."""
    if not EMBEDDED.is_file():
        raise MissingWeights(
            f"The pack's own model is missing: {EMBEDDED}. Install the pack again, or name other weights."
        )
    return EMBEDDED
