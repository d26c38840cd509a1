"""One transformer block: attention and MLP over video and text, worked through in chunks of whole windows.

A chunk goes through the whole block before the next begins, so scratch memory depends on the chunk, not on the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import kernels
from .attention import TextHeads, WindowAttention
from .config import DiTConfig
from .layers import Operations
from .modulation import Modulation, ada_vectors, add_and_norm, add_gated, fold, modulated_norm, normalize
from .windows import Chunk


@dataclass(frozen=True)
class Layout:
    """Window order of one grid, for even or for odd blocks, ready on the device."""

    chunks: tuple[Chunk, ...]
    windows: int
    video_table: Tensor  # [N, d/2] rotation of each token in window order
    text_table: Tensor | None  # [L, d/2] (3B)


class Mlp(nn.Module):
    """SwiGLU without biases (3B) or GELU with biases (7B)."""

    def __init__(self, config: DiTConfig, operations: Operations, **factory):
        super().__init__()
        bias = not config.gated_mlp
        self.proj_in_gate = (
            operations.Linear(config.width, config.hidden, bias=bias, **factory) if config.gated_mlp else None
        )
        self.proj_in = operations.Linear(config.width, config.hidden, bias=bias, **factory)
        self.proj_out = operations.Linear(config.hidden, config.width, bias=bias, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] → [N, D]."""
        if self.proj_in_gate is None:
            return self.proj_out(nn.functional.gelu(self.proj_in(x), approximate="tanh"))
        if torch.is_grad_enabled():
            return self.proj_out(nn.functional.silu(self.proj_in_gate(x)) * self.proj_in(x))
        return self.proj_out(gated(self.proj_in_gate(x), self.proj_in(x)))


def gated(gate: Tensor, x: Tensor) -> Tensor:
    """silu(gate)·x, in place of `gate`."""
    fused = kernels.kernels_for(gate.device)
    if fused is not None:
        return fused.gated(gate, x)
    return nn.functional.silu(gate, inplace=True).mul_(x)


class Block(nn.Module):
    """Block `index` of the transformer. The text of the last block is only looked at, never carried on."""

    def __init__(self, config: DiTConfig, index: int, freqs: Tensor, operations: Operations, **factory):
        super().__init__()
        branches = config.branches(index)
        self.video_branch, self.text_branch = branches[0], branches[-1]
        self.is_last = index == config.layers - 1
        self.plain_text = self.is_last and config.dit_v2  # the 3B leaves the last text unmodulated
        self.attn = WindowAttention(config, branches, freqs, operations, **factory)
        late = config.late_branches(index)
        self.mlp = nn.ModuleDict({name: Mlp(config, operations, **factory) for name in late})
        self.ada = nn.ModuleDict({name: ada_vectors(config.width, factory["device"]) for name in late})

    def modulations(self, embedding: Tensor, dtype: torch.dtype) -> tuple[Modulation, Modulation | None]:
        """The video's and the text's vectors for a timestep embedding [6, D]; none for a plain text."""
        video = fold(embedding, self.ada[self.video_branch](embedding.device), dtype)
        if self.plain_text or self.text_branch == self.video_branch:
            return video, None if self.plain_text else video
        return video, fold(embedding, self.ada[self.text_branch](embedding.device), dtype)

    def forward(
        self, video: Tensor, text: Tensor, layout: Layout, video_mod: Modulation, text_mod: Modulation | None
    ) -> tuple[Tensor, Tensor]:
        """Video [N, D] in window order and text [L, D] after the block; changed in place unless gradients are on."""
        heads = self._text_heads(text, text_mod, layout)
        answers, done = torch.zeros((), device=video.device), []
        for chunk in layout.chunks:
            piece, answer = self._video_chunk(video[chunk.start : chunk.stop], chunk, heads, layout, video_mod)
            answers = answers + answer
            done.append(piece)
        if torch.is_grad_enabled():
            video = torch.cat(done)
        if self.is_last or text_mod is None:
            return video, text
        mean = (answers / layout.windows).flatten(1).to(text.dtype)
        return video, self._carry_on(text, self.attn.proj_out[self.text_branch](mean), self.text_branch, text_mod)

    def _text_heads(self, text: Tensor, mod: Modulation | None, layout: Layout) -> TextHeads:
        normed = normalize(text) if mod is None else modulated_norm(text, mod.attn_scale, mod.attn_shift)
        return self.attn.text_heads(normed, self.text_branch, layout.text_table, asks=not self.is_last)

    def _video_chunk(
        self, video: Tensor, chunk: Chunk, heads: TextHeads, layout: Layout, mod: Modulation
    ) -> tuple[Tensor, Tensor]:
        normed = modulated_norm(video, mod.attn_scale, mod.attn_shift)
        table = layout.video_table[chunk.start : chunk.stop]
        attended, answer = self.attn(normed, self.video_branch, table, chunk.runs, heads)
        del normed
        update = self.attn.proj_out[self.video_branch](attended)
        del attended
        return self._carry_on(video, update, self.video_branch, mod), answer

    def _carry_on(self, residual: Tensor, update: Tensor, branch: str, mod: Modulation) -> Tensor:
        """Add what attention found, then what the MLP makes of it."""
        residual, normed = add_and_norm(residual, update, mod.attn_gate, mod.mlp_scale, mod.mlp_shift)
        return add_gated(residual, self.mlp[branch](normed), mod.mlp_gate)
