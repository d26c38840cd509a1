"""Sizes of a SeedVR2 video VAE, read off its weights, and the tensors such a VAE holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from .errors import UnsupportedCheckpoint

SCALE = 0.9152  # latent scaling of the released configuration; the shift is 0
SPATIAL_FACTOR = 8
TEMPORAL_FACTOR = 4
MARKER = "decoder.up_blocks.2.upsamplers.0.upscale_conv.weight"
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class VAEConfig:
    """One video VAE; the defaults are the released one."""

    pixel_channels: int = 3
    latent_channels: int = 16
    widths: tuple[int, ...] = (128, 256, 512, 512)
    encoder_blocks: int = 2  # residual blocks a level
    decoder_blocks: int = 3
    down_frames: tuple[int, ...] = (1, 2, 2)  # temporal factor of each down-sampler
    up_frames: tuple[int, ...] = (2, 2, 1)


def infer_vae_config(shapes: Mapping[str, Tensor], name: str) -> VAEConfig:
    """The sizes that the tensors' own shapes give. Raises UnsupportedCheckpoint when they are no SeedVR2 VAE."""
    if MARKER not in shapes or "encoder.conv_in.weight" not in shapes:
        raise UnsupportedCheckpoint(
            f"{name} is no SeedVR2 video VAE: it holds no {MARKER} or no encoder. Expected ema_vae_fp16.safetensors."
        )
    try:
        return _infer(shapes)
    except (KeyError, IndexError) as error:
        raise UnsupportedCheckpoint(f"{name} looks like a SeedVR2 video VAE, but {error} is missing.") from error


def expected_vae_keys(config: VAEConfig) -> Shapes:
    """Key and shape of every tensor in a checkpoint of this VAE (250 for the released one)."""
    return _encoder_keys(config) | _decoder_keys(config)


def _infer(shapes: Mapping[str, Tensor]) -> VAEConfig:
    levels = _count(shapes, "encoder.down_blocks.{}.resnets.0.conv1.weight")
    downs = [f"encoder.down_blocks.{level}.downsamplers.0.conv.weight" for level in range(levels - 1)]
    ups = [f"decoder.up_blocks.{level}.upsamplers.0" for level in range(levels - 1)]
    return VAEConfig(
        pixel_channels=shapes["encoder.conv_in.weight"].shape[1],
        latent_channels=shapes["decoder.conv_in.weight"].shape[1],
        widths=tuple(shapes[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)),
        encoder_blocks=_count(shapes, "encoder.down_blocks.0.resnets.{}.conv1.weight"),
        decoder_blocks=_count(shapes, "decoder.up_blocks.0.resnets.{}.conv1.weight"),
        down_frames=tuple(2 if shapes[key].shape[2] == 3 else 1 for key in downs),
        up_frames=tuple(
            shapes[f"{key}.upscale_conv.weight"].shape[0] // (4 * shapes[f"{key}.conv.weight"].shape[1]) for key in ups
        ),
    )


def _count(shapes: Mapping[str, Tensor], pattern: str) -> int:
    return next(number for number in count() if pattern.format(number) not in shapes)


def _encoder_keys(config: VAEConfig) -> Shapes:
    keys = _conv("encoder.conv_in", config.pixel_channels, config.widths[0], 3)
    before = config.widths[0]
    for level, width in enumerate(config.widths):
        stem = f"encoder.down_blocks.{level}"
        for block in range(config.encoder_blocks):
            keys |= _residual(f"{stem}.resnets.{block}", before, width)
            before = width
        if level < len(config.down_frames):
            keys |= _conv(f"{stem}.downsamplers.0.conv", width, width, (2 * config.down_frames[level] - 1, 3, 3))
    return keys | _middle("encoder.mid_block", before) | _tail("encoder", before, 2 * config.latent_channels)


def _decoder_keys(config: VAEConfig) -> Shapes:
    before = config.widths[-1]
    keys = _conv("decoder.conv_in", config.latent_channels, before, 3) | _middle("decoder.mid_block", before)
    for level, width in enumerate(reversed(config.widths)):
        stem = f"decoder.up_blocks.{level}"
        for block in range(config.decoder_blocks):
            keys |= _residual(f"{stem}.resnets.{block}", before, width)
            before = width
        if level < len(config.up_frames):
            wide = 4 * config.up_frames[level] * width
            keys |= _conv(f"{stem}.upsamplers.0.upscale_conv", width, wide, 1)
            keys |= _conv(f"{stem}.upsamplers.0.conv", width, width, 3)
    return keys | _tail("decoder", before, config.pixel_channels)


def _residual(stem: str, before: int, width: int) -> Shapes:
    keys = _norm(f"{stem}.norm1", before) | _conv(f"{stem}.conv1", before, width, 3)
    keys |= _norm(f"{stem}.norm2", width) | _conv(f"{stem}.conv2", width, width, 3)
    return keys | (_conv(f"{stem}.conv_shortcut", before, width, 1) if before != width else {})


def _middle(stem: str, width: int) -> Shapes:
    keys = _residual(f"{stem}.resnets.0", width, width) | _residual(f"{stem}.resnets.1", width, width)
    keys |= _norm(f"{stem}.attentions.0.group_norm", width)
    for name in ("to_q", "to_k", "to_v", "to_out.0"):
        keys |= {
            f"{stem}.attentions.0.{name}.weight": (width, width),
            f"{stem}.attentions.0.{name}.bias": (width,),
        }
    return keys


def _tail(stem: str, width: int, channels: int) -> Shapes:
    return _norm(f"{stem}.conv_norm_out", width) | _conv(f"{stem}.conv_out", width, channels, 3)


def _conv(stem: str, before: int, width: int, kernel: int | tuple[int, int, int]) -> Shapes:
    size = (kernel,) * 3 if isinstance(kernel, int) else kernel
    return {f"{stem}.weight": (width, before, *size), f"{stem}.bias": (width,)}


def _norm(stem: str, channels: int) -> Shapes:
    return {f"{stem}.weight": (channels,), f"{stem}.bias": (channels,)}
