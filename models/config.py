"""What a SeedVR2 transformer looks like, read off its weights, and the tensors such a transformer must have.

Two styles exist. The 3B has an output norm with its own modulation (`vid_out_norm`), rotates text as well as video,
and leaves the text of its last block unmodulated. The 7B has none of this. Everything else is a matter of sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BadCheckpoint

PATCH = 2  # latent rows and columns of one token; one frame each
LATENT_CHANNELS = 16
CONDITION_CHANNELS = 17  # latent and mask
ADA_VECTORS = ("attn_shift", "attn_scale", "attn_gate", "mlp_shift", "mlp_scale", "mlp_gate")
BLOCK_KEY = re.compile(r"blocks\.(\d+)\.")
LARGEST_BLOCKS = 1000  # a block number beyond this is damage, not a model

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class DiTConfig:
    """Sizes and style of one transformer; `separate` blocks have own text weights, the later ones share the video's."""

    width: int
    heads: int
    head_width: int
    layers: int
    separate: int
    gated_mlp: bool  # SwiGLU without biases, else GELU with biases
    hidden: int
    text_width: int
    sinusoid: int  # length of the raw timestep embedding
    time_width: int
    rotary_pairs: int  # rotated pairs of each axis
    dit_v2: bool  # the 3B's style, else the 7B's

    @property
    def inner(self) -> int:
        """Width of queries, keys and values together."""
        return self.heads * self.head_width

    @property
    def token_width(self) -> int:
        """Features of one token on the way in: 33 channels of a 2×2 cell."""
        return (LATENT_CHANNELS + CONDITION_CHANNELS) * PATCH**2

    @property
    def velocity_width(self) -> int:
        """Features of one token on the way out: 16 channels of a 2×2 cell."""
        return LATENT_CHANNELS * PATCH**2

    def branches(self, block: int) -> tuple[str, ...]:
        """Names of the weight sets of a block: the first is the video's, the last the text's."""
        return ("vid", "txt") if block < self.separate else ("all",)

    def late_branches(self, block: int) -> tuple[str, ...]:
        """The same after attention and for its modulation: the last text of the 3B style has no own weights there."""
        ends_text = self.dit_v2 and block == self.layers - 1
        return self.branches(block)[:1] if ends_text else self.branches(block)


def infer_config(shapes: Shapes, name: str) -> DiTConfig:
    """Config of the transformer that has these tensors; raises BadCheckpoint when they are no SeedVR2 transformer."""
    _refuse_other_models(shapes, name)
    blocks = sorted({int(found[1]) for key in shapes if (found := BLOCK_KEY.match(key))})
    if not blocks or blocks[-1] >= LARGEST_BLOCKS:
        raise BadCheckpoint(f"{name} is no SeedVR2 transformer: its blocks are numbered {blocks[:3]} … {blocks[-1:]}.")
    separate = sum(f"blocks.{i}.attn.proj_qkv.vid.weight" in shapes for i in blocks)
    branch = "vid" if separate else "all"
    size = _SizeReader(shapes, name)
    head_width = size(f"blocks.0.attn.norm_q.{branch}.weight", 0)
    qkv_rows = size(f"blocks.0.attn.proj_qkv.{branch}.weight", 0)
    config = DiTConfig(
        width=size("vid_in.proj.bias", 0),
        heads=qkv_rows // (3 * head_width),
        head_width=head_width,
        layers=blocks[-1] + 1,
        separate=separate,
        gated_mlp=any(".proj_in_gate." in key for key in shapes),
        hidden=size(f"blocks.0.mlp.{branch}.proj_in.weight", 0),
        text_width=size("txt_in.weight", 1),
        sinusoid=size("emb_in.proj_in.weight", 1),
        time_width=size("emb_in.proj_in.bias", 0),
        rotary_pairs=size("blocks.0.attn.rope.rope.freqs", 0),
        dit_v2="vid_out_norm.weight" in shapes,
    )
    _check_consistent(config, qkv_rows, name)
    return config


def expected_keys(config: DiTConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the official state dict with its shape (635 for the 3B, 1128 for the 7B)."""
    width, keys = config.width, {}
    keys |= _linear("vid_in.proj", width, config.token_width)
    keys |= _linear("txt_in", width, config.text_width)
    keys |= _linear("emb_in.proj_in", config.time_width, config.sinusoid)
    keys |= _linear("emb_in.proj_hid", config.time_width, config.time_width)
    keys |= _linear("emb_in.proj_out", 6 * width, config.time_width)
    for block in range(config.layers):
        keys[f"blocks.{block}.attn.rope.rope.freqs"] = (config.rotary_pairs,)
        for branch in config.branches(block):
            keys |= _attention_keys(config, f"blocks.{block}.", branch)
        for branch in config.late_branches(block):
            keys |= _late_keys(config, f"blocks.{block}.", branch)
    if config.dit_v2:
        keys |= dict.fromkeys(("vid_out_norm.weight", "vid_out_ada.out_shift", "vid_out_ada.out_scale"), (width,))
    return keys | _linear("vid_out.proj", config.velocity_width, width)


def _attention_keys(config: DiTConfig, block: str, branch: str) -> dict[str, tuple[int, ...]]:
    keys = _linear(f"{block}attn.proj_qkv.{branch}", 3 * config.inner, config.width, bias=False)
    keys |= _linear(f"{block}attn.proj_out.{branch}", config.width, config.inner)
    return keys | {f"{block}attn.{norm}.{branch}.weight": (config.head_width,) for norm in ("norm_q", "norm_k")}


def _late_keys(config: DiTConfig, block: str, branch: str) -> dict[str, tuple[int, ...]]:
    """MLP and modulation."""
    bias, keys = not config.gated_mlp, {}
    for layer in ("proj_in_gate", "proj_in") if config.gated_mlp else ("proj_in",):
        keys |= _linear(f"{block}mlp.{branch}.{layer}", config.hidden, config.width, bias)
    keys |= _linear(f"{block}mlp.{branch}.proj_out", config.width, config.hidden, bias)
    return keys | {f"{block}ada.{branch}.{vector}": (config.width,) for vector in ADA_VECTORS}


def _linear(name: str, rows: int, columns: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


class _SizeReader:
    """Reads one size of one tensor, or says which tensor is missing."""

    def __init__(self, shapes: Shapes, name: str):
        self.shapes, self.name = shapes, name

    def __call__(self, key: str, axis: int) -> int:
        shape = self.shapes.get(key)
        if shape is None:
            raise BadCheckpoint(f"{self.name} is no complete SeedVR2 transformer: {key} is missing.")
        if len(shape) <= axis or not shape[axis]:
            raise BadCheckpoint(f"{self.name}: {key} has shape {list(shape)}, expected {axis + 1} or more axes.")
        return shape[axis]


def _refuse_other_models(shapes: Shapes, name: str) -> None:
    if "vid_in.proj.weight" in shapes and any(BLOCK_KEY.match(key) for key in shapes):
        return
    if any(key.startswith(("decoder.up_blocks.", "encoder.down_blocks.")) for key in shapes):
        raise BadCheckpoint(f"{name} is a video VAE, expected a SeedVR2 transformer. Choose it as the VAE instead.")
    example = ", ".join(sorted(shapes)[:3])
    raise BadCheckpoint(
        f"{name} is no SeedVR2 transformer: expected keys such as vid_in.proj.weight and blocks.0.attn…, "
        f"found {len(shapes)} others such as {example}."
    )


def _check_consistent(config: DiTConfig, qkv_rows: int, name: str) -> None:
    if not config.heads or config.heads * config.head_width * 3 != qkv_rows:
        raise BadCheckpoint(
            f"{name}: attn.proj_qkv has {qkv_rows} rows, expected a multiple of 3 × {config.head_width} (head width). "
            "The file mixes parts of different models."
        )
    rotated = 6 * config.rotary_pairs  # three axes of pairs
    if rotated > config.head_width:
        raise BadCheckpoint(
            f"{name}: {config.rotary_pairs} rotary frequencies per axis rotate {rotated} dimensions, "
            f"expected at most the head width {config.head_width}."
        )
