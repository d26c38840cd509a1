"""The SeedVR2 network in pure torch: transformer, video VAE, checkpoints and the catalogue of known files."""

from __future__ import annotations

from .dit_loader import load_dit
from .vae_loader import load_vae

__all__ = ["load_dit", "load_vae"]
