"""The video VAE written plainly from its definition: whole clips, contiguous tensors, no caches, no composition.

The reference that the streaming network is held against; `state` is a checkpoint's state dict.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


class PlainVAE:
    def __init__(self, state):
        self.state = state

    def encode(self, video):
        x = self.conv("encoder.conv_in", video)
        level = 0
        while f"encoder.down_blocks.{level}.resnets.0.conv1.weight" in self.state:
            stem = f"encoder.down_blocks.{level}"
            x = self.residuals(stem, x)
            if f"{stem}.downsamplers.0.conv.weight" in self.state:
                frames = (self.state[f"{stem}.downsamplers.0.conv.weight"].shape[2] + 1) // 2
                x = self.conv(f"{stem}.downsamplers.0.conv", F.pad(x, (0, 1, 0, 1)), pad=0, stride=(frames, 2, 2))
            level += 1
        return self.tail("encoder", self.middle("encoder", x))

    def decode(self, latent):
        x = self.middle("decoder", self.conv("decoder.conv_in", latent))
        level = 0
        while f"decoder.up_blocks.{level}.resnets.0.conv1.weight" in self.state:
            stem = f"decoder.up_blocks.{level}"
            x = self.residuals(stem, x)
            if f"{stem}.upsamplers.0.conv.weight" in self.state:
                x = self.upsample(f"{stem}.upsamplers.0", x)
            level += 1
        return self.tail("decoder", x)

    def upsample(self, stem, x, first=True):
        x = self.conv(f"{stem}.upscale_conv", x, pad=0)
        batch, wide, frames, height, width = x.shape
        channels = self.state[f"{stem}.conv.weight"].shape[1]
        z = wide // (4 * channels)
        x = x.reshape(batch, 2, 2, z, channels, frames, height, width)  # row, column, time parity
        x = x.permute(0, 4, 5, 3, 6, 1, 7, 2).reshape(batch, channels, frames * z, 2 * height, 2 * width)
        if z == 2:
            x = torch.cat([x[:, :, :1], x[:, :, 2:]], dim=2)
        return self.conv(f"{stem}.conv", x)

    def residuals(self, stem, x):
        block = 0
        while f"{stem}.resnets.{block}.conv1.weight" in self.state:
            name = f"{stem}.resnets.{block}"
            h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)))
            h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)))
            short = f"{name}.conv_shortcut"
            x = h + (self.conv(short, x, pad=0) if f"{short}.weight" in self.state else x)
            block += 1
        return x

    def middle(self, side, x):
        stem = f"{side}.mid_block"
        inner = PlainVAE({k: v for k, v in self.state.items() if not k.startswith(f"{stem}.resnets.1")})
        x = inner.residuals(stem, x)
        x = x + self.attention(f"{stem}.attentions.0", x)
        second = {
            k.replace(f"{stem}.resnets.1", f"{stem}.resnets.0"): v
            for k, v in self.state.items()
            if k.startswith(f"{stem}.resnets.1")
        }
        return PlainVAE(second).residuals(stem, x)

    def attention(self, stem, x):
        batch, channels, frames, height, width = x.shape
        tokens = self.norm(f"{stem}.group_norm", x).permute(0, 2, 3, 4, 1).reshape(batch * frames, -1, channels)
        q, k, v = (self.linear(f"{stem}.{name}", tokens) for name in ("to_q", "to_k", "to_v"))
        mixed = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(channels), dim=-1) @ v
        out = self.linear(f"{stem}.to_out.0", mixed)
        return out.reshape(batch, frames, height, width, channels).permute(0, 4, 1, 2, 3)

    def tail(self, side, x):
        return self.conv(f"{side}.conv_out", F.silu(self.norm(f"{side}.conv_norm_out", x)))

    def conv(self, stem, x, pad=1, stride=1):
        weight = self.state[f"{stem}.weight"]
        if weight.shape[2] == 3:
            x = torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2)
        return F.conv3d(x, weight, self.state[f"{stem}.bias"], stride=stride, padding=(0, pad, pad))

    def linear(self, stem, x):
        return F.linear(x, self.state[f"{stem}.weight"], self.state[f"{stem}.bias"])

    def norm(self, stem, x):
        batch, channels, frames, height, width = x.shape
        folded = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        folded = F.group_norm(folded, 32, self.state[f"{stem}.weight"], self.state[f"{stem}.bias"], eps=1e-6)
        return folded.reshape(batch, frames, channels, height, width).transpose(1, 2)
