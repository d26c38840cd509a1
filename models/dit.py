"""The SeedVR2 transformer: noise, condition and text in, velocity out. One class for 3B, 7B and smaller ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from . import kernels
from .blocks import Block, Layout
from .config import CONDITION_CHANNELS, LATENT_CHANNELS, PATCH, DiTConfig
from .dit_memory import tokens_per_chunk
from .errors import BadInput
from .layers import Operations
from .modulation import Modulation, TimeEmbedding, Vectors, modulated_norm
from .rotary import frequencies, rotation, text_angles, video_angles
from .snapshot import Snapshot
from .windows import Arrangement, Grid, arrange, chunks

KEPT_GRIDS = 2  # grids whose tables stay: a clip has one, its last window another
KEPT_TEXTS = 2  # positive and negative

OnBlock = Callable[[int, int], None]


@dataclass(frozen=True)
class Geometry:
    """Everything that depends on the grid only: the two window orders and the ways between them."""

    layouts: tuple[Layout, Layout]  # even and odd blocks
    enter: Tensor  # grid → even order
    turns: tuple[Tensor, Tensor] | None  # even → odd order, odd → even; None where both are the same
    leave: tuple[Tensor, Tensor]  # even order → grid, odd order → grid


@dataclass(frozen=True)
class Constants:
    """Everything that depends on weights and timestep only."""

    blocks: tuple[tuple[Modulation, Modulation | None], ...]
    head: tuple[Tensor, Tensor] | None  # scale and shift of the output norm (3B)


class NaDiT(nn.Module):
    """Velocity of latents at any size: `module(latent, condition, text, timestep)`.

    Modulation, projected text and window tables are kept between calls. A changed weight tensor is noticed; weights
    that change by other means (patches applied inside `operations`) need `reset_constants()`.
    """

    def __init__(self, config: DiTConfig, operations: Operations, device: torch.device | str, dtype: torch.dtype):
        super().__init__()
        self.config, self.dtype = config, dtype
        self.scratch_bytes: int | None = None  # memory for one chunk of tokens; None: by device. Neutral to the result
        self.on_block: OnBlock | None = None  # called with (index, count) before each block, to look for a cancel
        factory = {"device": device, "dtype": dtype}
        self.freqs = frequencies(config.rotary_pairs, config.head_width, config.dit_v2)
        self.vid_in = nn.ModuleDict({"proj": operations.Linear(config.token_width, config.width, **factory)})
        self.txt_in = operations.Linear(config.text_width, config.width, **factory)
        self.emb_in = TimeEmbedding(config, operations, **factory)
        self.blocks = nn.ModuleList(
            Block(config, index, self.freqs.clone(), operations, **factory) for index in range(config.layers)
        )
        self.vid_out_norm = Vectors(("weight",), config.width, device) if config.dit_v2 else None
        self.vid_out_ada = Vectors(("out_shift", "out_scale"), config.width, device) if config.dit_v2 else None
        self.vid_out = nn.ModuleDict({"proj": operations.Linear(config.width, config.velocity_width, **factory)})
        self.reset_constants()

    def reset_constants(self) -> None:
        """Forget what was computed from weights, timestep and text; call it when weights changed behind the scenes."""
        self._constants: tuple[tuple, Snapshot, Constants] | None = None
        self._texts: list[tuple[tuple, Snapshot, Tensor, Tensor]] = []
        self._geometries: dict[tuple, Geometry] = {}

    def forward(self, latent: Tensor, condition: Tensor, text: Tensor, timestep: float) -> Tensor:
        """Velocity [B,16,T,H,W] of latent [B,16,T,H,W] given condition [B,17,T,H,W], text [L,5120], timestep 0..1000.

        Samples are independent. H and W must be even; raises BadInput before anything is computed.
        """
        timestep = check_call(self.config, latent, condition, text, timestep)
        with torch.set_grad_enabled(self._learns(latent, condition, text)):
            constants = self._prepare(timestep, latent.device)
            tokens = self._project_text(text, latent.device)
            samples = zip(latent.to(self.dtype), condition.to(latent.device, self.dtype), strict=True)
            return torch.stack([self._velocity(*sample, tokens, constants) for sample in samples]).to(latent.dtype)

    def _velocity(self, latent: Tensor, condition: Tensor, text: Tensor, constants: Constants) -> Tensor:
        """One sample: [16,T,H,W] and [17,T,H,W] → [16,T,H,W]."""
        grid = (latent.shape[1], latent.shape[2] // PATCH, latent.shape[3] // PATCH)
        geometry = self._geometry(grid, text.shape[0], latent.device)
        video = self.vid_in["proj"](patchify(latent, condition)[geometry.enter])
        if not torch.is_grad_enabled():
            text = text.clone()  # blocks write into it, and it is kept
        for index, block in enumerate(self._blocks()):
            if self.on_block is not None:
                self.on_block(index, len(self.blocks))
            if index and geometry.turns is not None:
                video = video[geometry.turns[1 - index % 2]]
            video, text = block(video, text, geometry.layouts[index % 2], *constants.blocks[index])
        last = (len(self.blocks) - 1) % 2
        pieces = [
            self._head(video[chunk.start : chunk.stop], constants.head) for chunk in geometry.layouts[last].chunks
        ]
        return unpatchify(torch.cat(pieces)[geometry.leave[last]], grid)

    def _head(self, video: Tensor, modulation: tuple[Tensor, Tensor] | None) -> Tensor:
        """Video tokens [N, D] → velocity features [N, 64]."""
        return self.vid_out["proj"](video if modulation is None else modulated_norm(video, *modulation))

    def _prepare(self, timestep: float, device: torch.device) -> Constants:
        """Modulation of all blocks for a timestep, kept as long as the weights it came from stay the same."""
        if torch.is_grad_enabled():
            return self._compute_constants(timestep, device)
        key, modules = (timestep, device, self.dtype, self._patches()), self._modulators()
        if self._constants is None or self._constants[0] != key or not self._constants[1].holds(modules):
            with torch.inference_mode(False), torch.no_grad():
                self._constants = (key, Snapshot(modules), self._compute_constants(timestep, device))
        return self._constants[2]

    def _compute_constants(self, timestep: float, device: torch.device) -> Constants:
        embedding = self.emb_in(timestep, device, self.dtype)
        blocks = tuple(block.modulations(embedding, self.dtype) for block in self._blocks())
        if self.vid_out_norm is None or self.vid_out_ada is None:
            return Constants(blocks, None)
        # the output head shares the attention slot of the embedding: shift, scale
        shift, scale = (embedding[:2] + self.vid_out_ada(device)).contiguous().unbind(0)
        weight = self.vid_out_norm(device)[0]
        return Constants(blocks, ((weight * scale).to(self.dtype), shift.to(self.dtype)))

    def _project_text(self, text: Tensor, device: torch.device) -> Tensor:
        """Text tokens [L, D]; kept for the last two texts, recognised by their values."""
        if torch.is_grad_enabled():
            return self.txt_in(text.to(device, self.dtype))
        key = (device, self.dtype, text.device, text.dtype, text.shape, self._patches())
        for known, snapshot, given, tokens in self._texts:
            if known == key and snapshot.holds([self.txt_in]) and torch.equal(given, text):
                return tokens
        with torch.inference_mode(False), torch.no_grad():
            given = text.clone()
            tokens = self.txt_in(given.to(device, self.dtype))
        self._texts = [(key, Snapshot([self.txt_in]), given, tokens), *self._texts][:KEPT_TEXTS]
        return tokens

    def _modulators(self) -> list[nn.Module]:
        modules = [self.emb_in, *(block.ada for block in self._blocks()), self.vid_out_norm, self.vid_out_ada]
        return [module for module in modules if module is not None]

    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def _patches(self) -> object:
        """Changes when ComfyUI's patcher of this very module puts other patches on; the weights may not show it."""
        return getattr(self, "current_weight_patches_uuid", None)

    def _geometry(self, grid: Grid, text_length: int, device: torch.device) -> Geometry:
        fused = kernels.kernels_for(device) is not None
        limit = tokens_per_chunk(self.config, self.dtype, device.type, self.scratch_bytes, fused)
        key = (grid, text_length if self.config.dit_v2 else 0, device, limit)  # only the 3B turns by text
        if key not in self._geometries:
            with torch.inference_mode(False), torch.no_grad():
                geometry = self._survey(grid, text_length, limit, device)
            kept = list(self._geometries.items())[1 - KEPT_GRIDS :]
            self._geometries = {**dict(kept), key: geometry}
        return self._geometries[key]

    def _survey(self, grid: Grid, text_length: int, limit: int, device: torch.device) -> Geometry:
        even, odd = arrange(grid, shifted=False), arrange(grid, shifted=True)
        back_even, back_odd = even.order.argsort(), odd.order.argsort()
        turns = None
        if not torch.equal(even.order, odd.order):
            turns = (back_even[odd.order].to(device), back_odd[even.order].to(device))
        layouts = (
            self._layout(even, text_length, limit, device),
            self._layout(odd, text_length, limit, device),
        )
        return Geometry(layouts, even.order.to(device), turns, (back_even.to(device), back_odd.to(device)))

    def _layout(self, windows: Arrangement, text_length: int, limit: int, device: torch.device) -> Layout:
        language, width = self.config.dit_v2, self.config.head_width
        angles = video_angles(windows.place, windows.extent, self.freqs, text_length, language)
        text = rotation(text_angles(text_length, self.freqs), width).to(device) if language else None
        return Layout(tuple(chunks(windows.runs, limit)), windows.windows, rotation(angles, width).to(device), text)

    def _learns(self, *inputs: Tensor) -> bool:
        wanted = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        return wanted and any(tensor.requires_grad for tensor in (*inputs, *self.parameters()))


def check_call(config: DiTConfig, latent: Tensor, condition: Tensor, text: Tensor, timestep: float) -> float:
    """The timestep as a number, or BadInput naming the argument, what it is and what was expected."""
    for name, tensor, channels in (("latent", latent, LATENT_CHANNELS), ("condition", condition, CONDITION_CHANNELS)):
        if tensor.ndim != 5 or tensor.shape[1] != channels:
            raise BadInput(f"{name} has shape {list(tensor.shape)}, expected [B,{channels},T,H,W].")
    batch, _, frames, height, width = latent.shape
    if condition.shape[0] != batch or condition.shape[2:] != latent.shape[2:]:
        raise BadInput(f"condition has shape {list(condition.shape)}, expected that of latent {list(latent.shape)}.")
    if not batch * frames * height * width:
        raise BadInput(f"latent has shape {list(latent.shape)}: at least one sample, frame, row and column is needed.")
    if height % PATCH or width % PATCH:
        raise BadInput(f"latent is {height}×{width}: height and width must be even. Pad the frames to multiples of 16.")
    if text.ndim != 2 or text.shape[1] != config.text_width or not text.shape[0]:
        raise BadInput(f"text has shape {list(text.shape)}, expected [L,{config.text_width}] with L ≥ 1.")
    timestep = float(timestep)
    if not math.isfinite(timestep):
        raise BadInput(f"timestep is {timestep}, expected a number from 0 to 1000.")
    return timestep


def patchify(latent: Tensor, condition: Tensor) -> Tensor:
    """[16,T,H,W] and [17,T,H,W] → tokens [N, 132], N t-major, features in the order row, column, channel."""
    cells = torch.cat([latent, condition]).unflatten(2, (-1, PATCH)).unflatten(4, (-1, PATCH))
    return cells.permute(1, 2, 4, 3, 5, 0).flatten(0, 2).flatten(1)  # c t y dy x dx → (t y x) (dy dx c)


def unpatchify(tokens: Tensor, grid: Grid) -> Tensor:
    """Tokens [N, 64] of a grid (t, y, x) → [16, t, 2y, 2x]."""
    cells = tokens.view(*grid, PATCH, PATCH, LATENT_CHANNELS)
    return cells.permute(5, 0, 1, 3, 2, 4).flatten(4).flatten(2, 3)  # t y x dy dx c → c t (y dy) (x dx)
