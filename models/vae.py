"""The SeedVR2 video VAE as a stream: causal in time, norms per frame, so that slicing in time changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from .convolve import BELOW_RIGHT, Frames, convolve, join
from .errors import BadInput
from .layers import Operations
from .moments import FrameNorm, Moments
from .source import Run
from .subpixel import SubpixelUp, UpSampler
from .vae_config import TEMPORAL_FACTOR, VAEConfig
from .vae_stream import DecoderStream, EncoderStream

ATTENTION_BYTES = 256 << 20  # scores held at a time


class Residual(nn.Module):
    """x + conv2(silu(norm2(conv1(silu(norm1(x))))))."""

    def __init__(self, before: int, width: int, operations: Operations, **place) -> None:
        super().__init__()
        self.norm1 = FrameNorm(before, **place)
        self.conv1 = operations.Conv3d(before, width, 3, **place)
        self.norm2 = FrameNorm(width, **place)
        self.conv2 = operations.Conv3d(width, width, 3, **place)
        self.conv_shortcut = operations.Conv3d(before, width, 1, **place) if before != width else None

    def forward(self, run: Run, x: Frames, measure: bool = True) -> Frames:
        """The next maps of a clip, in place of `x`; `measure` where a norm follows."""
        hidden = convolve(run, self.conv1, x, norm=self.norm1, only_normed=True)
        skip = (x.data, self.conv_shortcut)
        out = convolve(run, self.conv2, hidden, norm=self.norm2, skip=skip, measure=measure)
        run.give_back(hidden.data)
        run.give_back(x.data)
        return out


class FrameAttention(nn.Module):
    """One head over all positions of a frame."""

    def __init__(self, width: int, operations: Operations, **place) -> None:
        super().__init__()
        self.group_norm = FrameNorm(width, **place)
        self.to_q, self.to_k, self.to_v = (operations.Linear(width, width, **place) for _ in range(3))
        self.to_out = nn.ModuleList([operations.Linear(width, width, **place)])

    def forward(self, run: Run, x: Frames) -> Frames:
        """x + attention(norm(x)), frame by frame, its queries in chunks."""
        run.check()
        assert x.moments is not None
        scale, shift = self.group_norm(x.moments)
        out = run.empty(tuple(x.data.shape), x.data)
        for frame in range(x.data.shape[1]):
            normed = torch.addcmul(shift[:, frame], x.data[:, frame], scale[:, frame]).to(x.data.dtype)
            tokens = normed.flatten(1, 2)  # B, positions, C
            mixed = self.to_out[0](_attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)))
            out[:, frame] = x.data[:, frame] + mixed.unflatten(1, x.data.shape[2:4])
        moments = Moments(tuple(out.shape), out.device)
        moments.add(0, out)
        run.give_back(x.data)
        return Frames(out, moments)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d)·v, the softmax in float32 inside; no fused kernel takes a head this wide."""
    positions, width = query.shape[1:]
    step = max(1, ATTENTION_BYTES // (4 * positions * query.shape[0]))
    query = query * width**-0.5
    turned = key.transpose(1, 2)
    parts = [torch.softmax(part @ turned, dim=-1) @ value for part in query.split(step, dim=1)]
    return torch.cat(parts, dim=1)


class DownSampler(nn.Module):
    """Halves rows and columns, and frames where its kernel has depth."""

    def __init__(self, width: int, frames: int, operations: Operations, **place) -> None:
        super().__init__()
        self.conv = operations.Conv3d(width, width, (2 * frames - 1, 3, 3), (frames, 2, 2), **place)

    def forward(self, run: Run, x: Frames) -> Frames:
        """The next maps of a clip, in place of `x`; measured."""
        smaller = convolve(run, self.conv, x, padding=BELOW_RIGHT)
        run.give_back(x.data)
        return smaller


class Level(nn.Module):
    """Residual blocks of one resolution, with the sampler that leads to the next, or the attention between them."""

    def __init__(self, before: int, width: int, blocks: int, operations: Operations, **place) -> None:
        super().__init__()
        widths = [before] + [width] * (blocks - 1)
        self.resnets = nn.ModuleList(Residual(each, width, operations, **place) for each in widths)
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None

    def forward(self, run: Run, x: Frames, measure: bool) -> Frames:
        """The residual blocks; `measure` the last one's output where a norm follows."""
        for block in self.resnets[:-1]:
            x = block(run, x)
        return self.resnets[-1](run, x, measure)


class Middle(Level):
    """Residual block, attention, residual block on the smallest grid."""

    def __init__(self, width: int, operations: Operations, **place) -> None:
        super().__init__(width, width, 2, operations, **place)
        self.attentions = nn.ModuleList([FrameAttention(width, operations, **place)])

    def forward(self, run: Run, x: Frames, measure: bool = True) -> Frames:
        """Measured: a norm always follows."""
        x = self.attentions[0](run, self.resnets[0](run, x))
        return self.resnets[1](run, x, measure)


class Encoder(nn.Module):
    """Pixels → mean and log-variance."""

    def __init__(self, config: VAEConfig, operations: Operations, **place) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = operations.Conv3d(config.pixel_channels, widths[0], 3, **place)
        self.down_blocks = nn.ModuleList()
        for before, width in zip((widths[0], *widths[:-1]), widths, strict=True):
            self.down_blocks.append(Level(before, width, config.encoder_blocks, operations, **place))
        for level, width, frames in zip(
            cast("list[Level]", self.down_blocks), widths, config.down_frames, strict=False
        ):
            level.downsamplers = nn.ModuleList([DownSampler(width, frames, operations, **place)])
        self.mid_block = Middle(widths[-1], operations, **place)
        self.conv_norm_out = FrameNorm(widths[-1], **place)
        self.conv_out = operations.Conv3d(widths[-1], 2 * config.latent_channels, 3, **place)

    def forward(self, run: Run, pixels: Tensor, full_frames: int) -> Tensor:
        """The next frames [B,T,H,W,3] of a clip (the first alone, then fours) → [B,t,h,w,2·C]."""
        parts = pixels.split(full_frames, dim=1)
        x = join([self._level(run, convolve(run, self.conv_in, Frames(part)), 0) for part in parts])
        for number in range(1, len(self.down_blocks)):
            x = self._level(run, x, number)
        x = self.mid_block(run, x)
        return convolve(run, self.conv_out, x, norm=self.conv_norm_out, measure=False).data

    def _level(self, run: Run, x: Frames, number: int) -> Frames:
        level = cast("Level", self.down_blocks[number])
        last = level.downsamplers is None
        x = level(run, x, measure=last)
        return x if level.downsamplers is None else level.downsamplers[0](run, x)


class Decoder(nn.Module):
    """Latents → pixels, with composed up-samplers."""

    def __init__(self, config: VAEConfig, operations: Operations, **place) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.conv_in = operations.Conv3d(config.latent_channels, widths[0], 3, **place)
        self.mid_block = Middle(widths[0], operations, **place)
        self.up_blocks = nn.ModuleList()
        for before, width in zip((widths[0], *widths[:-1]), widths, strict=True):
            self.up_blocks.append(Level(before, width, config.decoder_blocks, operations, **place))
        self._frames = config.up_frames
        for level, width, frames in zip(cast("list[Level]", self.up_blocks), widths, config.up_frames, strict=False):
            level.upsamplers = nn.ModuleList([SubpixelUp(UpSampler(width, width, frames), operations, **place)])
        self.conv_norm_out = FrameNorm(widths[-1], **place)
        self.conv_out = operations.Conv3d(widths[-1], config.pixel_channels, 3, **place)

    def forward(self, run: Run, latent: Tensor, full_frames: int) -> Iterator[Tensor]:
        """The next latents [B,t,h,w,C] of a clip (the first alone) → pixels [B,T,H,W,3], `full_frames` at a time."""
        x = self.mid_block(run, convolve(run, self.conv_in, Frames(latent)))
        yield from self._climb(run, x, 0, full_frames)

    def _climb(self, run: Run, x: Frames, number: int, full_frames: int) -> Iterator[Tensor]:
        """From the blocks of one resolution to the pixels, enlarging no more frames at a time than are wanted."""
        level = cast("Level", self.up_blocks[number])
        last = level.upsamplers is None
        x = level(run, x, measure=last)
        if level.upsamplers is None:
            yield convolve(run, self.conv_out, x, norm=self.conv_norm_out, measure=False).data
            return
        for part in x.data.split(max(1, full_frames // self._frames[number]), dim=1):
            yield from self._climb(run, level.upsamplers[0](run, Frames(part)), number + 1, full_frames)


class VideoVAE(nn.Module):
    """Encoder and decoder of one checkpoint; both work on streams, whole clips are a stream pushed at once."""

    def __init__(self, config: VAEConfig, operations: Operations, **place) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, operations, **place)
        self.decoder = Decoder(config, operations, **place)
        self.dtype = torch.float32  # of the computation; set by `load_vae`
        self.device: torch.device | None = None  # that computes, where it is not the one the weights lie on

    def encode(self, video: Tensor) -> Tensor:
        """video [B,3,T,H,W] in −1..1, T = 4m+1, H and W multiples of 8 → latent [B,16,m+1,H/8,W/8], times 0.9152."""
        if (video.shape[2] - 1) % TEMPORAL_FACTOR:
            raise BadInput(f"a clip of {video.shape[2]} frames: the VAE needs 4m+1 frames; repeat or mirror the end.")
        stream = self.encoder_stream()
        latent = stream.push(video)
        stream.finish()
        assert latent is not None
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """latent [B,16,t,h,w], scaled by 0.9152 → video [B,3,4(t−1)+1,8h,8w], about −1..1, not clamped."""
        stream = self.decoder_stream()
        video = stream.push(latent)
        stream.finish()
        assert video is not None
        return video

    def encoder_stream(self, **options) -> EncoderStream:
        """A fresh encoder stream; for the options see `Stream`."""
        return EncoderStream(self, **options)

    def decoder_stream(self, **options) -> DecoderStream:
        """A fresh decoder stream; for the options see `Stream`."""
        return DecoderStream(self, **options)
