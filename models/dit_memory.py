"""How much memory a transformer call takes beside its weights, told before it starts.

A call holds the residual of all tokens, once more while they change their order, and the scratch of one chunk.
"""

from __future__ import annotations

import math

import torch

from .config import PATCH, DiTConfig
from .windows import Chunk, Grid, chunks, window_runs

SCRATCH_BYTES = {"cpu": 256 << 20}  # for one chunk of tokens, by device type
DEFAULT_SCRATCH_BYTES = 1 << 30
TABLE_INDICES = 5  # index tables per token: in, out twice, and between the two orders twice


def tokens_per_chunk(
    config: DiTConfig, dtype: torch.dtype, device_type: str, scratch_bytes: int | None, fused: bool = False
) -> int:
    """Tokens whose scratch fits the budget, at least one."""
    budget = scratch_bytes or SCRATCH_BYTES.get(device_type, DEFAULT_SCRATCH_BYTES)
    return max(1, budget // scratch_per_token(config, dtype, fused))


def scratch_per_token(config: DiTConfig, dtype: torch.dtype, fused: bool = False) -> int:
    """Bytes one token needs while its chunk passes a block, the residual not counted; `fused`: with fused kernels."""
    turned = 0 if fused else 2  # q and k; a fused kernel turns them on their way into the windows
    attention = config.width + (7 + turned) * config.inner  # normed, qkv, windows of q, k and v, answer
    mlp = 2 * config.width + 2 * config.hidden
    return dtype.itemsize * max(attention, mlp)


def dit_peak_bytes(
    config: DiTConfig,
    latent_grid: Grid,
    text_length: int,
    dtype: torch.dtype,
    device_type: str,
    scratch_bytes: int | None = None,
    fused: bool = False,
) -> int:
    """Predicted peak of one call on a float32 latent (T, H, W): tables kept between calls included, weights not."""
    grid = (latent_grid[0], latent_grid[1] // PATCH, latent_grid[2] // PATCH)
    tokens, limit = math.prod(grid), tokens_per_chunk(config, dtype, device_type, scratch_bytes, fused)
    residual = tokens * config.width * dtype.itemsize
    pieces = [piece for shifted in (False, True) for piece in chunks(window_runs(grid, shifted), limit)]
    scratch = max(_chunk_bytes(config, piece, text_length, dtype, fused) for piece in pieces)
    tables = tokens * (2 * config.head_width // 2 * torch.complex64.itemsize + TABLE_INDICES * torch.int64.itemsize)
    copies = 0 if dtype == torch.float32 else tokens * config.token_width * dtype.itemsize  # of float32 inputs
    return tables + copies + residual + max(residual, scratch)


def _chunk_bytes(config: DiTConfig, chunk: Chunk, text_length: int, dtype: torch.dtype, fused: bool) -> int:
    """Scratch of one chunk: the largest moment of its attention, run after run, or its MLP."""
    tokens, done, largest = chunk.stop - chunk.start, 0, 0
    standing = tokens * (config.width + (3 if fused else 5) * config.inner)  # normed, qkv, turned q and k
    for run in chunk.runs:
        attending = 4 * config.inner * run.windows * (run.tokens + text_length)  # windows of q, k, v, and the answer
        largest = max(largest, standing + done * config.inner + attending)
        done += run.length
    mlp = tokens * 2 * (config.width + config.hidden)
    return dtype.itemsize * max(largest, mlp)
