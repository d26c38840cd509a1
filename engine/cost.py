"""How much arithmetic a clip takes, and from that and a measured rate, how long.

Counts are exact for the layers that matter (2 FLOP a multiply-add; norms, activations and text are under 1 %). What a
machine makes of them is measured: on the first windows of the run, or by a short probe.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..models.config import PATCH, DiTConfig
from ..models.vae import VideoVAE
from ..models.vae_config import SPATIAL_FACTOR, TEMPORAL_FACTOR, VAEConfig
from ..models.vae_stream import DecoderStream, EncoderStream
from ..models.windows import window_runs
from .windows import Windowing, plan_windows

COUNTED_SIDE = 256  # pixels of the square frame whose arithmetic is counted; borders matter less the larger it is
EARLY, LATE = 0.8, 1.5  # an estimate is this range around what the rate gives: reading, writing and warm-up vary


@dataclass(frozen=True)
class FrameCost:
    """FLOP of one output frame in the middle of a long shot."""

    encode: float
    denoise: float
    decode: float

    @property
    def total(self) -> float:
        """Of all three."""
        return self.encode + self.denoise + self.decode


def frame_cost(
    dit: DiTConfig, vae: VAEConfig, size: tuple[int, int], windowing: Windowing, text_length: int, guided: bool = False
) -> FrameCost:
    """Arithmetic per frame of padded `size` (h, w); guidance runs the transformer twice."""
    height, width = size
    grid = (max(1, windowing.length), height // SPATIAL_FACTOR, width // SPATIAL_FACTOR)
    new_frames = 1 if windowing.is_pictures else TEMPORAL_FACTOR * (windowing.length - windowing.shared)
    denoise = dit_flops(dit, grid, text_length) * (2 if guided else 1) / new_frames
    encode, decode = (per_pixel * height * width for per_pixel in vae_flops_per_pixel(vae))
    attention = _middle_attention(vae, height * width) / TEMPORAL_FACTOR
    return FrameCost(encode + attention, denoise, decode + attention)


def clip_flops(
    dit: DiTConfig,
    vae: VAEConfig,
    size: tuple[int, int],
    windowing: Windowing,
    frames: int,
    text_length: int,
    guided: bool = False,
) -> float:
    """Arithmetic of a whole clip of padded `size` (h, w), taken as one shot: cuts add a few per cent."""
    grid = (size[0] // SPATIAL_FACTOR, size[1] // SPATIAL_FACTOR)
    latents = 1 + math.ceil((frames - 1) / TEMPORAL_FACTOR)
    lengths = [1] * frames if windowing.is_pictures else [each.length for each in plan_windows(latents, windowing)]
    calls = sum(count * dit_flops(dit, (length, *grid), text_length) for length, count in Counter(lengths).items())
    middle = frame_cost(dit, vae, size, windowing, text_length)
    return calls * (2 if guided else 1) + frames * (middle.encode + middle.decode)


def dit_flops(config: DiTConfig, grid: tuple[int, int, int], text_length: int) -> float:
    """Arithmetic of one transformer call on a latent grid (T, H, W): linear layers and window attention of video."""
    cells = (grid[0], grid[1] // PATCH, grid[2] // PATCH)
    matrices = 4 * config.width * config.inner + (3 if config.gated_mlp else 2) * config.width * config.hidden
    linear = 2 * math.prod(cells) * matrices * config.layers
    pairs = [
        sum(run.windows * (run.tokens + text_length) ** 2 for run in window_runs(cells, shifted))
        for shifted in (False, True)
    ]
    odd = config.layers // 2
    return linear + 4 * config.inner * (pairs[0] * (config.layers - odd) + pairs[1] * odd)


@functools.cache
def vae_flops_per_pixel(config: VAEConfig) -> tuple[float, float]:
    """(encode, decode) per pixel and frame of a long clip, the attention over whole frames left out."""
    with torch.device("meta"):
        vae = VideoVAE(config, nn)
    frames = torch.empty(1, config.pixel_channels, TEMPORAL_FACTOR, COUNTED_SIDE, COUNTED_SIDE, device="meta")
    side = COUNTED_SIDE // SPATIAL_FACTOR
    latent = torch.empty(1, config.latent_channels, 1, side, side, device="meta")
    pixels = TEMPORAL_FACTOR * COUNTED_SIDE**2
    encoder, decoder = vae.encoder_stream(), vae.decoder_stream()
    encoder.push(frames[:, :, :1])
    decoder.push(latent)
    return _count(encoder, frames) / pixels, _count(decoder, latent) / pixels


def time_range(flops: float, flops_per_second: float) -> tuple[float, float]:
    """(least, most) seconds for so much arithmetic at a measured rate."""
    seconds = flops / flops_per_second
    return EARLY * seconds, LATE * seconds


def say_time(seconds: tuple[float, float]) -> str:
    """A range in words: '40 to 75 s', '3 to 6 min', '1.5 to 2.8 h'."""
    least, most = seconds
    unit, length = next(
        (name, size) for name, size in (("h", 3600), ("min", 60), ("s", 1)) if most >= 2 * size or size == 1
    )
    digits = 1 if least / length < 10 and unit == "h" else 0
    low, high = (f"{value / length:.{digits}f}" for value in (least, most))
    return f"{low} to {high} {unit}" if low != high else f"about {high} {unit}"


def _count(stream: EncoderStream | DecoderStream, part: Tensor) -> int:
    """Arithmetic of one more slice of a running stream, without the products of attention."""
    stream.push(part)
    with FlopCounterMode(display=False) as counter:
        stream.push(part)
    counts = counter.get_flop_counts()["Global"]
    return sum(flops for operation, flops in counts.items() if "bmm" not in str(operation))


def _middle_attention(config: VAEConfig, pixels: int) -> float:
    """One head over all positions of one latent: two products."""
    return 4.0 * config.widths[-1] * (pixels / SPATIAL_FACTOR**2) ** 2
