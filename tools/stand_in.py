"""A small checkpoint with made-up weights, in the official key layout, for trying the pipeline before real weights.

    python tools/stand_in.py FILE

It restores nothing. Its decoder answers with weak texture, so that a result is the source's own low frequencies.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

try:
    from . import pack
except ImportError:  # run as a script
    import pack

pack.load()

from seedvr2_anywhere.benchmarks.toy_weights import dit_config, random_dit_weights  # noqa: E402
from seedvr2_anywhere.models.vae_config import VAEConfig, expected_vae_keys  # noqa: E402

SEED = 1245
TEXT_LENGTH, TEXT_WIDTH = 8, 64
CONTRAST = 0.1  # of the decoder's answer
VAE = VAEConfig(widths=(32, 32, 64, 64), encoder_blocks=1, decoder_blocks=1)


def make_weights() -> dict[str, Tensor]:
    """Transformer, VAE and text conditioning in one state dict, float16, the same every time."""
    generator = torch.Generator().manual_seed(SEED)
    state = random_dit_weights(dit_config("3b", width=128, layers=2, separate=1, text_width=TEXT_WIDTH))
    for key, shape in expected_vae_keys(VAE).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            state[key] = noise / math.prod(shape[1:]) ** 0.5
        else:
            state[key] = torch.ones(shape) if "norm" in key and key.endswith("weight") else torch.zeros(shape)
    state["decoder.conv_out.weight"] *= CONTRAST
    for role in ("positive", "negative"):
        state[f"{role}_conditioning"] = torch.randn(TEXT_LENGTH, TEXT_WIDTH, generator=generator)
    return {key: tensor.half().contiguous() for key, tensor in state.items()}


def save(path: Path) -> None:
    """Write the checkpoint."""
    save_file(make_weights(), path)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
