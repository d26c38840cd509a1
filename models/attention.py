"""Attention inside windows: a window's video tokens and all text tokens together, windows of equal size in one call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


class HeadNorm(nn.Module):
    """A leaf with one weight [d]: RMS norm over each head, in float32."""

    def __init__(self, head_width: int, device: torch.device | str | None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(head_width, device=device), requires_grad=False)

    def forward(self, heads: Tensor) -> Tensor:
        """[..., d] → float32 [..., d], a new tensor."""
        weight = self.weight.to(heads.device, torch.float32)
        return (heads * inverse_rms(heads)).mul_(weight)


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
        queries, keys, values = self._heads(video, branch)
        queries = self._turned(self.norm_q[branch](queries), table, video.dtype)
        keys = self._turned(self.norm_k[branch](keys), table, video.dtype)
        attended, answers, start = [], torch.zeros_like(text.keys, dtype=torch.float32), 0
        for run in runs:
            rows = slice(start, start + run.length)
            mixed = attend_run(queries[rows], keys[rows], values[rows], text, run)
            attended.append(mixed[:, : run.tokens].reshape(run.length, -1))
            if text.queries is not None:
                answers = answers + mixed[:, run.tokens :].sum(0, dtype=torch.float32)
            start += run.length
        return attended[0] if len(attended) == 1 else torch.cat(attended), answers

    def _heads(self, tokens: Tensor, branch: str) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.proj_qkv[branch](tokens).view(tokens.shape[0], 3, self.heads, self.head_width)
        queries, keys, values = qkv.unbind(1)
        return queries, keys, values

    def _turned(self, heads: Tensor, table: Tensor | None, dtype: torch.dtype) -> Tensor:
        return (heads if table is None else rotate(heads, table)).to(dtype)


def attend_run(queries: Tensor, keys: Tensor, values: Tensor, text: TextHeads, run: Run) -> Tensor:
    """One attention call for all windows of a run: [W·n, h, d] → [W, n (+ L), h, d], unmasked, scale 1/√d."""
    mixed = nn.functional.scaled_dot_product_attention(
        _windows(queries, text.queries, run), _windows(keys, text.keys, run), _windows(values, text.values, run)
    )
    return mixed.transpose(1, 2)  # [W, h, n, d] → [W, n, h, d]


def _windows(video: Tensor, text: Tensor | None, run: Run) -> Tensor:
    """[W·n, h, d] and [L, h, d] → [W, h, n + L, d]: each window followed by the whole text."""
    windows = video.unflatten(0, (run.windows, run.tokens))
    if text is not None:
        windows = torch.cat([windows, text.expand(run.windows, *text.shape)], dim=1)
    return windows.transpose(1, 2)
