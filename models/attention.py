"""Attention inside windows: a window's video tokens and all text tokens together, windows of equal size in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from . import kernels
from .config import DiTConfig
from .layers import Operations
from .modulation import inverse_rms
from .rotary import rotate
from .windows import Run


@dataclass(frozen=True)
class TextHeads:
    """Queries, keys and values of the text, [L, h, d] each, ready for every window; no queries where none are read."""

    queries: Tensor | None
    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Part:
    """Queries, keys or values of a chunk's video tokens [N, h, d], and those of the text behind them [L, h, d].

    `weight` and `table`: of the norm and the turn where these are still to come.
    """

    video: Tensor
    text: Tensor | None
    weight: Tensor | None = None
    table: Tensor | None = None


class HeadNorm(nn.Module):
    """A leaf with one weight [d]: RMS norm over each head, in float32."""

    def __init__(self, head_width: int, device: torch.device | str | None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(head_width, device=device), requires_grad=False)

    def forward(self, heads: Tensor) -> Tensor:
        """[..., d] → float32 [..., d], a new tensor."""
        return (heads * inverse_rms(heads)).mul_(self.on(heads.device))

    def on(self, device: torch.device) -> Tensor:
        """The weight in float32 where it is wanted."""
        return self.weight.to(device, torch.float32)


class Frequencies(nn.Module):
    """A leaf for the official key `rope.rope.freqs`. It is carried along; angles come from the closed form."""

    def __init__(self, freqs: Tensor):
        super().__init__()
        self.register_buffer("freqs", freqs)


class WindowAttention(nn.Module):
    """Projections, head norms and rotation of one block."""

    def __init__(self, config: DiTConfig, branches: tuple[str, ...], freqs: Tensor, operations: Operations, **factory):
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        linear = operations.Linear
        self.proj_qkv = nn.ModuleDict(
            {name: linear(config.width, 3 * config.inner, bias=False, **factory) for name in branches}
        )
        self.proj_out = nn.ModuleDict({name: linear(config.inner, config.width, **factory) for name in branches})
        device = factory["device"]
        self.norm_q = nn.ModuleDict({name: HeadNorm(config.head_width, device) for name in branches})
        self.norm_k = nn.ModuleDict({name: HeadNorm(config.head_width, device) for name in branches})
        self.rope = nn.ModuleDict({"rope": Frequencies(freqs)})

    def text_heads(self, text: Tensor, branch: str, table: Tensor | None, asks: bool) -> TextHeads:
        """Heads of the normed text [L, D]; `table` turns them (3B). Without `asks` the text only answers."""
        queries, keys, values = self._heads(text, branch)
        keys = self._turned(self.norm_k[branch](keys), table, text.dtype)
        queries = self._turned(self.norm_q[branch](queries), table, text.dtype) if asks else None
        return TextHeads(queries, keys, values)

    def forward(
        self, video: Tensor, branch: str, table: Tensor, runs: tuple[Run, ...], text: TextHeads
    ) -> tuple[Tensor, Tensor]:
        """Normed video tokens [N, D] of whole windows → attended [N, I], and the text's answers summed, [L, h, d]."""
        parts = self._parts(video, branch, table, text)
        attended, answers, start = [], torch.zeros_like(text.keys, dtype=torch.float32), 0
        for run in runs:
            rows = slice(start, start + run.length)
            mixed = attend(*(windows_of(part, rows, run) for part in parts))
            attended.append(mixed[:, : run.tokens].reshape(run.length, -1))
            if text.queries is not None:
                answers = answers + mixed[:, run.tokens :].sum(0, dtype=torch.float32)
            start += run.length
        return attended[0] if len(attended) == 1 else torch.cat(attended), answers

    def _parts(self, video: Tensor, branch: str, table: Tensor, text: TextHeads) -> tuple[Part, Part, Part]:
        """Queries, keys and values; a fused kernel norms and turns them on their way into the windows."""
        queries, keys, values = self._heads(video, branch)
        query_norm, key_norm = (cast("HeadNorm", norms[branch]) for norms in (self.norm_q, self.norm_k))
        if kernels.kernels_for(video.device) is not None:
            asking = Part(queries, text.queries, query_norm.on(video.device), table)
            answering = Part(keys, text.keys, key_norm.on(video.device), table)
        else:
            asking = Part(self._turned(query_norm(queries), table, video.dtype), text.queries)
            answering = Part(self._turned(key_norm(keys), table, video.dtype), text.keys)
        return asking, answering, Part(values, text.values)

    def _heads(self, tokens: Tensor, branch: str) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.proj_qkv[branch](tokens).view(tokens.shape[0], 3, self.heads, self.head_width)
        queries, keys, values = qkv.unbind(1)
        return queries, keys, values

    def _turned(self, heads: Tensor, table: Tensor | None, dtype: torch.dtype) -> Tensor:
        return (heads if table is None else rotate(heads, table)).to(dtype)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One attention call for windows [W, n (+ L), h, d] of one size, unmasked, scale 1/√d."""
    queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))  # → [W, h, n, d]
    return nn.functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)


def windows_of(part: Part, rows: slice, run: Run) -> Tensor:
    """Rows [W·n, h, d] of a part as windows [W, n + L, h, d], each followed by the whole text."""
    video, text = part.video[rows], part.text
    fused = kernels.kernels_for(video.device)
    if fused is None:
        windows = video.unflatten(0, (run.windows, run.tokens))
        return windows if text is None else torch.cat([windows, text.expand(run.windows, *text.shape)], dim=1)
    out = video.new_empty(run.windows, run.tokens + (0 if text is None else len(text)), *video.shape[1:])
    fused.windows(video, part.weight, None if part.table is None else part.table[rows], text, out)
    return out
