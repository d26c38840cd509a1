"""Where the transformer's training starts: it answers with the condition itself, all blocks silent.

The first features of a token carry noise − condition straight to the velocity, so that one step gives the condition
back; further features carry the condition for the blocks to read. The 7B's style is used: it has no norm at the end,
which would lose the scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from seedvr2_anywhere.models.config import CONDITION_CHANNELS, LATENT_CHANNELS, PATCH, DiTConfig, expected_keys
from seedvr2_anywhere.models.rotary import frequencies
from torch import Tensor

CONFIG = DiTConfig(
    width=160, heads=2, head_width=64, layers=4, separate=1, gated_mlp=False, hidden=512, text_width=64,
    sinusoid=256, time_width=64, rotary_pairs=10, dit_v2=False,
)  # fmt: skip
TEXT_LENGTH = 4
RIDGE = 1e-3
CARRIED = LATENT_CHANNELS * PATCH**2


def starting_weights(seed: int) -> dict[str, Tensor]:
    """All tensors of the transformer, and both texts."""
    generator = torch.Generator().manual_seed(seed)
    state = {key: _usual(key, shape, generator) for key, shape in expected_keys(CONFIG).items()}
    weight, out = state["vid_in.proj.weight"], state["vid_out.proj.weight"].zero_()
    weight[: 2 * CARRIED] = 0
    for cell in range(PATCH**2):
        for channel in range(LATENT_CHANNELS):
            feature = cell * LATENT_CHANNELS + channel
            noise = cell * (LATENT_CHANNELS + CONDITION_CHANNELS) + channel
            weight[feature, noise], weight[feature, noise + LATENT_CHANNELS] = 1, -1
            weight[CARRIED + feature, noise + LATENT_CHANNELS] = 1
            out[feature, feature] = 1
    text = torch.randn(TEXT_LENGTH, CONFIG.text_width, generator=generator)
    return state | {"positive_conditioning": text, "negative_conditioning": text.clone()}


def of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's tensors of a whole model's, without the texts."""
    return {key: state[key] for key in expected_keys(CONFIG)}


def _usual(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("freqs"):
        return frequencies(CONFIG.rotary_pairs, CONFIG.head_width, CONFIG.dit_v2)
    if key.endswith(("_scale", "_gate", "norm_q.vid.weight", "norm_k.vid.weight")) or ".norm_" in key:
        return torch.ones(shape)
    if len(shape) == 1 or "proj_out" in key:
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) / math.sqrt(shape[1])


def fit(state: dict[str, Tensor], degraded: Tensor, clean: Tensor) -> None:
    """Let the straight way answer with the best linear guess of a clean token from its degraded one.

    Latents [N,16,T,h,w] of the same clips, degraded and clean.
    """
    given, wanted = (_tokens(latent).double() for latent in (degraded, clean))
    given = torch.cat([given, torch.ones(len(given), 1, dtype=given.dtype)], 1)
    gram = given.T @ given
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    change = torch.linalg.solve(gram, given.T @ (wanted - given[:, :-1])).float()
    # the velocity is noise − restored, so a change of the restored latent counts negative
    state["vid_out.proj.weight"][:, CARRIED : 2 * CARRIED] = -change[:-1].T
    state["vid_out.proj.bias"] = -change[-1]


def _tokens(latent: Tensor) -> Tensor:
    """[N,16,T,h,w] → [tokens, 64], features in the order row, column, channel."""
    cells = latent.unflatten(3, (-1, PATCH)).unflatten(5, (-1, PATCH))
    return cells.permute(0, 2, 3, 5, 4, 6, 1).flatten(0, 3).flatten(1)
