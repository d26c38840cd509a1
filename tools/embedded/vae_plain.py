"""The video VAE in a form that learns: whole clips, gradients, official keys, the same arithmetic as `models.vae`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import torch
import torch.nn.functional as F
from seedvr2_anywhere.models.moments import FrameNorm
from seedvr2_anywhere.models.vae_config import SCALE, VAEConfig
from torch import Tensor


class PlainVAE:
    """Encoder and decoder over a dict of tensors."""

    def __init__(self, state: Mapping[str, Tensor], config: VAEConfig) -> None:
        self.state, self.config = state, config

    def encode(self, video: Tensor, level: int = 0) -> Tensor:
        """Video [B,3,4m+1,H,W] in −1..1 → latent [B,16,m+1,H/8,W/8], times 0.9152; or the maps a level is given."""
        x = _last(video) if level else self._conv("encoder.conv_in", _last(video))
        for number in range(level, len(self.config.widths)):
            stem = f"encoder.down_blocks.{number}"
            x = self._residuals(stem, x)
            if number < len(self.config.down_frames):
                stride = (self.config.down_frames[number], 2, 2)
                x = self._conv(f"{stem}.downsamplers.0.conv", F.pad(x, (0, 1, 0, 1)), 0, stride)
        return self._tail("encoder", self._middle("encoder", x))[:, : self.config.latent_channels] * SCALE

    def decode(self, latent: Tensor, level: int = 0) -> Tensor:
        """Latent [B,16,t,h,w], scaled → video [B,3,4(t−1)+1,8h,8w]; or what the encoder's `level` was given, first."""
        x = self._middle("decoder", self._conv("decoder.conv_in", _last(latent / SCALE)))
        last = len(self.config.widths) - 1
        for number in range(last + 1 - level):
            x = self._residuals(f"decoder.up_blocks.{number}", x)
            if number < last - level:
                x = self._upsample(f"decoder.up_blocks.{number}.upsamplers.0", x, self.config.up_frames[number])
        return x if level else self._tail("decoder", x)

    def _upsample(self, stem: str, x: Tensor, frames: int) -> Tensor:
        wide = self._conv(f"{stem}.upscale_conv", x, 0).permute(0, 2, 3, 4, 1)  # [B,t,h,w,4·z·C]
        batch, time, height, width, _ = wide.shape
        wide = wide.reshape(batch, time, height, width, 2, 2, frames, -1)  # row, column, frame, channel
        wide = wide.permute(0, 1, 6, 2, 4, 3, 5, 7).reshape(batch, time * frames, 2 * height, 2 * width, -1)
        if frames == 2:
            wide = torch.cat([wide[:, :1], wide[:, 2:]], dim=1)  # the first frame has no twin
        return self._conv(f"{stem}.conv", wide.permute(0, 4, 1, 2, 3))

    def _residuals(self, stem: str, x: Tensor) -> Tensor:
        for name in self._blocks(stem):
            x = self._residual(name, x)
        return x

    def _residual(self, name: str, x: Tensor) -> Tensor:
        skip = self._conv(f"{name}.conv_shortcut", x, 0) if f"{name}.conv_shortcut.weight" in self.state else x
        hidden = self._conv(f"{name}.conv1", F.silu(self._norm(f"{name}.norm1", x)))
        return skip + self._conv(f"{name}.conv2", F.silu(self._norm(f"{name}.norm2", hidden)))

    def _middle(self, side: str, x: Tensor) -> Tensor:
        stem = f"{side}.mid_block"
        x = self._residual(f"{stem}.resnets.0", x)
        x = x + self._attention(f"{stem}.attentions.0", x)
        return self._residual(f"{stem}.resnets.1", x)

    def _attention(self, stem: str, x: Tensor) -> Tensor:
        batch, channels, frames, height, width = x.shape
        normed = self._norm(f"{stem}.group_norm", x)
        tokens = normed.permute(0, 2, 3, 4, 1).reshape(batch * frames, 1, height * width, channels)
        q, k, v = (self._linear(f"{stem}.{name}", tokens) for name in ("to_q", "to_k", "to_v"))
        mixed = self._linear(f"{stem}.to_out.0", F.scaled_dot_product_attention(q, k, v))
        return mixed.reshape(batch, frames, height, width, channels).permute(0, 4, 1, 2, 3)

    def _tail(self, side: str, x: Tensor) -> Tensor:
        normed = F.silu(self._norm(f"{side}.conv_norm_out", x.float()))
        return self._conv(f"{side}.conv_out", normed).float()

    def _conv(self, stem: str, x: Tensor, pad: int = 1, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
        weight = self.state[f"{stem}.weight"]
        if weight.shape[2] == 3:
            x = torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2)
        return F.conv3d(_last(x), _last(weight), self.state[f"{stem}.bias"], stride, (0, pad, pad))

    def _linear(self, stem: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{stem}.weight"], self.state[f"{stem}.bias"])

    def _norm(self, stem: str, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        weight, bias = self.state[f"{stem}.weight"], self.state[f"{stem}.bias"]
        normed = F.group_norm(frames.flatten(0, 1), FrameNorm.GROUPS, weight, bias, FrameNorm.EPSILON)
        return normed.unflatten(0, frames.shape[:2]).transpose(1, 2)

    def _blocks(self, stem: str) -> Iterator[str]:
        for number in count():
            if f"{stem}.resnets.{number}.conv1.weight" not in self.state:
                return
            yield f"{stem}.resnets.{number}"


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)
