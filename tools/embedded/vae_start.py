"""Where the VAE's training starts: all residual branches silent, the straight way through it a linear code.

The encoder packs 2×2 pixels, then twice 2×2×2 cells, each time onto the principal components of the training pictures;
the decoder undoes it. So the first step of training already sees pictures. Norms on the straight way would lose scale
and brightness; constants that dominate their statistics keep both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from seedvr2_anywhere.models.vae_config import SCALE, VAEConfig, expected_vae_keys
from torch import Tensor

CONFIG = VAEConfig(widths=(32, 32, 64, 96), encoder_blocks=1, decoder_blocks=1)
# luma and two chroma differences of lesser weight
COLOUR = torch.tensor([[0.2126, 0.7152, 0.0722], [-0.0573, -0.1927, 0.25], [0.25, -0.2271, -0.0229]])
PACKED = 12  # 2×2 pixels of three colours
CODE = 32  # components of 2×2×2 of these cells
RIDGE = 1e-4
SPARE = 0.5  # spread of the channels the linear code does not need, against a usual start
ANCHOR = 3.0  # constant third channel of each group before the encoder's last norm
# of the four phases of a 2×2 cell before the decoder's last norm, the open one first. The norm takes off their mean and
# divides by their spread, 32; the larger that is, the less the picture's own spread counts. At the open phase nothing
# is added, so that half precision serves
PHASE_LEVELS = (0.0, -8.0, -8.0, -80.0)
PHASE_SHARES = (1.0, -5 / 9, -5 / 9, 1 / 9)  # of the signal: sum 0, and sum with the levels' deviations 0
PHASE_GAIN = 3.2  # of the signal before SiLU, which is straight and shut where it should be from there on
PHASE_MARGIN = 4.0  # from the open phase down to SiLU's zero


def starting_weights(video: Tensor, seed: int) -> dict[str, Tensor]:
    """All tensors of the VAE, float32; the code is fitted to clips [N,3,4m+1,H,W] in −1..1."""
    generator = torch.Generator().manual_seed(seed)
    state = {key: _usual(key, shape, generator) for key, shape in expected_vae_keys(CONFIG).items()}
    first, _ = _components(_pack(packed(video), 2), CODE)
    cells = _pack(code(video, first), 2)  # [N,256,t,h,w]: what one latent stands for
    second, spread = _components(cells, 96)
    scale = 1 / spread.clamp(min=1e-3)
    scale[:16] /= SCALE
    _start_encoder(state, first.view(CODE, 2, 2, 2, PACKED), (scale[:64, None] * second[:64]).view(64, 2, 2, 2, CODE))
    _start_decoder(state, first.view(CODE, 2, 2, 2, PACKED), second.T.reshape(2, 2, 2, CODE, 96))
    latents = torch.einsum("kc,ncthw->nkthw", scale[:16, None] * second[:16], cells)
    _fit_entry(state, latents, torch.einsum("kc,ncthw->nkthw", second, cells))
    return state


def packed(video: Tensor) -> Tensor:
    """Video [N,3,T,H,W] → its 2×2 cells [N,12,1+T,H/2,W/2]; the first frame twice, since frames go in pairs."""
    x = torch.einsum("kc,ncthw->nkthw", COLOUR.to(video), torch.cat([video[:, :, :1], video], 2))
    return _pack(x, 1)


def code(video: Tensor, first: Tensor) -> Tensor:
    """Video [N,3,4m+1,H,W] → principal components [N,32,2m+2,H/4,W/4], the first twice."""
    x = torch.einsum("kc,ncthw->nkthw", first, _pack(packed(video), 2))
    return torch.cat([x[:, :, :1], x], 2)


def of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE's tensors of a whole model's."""
    return {key: tensor for key, tensor in state.items() if key.startswith(("encoder.", "decoder."))}


def code_of(state: Mapping[str, Tensor]) -> Tensor:
    """The rows [32, 96] that `code` takes, from the layer that holds them."""
    weight = state["encoder.down_blocks.1.downsamplers.0.conv.weight"][:, :PACKED, 1:, :2, :2]
    return weight.permute(0, 2, 3, 4, 1).reshape(CODE, -1).clone()


def unpacked(codes: Tensor, first: Tensor) -> Tensor:
    """Components [N,32,m,h,w], the first frame not doubled → luma and chroma differences [N,3,2m−1,4h,4w]."""
    x = torch.einsum("kc,nkthw->ncthw", first, codes)
    x = _unpack(_unpack(x, 2), 1)
    return torch.cat([x[:, :, :1], x[:, :, 2:]], 2)


def entered(video: Tensor, level: int, first: Tensor) -> Tensor:
    """What the encoder's level 1 or 2 is given for a video [N,3,4m+1,H,W], as `with_plain_cells` leaves it."""
    if level == 2:
        return code(video, first)[:, :, 1:]
    cells = packed(video)[:, :, 1:]
    return torch.nn.functional.pad(cells, (0, 0, 0, 0, 0, 0, 0, CONFIG.widths[0] - PACKED))


def left(maps: Tensor, level: int, first: Tensor) -> Tensor:
    """Luma and chroma differences [N,3,T,H,W] of what the decoder's level 1 or 2 answers."""
    return unpacked(maps[:, :CODE], first) if level == 2 else _unpack(maps[:, :PACKED], 1)


def with_plain_cells(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights whose finest encoder level hands on the 2×2 cells and nothing else."""
    stem = "encoder.down_blocks.0.downsamplers.0.conv"
    kept = {f"{stem}.{name}": state[f"{stem}.{name}"].clone() for name in ("weight", "bias")}
    for tensor in kept.values():
        tensor[PACKED:] = 0
    return {**state, **kept}


def _fit_entry(state: dict[str, Tensor], latents: Tensor, wanted: Tensor) -> None:
    """decoder.conv_in as the best linear guess of a cell's components from the latents around it."""
    padded = torch.nn.functional.pad(latents, (1, 1, 1, 1, 0, 0))
    padded = torch.cat([padded[:, :, :1], padded[:, :, :1], padded], 2)
    taps = padded.unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)  # N C t h w, 3 3 3
    rows = taps.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(0, 3).flatten(1).double()
    goals = wanted.permute(0, 2, 3, 4, 1).flatten(0, 3).double()
    gram = rows.T @ rows
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram, rows.T @ goals)
    state["decoder.conv_in.weight"] = solved.T.reshape(96, 16, 3, 3, 3).float().contiguous()


def _usual(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) == 1:
        return torch.ones(shape) if "norm" in key and key.endswith("weight") else torch.zeros(shape)
    if ".conv2." in key or ".to_out." in key:
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))


def _pack(x: Tensor, frames: int) -> Tensor:
    """[N,C,T,H,W] → [N, z·2·2·C, T/z, H/2, W/2], features in the order frame, row, column, channel."""
    n, c, t, h, w = x.shape
    cells = x.view(n, c, t // frames, frames, h // 2, 2, w // 2, 2)
    return cells.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(n, frames * 4 * c, t // frames, h // 2, w // 2)


def _unpack(x: Tensor, frames: int) -> Tensor:
    """Undoes `_pack`."""
    n, wide, t, h, w = x.shape
    cells = x.view(n, frames, 2, 2, -1, t, h, w).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return cells.reshape(n, wide // (4 * frames), t * frames, 2 * h, 2 * w)


def _components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first principal rows [count, C] about zero, and the spread of each."""
    flat = x.transpose(0, 1).flatten(1).double()
    values, vectors = torch.linalg.eigh(flat @ flat.T / flat.shape[1])
    return vectors.flip(1)[:, :count].T.float(), values.flip(0)[:count].clamp(min=0).sqrt().float()


def _start_encoder(state: dict[str, Tensor], first: Tensor, second: Tensor) -> None:
    weight = _spare(state, "encoder.conv_in", 3)
    weight[:3, :, 2, 1, 1] = COLOUR
    weight = _spare(state, "encoder.down_blocks.0.downsamplers.0.conv", PACKED)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for colour in range(3):
            weight[(2 * row + column) * 3 + colour, colour, 0, row, column] = 1
    weight = _spare(state, "encoder.down_blocks.1.downsamplers.0.conv", 32)
    weight[:, :PACKED, 1:, :2, :2] = first.permute(0, 4, 1, 2, 3)
    weight = _spare(state, "encoder.down_blocks.2.resnets.0.conv_shortcut", 32)
    weight[:32, :, 0, 0, 0] = torch.eye(32)
    weight = _spare(state, "encoder.down_blocks.2.downsamplers.0.conv", 64)
    weight[:, :32, 1:, :2, :2] = second.permute(0, 4, 1, 2, 3)
    weight = _spare(state, "encoder.down_blocks.3.resnets.0.conv_shortcut", 96)
    bias = state["encoder.down_blocks.3.resnets.0.conv_shortcut.bias"]
    spread = math.sqrt(2 / 3 + 2 * ANCHOR**2 / 9)
    output = _spare(state, "encoder.conv_out", 32)
    for group in range(32):
        weight[3 * group, group], weight[3 * group + 1, group] = 1, -1
        bias[3 * group + 2] = ANCHOR
        if group < 16:
            output[group, 3 * group, 2, 1, 1], output[group, 3 * group + 1, 2, 1, 1] = 1, -1
    state["encoder.conv_norm_out.weight"].fill_(spread)
    state["encoder.conv_norm_out.bias"].fill_(ANCHOR / 3)


def _start_decoder(state: dict[str, Tensor], first: Tensor, second: Tensor) -> None:
    _start_up(state, 0, 96, second)
    weight = _spare(state, "decoder.up_blocks.2.resnets.0.conv_shortcut", PACKED)
    weight[:PACKED, :PACKED, 0, 0, 0] = torch.eye(PACKED)
    weight = _spare(state, "decoder.up_blocks.1.resnets.0.conv_shortcut", CODE)
    weight[:CODE, :CODE, 0, 0, 0] = torch.eye(CODE)
    _start_up(state, 1, CODE, first.permute(1, 2, 3, 4, 0))
    _start_phases(state)


def _start_up(state: dict[str, Tensor], level: int, inputs: int, undo: Tensor) -> None:
    """An up-sampler that unpacks `inputs` channels: undo [frame, row, column, channel, input]."""
    stem = f"decoder.up_blocks.{level}.upsamplers.0"
    outputs = undo.shape[3]
    state[f"{stem}.upscale_conv.weight"] *= SPARE
    wide = state[f"{stem}.upscale_conv.weight"].view(2, 2, 2, -1, state[f"{stem}.conv.weight"].shape[1])
    wide[:, :, :, :outputs] = 0
    wide[:, :, :, :outputs, :inputs] = undo.permute(1, 2, 0, 3, 4)
    _pass_on(state, f"{stem}.conv")


def _start_phases(state: dict[str, Tensor]) -> None:
    stem = "decoder.up_blocks.2.upsamplers.0"
    state[f"{stem}.upscale_conv.weight"] *= SPARE
    _spare(state, "decoder.conv_out", 3)
    set_phases(state)
    _pass_on(state, f"{stem}.conv")


def set_phases(state: dict[str, Tensor]) -> None:
    """Three signals, each in four channels: a channel carries its signal at one pixel of a 2×2 cell, and is shut at
    the others, so that instance norm and SiLU leave brightness and contrast as they are. In place."""
    stem = "decoder.up_blocks.2.upsamplers.0"
    wide = state[f"{stem}.upscale_conv.weight"].view(4, 32, 32)
    bias = state[f"{stem}.upscale_conv.bias"].view(4, 32)
    output = state["decoder.conv_out.weight"]
    levels = torch.tensor(PHASE_LEVELS)
    back = torch.linalg.inv(COLOUR)
    for signal in range(3):
        for own in range(4):
            channel = 4 * signal + own
            for pixel in range(4):
                turn = (pixel - own) % 4
                wide[pixel, channel] = 0
                wide[pixel, channel, 3 * pixel + signal] = PHASE_SHARES[turn]
                bias[pixel, channel] = PHASE_LEVELS[turn]
            output[:, channel, 2, 1, 1] = back[:, signal] / PHASE_GAIN
    state["decoder.conv_norm_out.weight"][:12] = PHASE_GAIN * float(levels.std(correction=0))
    state["decoder.conv_norm_out.bias"][:12] = PHASE_GAIN * (PHASE_MARGIN + float(levels.mean()))
    state["decoder.conv_out.bias"][:] = -PHASE_MARGIN * back.sum(1)
    for signal, shift in enumerate(_shown_without_signal(state)):
        for own in range(4):
            bias[own, 4 * signal + own] = -shift


def _shown_without_signal(state: dict[str, Tensor]) -> list[float]:
    """Luma and chroma that the phases show where the signals are 0, once the file has rounded the weights."""
    names = ("decoder.conv_norm_out.weight", "decoder.conv_norm_out.bias", "decoder.conv_out.weight")
    scale, offset, output = (state[name].half().double() for name in names)
    levels = torch.tensor(PHASE_LEVELS, dtype=torch.float64)
    normed = (levels - levels.mean()) / levels.std(correction=0)  # [4], of each of the 12 channels
    passed = torch.nn.functional.silu(scale[:12, None] * normed + offset[:12, None])
    # at a pixel, the four channels of a signal are each in another phase, and all have the same weight
    shown = output[:, :12:4, 2, 1, 1] @ passed.unflatten(0, (3, 4))[:, 0].sum(1)
    return (COLOUR.double() @ (shown + state["decoder.conv_out.bias"].half().double())).tolist()


def _spare(state: dict[str, Tensor], stem: str, used: int) -> Tensor:
    """The weight of a layer whose first `used` outputs are about to be set: those at 0, the others damped."""
    weight = state[f"{stem}.weight"]
    weight *= SPARE
    weight[:used] = 0
    return weight


def _pass_on(state: dict[str, Tensor], stem: str) -> None:
    """A convolution that hands on its newest input unchanged."""
    weight = state[f"{stem}.weight"].zero_()
    weight[:, :, 2, 1, 1] = torch.eye(weight.shape[0])
