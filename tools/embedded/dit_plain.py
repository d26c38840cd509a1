"""The transformer in a form that learns: all samples of one size at once, the same arithmetic as `models.dit`.

Tokens lie first and samples second, [N,B,D], so that the engine's own layers and tables serve as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from seedvr2_anywhere.models.config import LATENT_CHANNELS, PATCH
from seedvr2_anywhere.models.dit import NaDiT
from seedvr2_anywhere.models.modulation import Modulation, add_gated, modulated_norm
from seedvr2_anywhere.models.rotary import rotate, rotation, video_angles
from seedvr2_anywhere.models.windows import Grid, Run, arrange
from torch import Tensor


@dataclass(frozen=True)
class Order:
    """One window order of a grid."""

    enter: Tensor  # grid → windows
    leave: Tensor
    runs: tuple[Run, ...]
    table: Tensor  # [N, d/2] rotation of each token

    @property
    def windows(self) -> int:
        """How many there are."""
        return sum(run.windows for run in self.runs)


class PlainDiT:
    """Velocity by the layers of a transformer of the 7B's style (no norm at the end, text not turned)."""

    def __init__(self, module: NaDiT) -> None:
        assert not module.config.dit_v2
        self.module = module
        self._orders: dict[Grid, tuple[Order, Order]] = {}

    def __call__(self, latent: Tensor, condition: Tensor, text: Tensor, timestep: float) -> Tensor:
        """Velocity [B,16,T,H,W] of latent [B,16,T,H,W] given condition [B,17,T,H,W] and text [L,D]."""
        module, count = self.module, latent.shape[0]
        grid = (latent.shape[2], latent.shape[3] // PATCH, latent.shape[4] // PATCH)
        orders = self._both_orders(grid, latent.device)
        embedding = module.emb_in(timestep, latent.device, latent.dtype)
        video = module.vid_in["proj"](_tokens(torch.cat([latent, condition], 1)))
        words = module.txt_in(text)[:, None].repeat(1, count, 1)
        for index, block in enumerate(module.blocks):
            order, modulations = orders[index % 2], cast("Any", block).modulations(embedding, latent.dtype)
            video, words = _block(block, video[order.enter], words, order, *modulations)
            video = video[order.leave]
        return _picture(module.vid_out["proj"](video), grid)

    def _both_orders(self, grid: Grid, device: torch.device) -> tuple[Order, Order]:
        if grid not in self._orders:
            self._orders[grid] = (self._order(grid, False, device), self._order(grid, True, device))
        return self._orders[grid]

    def _order(self, grid: Grid, shifted: bool, device: torch.device) -> Order:
        windows, config = arrange(grid, shifted), self.module.config
        angles = video_angles(windows.place, windows.extent, self.module.freqs, 0, config.dit_v2)
        table = rotation(angles, config.head_width).to(device)
        return Order(windows.order.to(device), windows.order.argsort().to(device), windows.runs, table)


def _block(
    block: Any, video: Tensor, words: Tensor, order: Order, video_mod: Modulation, text_mod: Modulation
) -> tuple[Tensor, Tensor]:
    attended, answers = _attention(
        block.attn,
        _heads(block.attn, block.video_branch, modulated_norm(video, video_mod.attn_scale, video_mod.attn_shift)),
        _heads(block.attn, block.text_branch, modulated_norm(words, text_mod.attn_scale, text_mod.attn_shift)),
        order,
    )
    return (
        _carried(block, block.video_branch, video, attended, video_mod),
        words if block.is_last else _carried(block, block.text_branch, words, answers, text_mod),
    )


def _carried(block: Any, branch: str, tokens: Tensor, found: Tensor, mod: Modulation) -> Tensor:
    """Tokens with what attention found, then with what the MLP makes of it."""
    tokens = add_gated(tokens, block.attn.proj_out[branch](found), mod.attn_gate)
    return add_gated(tokens, block.mlp[branch](modulated_norm(tokens, mod.mlp_scale, mod.mlp_shift)), mod.mlp_gate)


def _heads(attn: Any, branch: str, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [N,B,h,d] of normed tokens [N,B,D]."""
    queries, keys, values = attn.proj_qkv[branch](tokens).unflatten(-1, (3, attn.heads, attn.head_width)).unbind(2)
    return attn.norm_q[branch](queries), attn.norm_k[branch](keys), values


def _attention(attn: Any, video: tuple[Tensor, ...], text: tuple[Tensor, ...], order: Order) -> tuple[Tensor, Tensor]:
    """Attended video [N,B,I], and the mean over windows of the text's answers [L,B,I]."""
    video = (rotate(video[0], order.table), rotate(video[1], order.table), video[2])
    attended, answers, start = [], torch.zeros_like(text[0]), 0
    for run in order.runs:
        rows = slice(start, start + run.length)
        q, k, v = (_windows(of_video[rows], of_text, run) for of_video, of_text in zip(video, text, strict=True))
        mixed = F.scaled_dot_product_attention(q, k, v).unflatten(0, (run.windows, -1))  # [W,B,h,n+L,d]
        mixed = mixed.permute(0, 3, 1, 2, 4)
        attended.append(mixed[:, : run.tokens].flatten(0, 1))
        answers = answers + mixed[:, run.tokens :].sum(0)
        start += run.length
    return torch.cat(attended).flatten(2), (answers / order.windows).flatten(2)


def _windows(video: Tensor, text: Tensor, run: Run) -> Tensor:
    """[W·n,B,h,d] and [L,B,h,d] → [W·B, h, n+L, d]: each window followed by its sample's whole text."""
    windows = video.unflatten(0, (run.windows, run.tokens))
    joined = torch.cat([windows, text.expand(run.windows, *text.shape)], 1)
    return joined.permute(0, 2, 3, 1, 4).flatten(0, 1)


def _tokens(maps: Tensor) -> Tensor:
    """[B,C,T,H,W] → [N,B,4·C], N t-major, features in the order row, column, channel."""
    cells = maps.unflatten(3, (-1, PATCH)).unflatten(5, (-1, PATCH))
    return cells.permute(2, 3, 5, 0, 4, 6, 1).flatten(0, 2).flatten(2)


def _picture(tokens: Tensor, grid: Grid) -> Tensor:
    """[N,B,64] of a grid (t, y, x) → [B,16,t,2y,2x]."""
    cells = tokens.unflatten(2, (PATCH, PATCH, LATENT_CHANNELS)).unflatten(0, grid)  # t y x b dy dx c
    return cells.permute(3, 6, 0, 1, 4, 2, 5).flatten(5).flatten(3, 4)
