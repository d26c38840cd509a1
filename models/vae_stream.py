"""Encoder and decoder of the video VAE, fed any number of frames at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import BadInput
from .source import Run
from .state import DeviceState, HostState
from .vae_config import SCALE, SPATIAL_FACTOR, TEMPORAL_FACTOR

if TYPE_CHECKING:
    from .vae import VideoVAE

CPU_BLOCK_BYTES = 24 << 20  # near the cache, and below glibc's largest mmap threshold (32 MiB): no page faults
DEVICE_BLOCK_BYTES = 1 << 40  # whole frames


class Stream:
    """One clip on its way through the VAE. Slices are always the same (the first frame or latent alone, then
    `slice_latents` at a time), so the result does not depend on how the clip was pushed.

    state: "device" or "host", where layers remember frames. full_frames: frames at a time at full resolution, 1, 2 or
    4; fewer need less memory. block_bytes: limit for one convolution's input block. check: called before each layer,
    may raise to stop. kind: of device to manage memory for, the weights' own unless named. None of them changes the
    result beyond rounding; on the CPU not at all.
    """

    def __init__(
        self,
        vae: VideoVAE,
        *,
        state: str = "device",
        full_frames: int = TEMPORAL_FACTOR,
        slice_latents: int = 1,
        block_bytes: int | None = None,
        check: Callable[[], None] = lambda: None,
        kind: str | None = None,
    ) -> None:
        if state not in ("device", "host"):
            raise BadInput(f"state {state!r}: expected 'device' or 'host'.")
        if full_frames < 1 or slice_latents < 1:
            raise BadInput(f"full_frames {full_frames}, slice_latents {slice_latents}: both must be at least 1.")
        self._vae = vae
        self._device = vae.device or next(vae.parameters()).device
        self.on_host = state == "host"
        store = HostState(self._device) if self.on_host else DeviceState()
        on_processor = (kind or self._device.type) == "cpu"
        default = CPU_BLOCK_BYTES if on_processor else DEVICE_BLOCK_BYTES
        self._run = Run(store, block_bytes or default, check, on_processor)
        self._full_frames = full_frames
        self._slice_latents = slice_latents
        self._started = False

    def state_bytes(self) -> int:
        """Bytes the layers remember at present."""
        return self._run.state.nbytes()

    def _slices(self, latents: int) -> Iterator[tuple[int, int]]:
        """Cut the next `latents` into slices: (latents, frames) of each."""
        while latents:
            length = min(latents, self._slice_latents) if self._started else 1
            yield length, TEMPORAL_FACTOR * length if self._started else 1
            self._started = True
            latents -= length

    def _accept(self, x: Tensor, channels: int, multiple: int, name: str) -> Tensor:
        """[B,C,T,H,W] on the compute device → view [B,T,H,W,C]. Raises BadInput naming what was got and expected."""
        if x.dim() != 5 or x.shape[1] != channels:
            raise BadInput(f"{name} of shape {list(x.shape)}: expected [B, {channels}, T, H, W].")
        if not all(x.shape) or x.shape[3] % multiple or x.shape[4] % multiple:
            raise BadInput(f"{name} of shape {list(x.shape)}: height and width must be multiples of {multiple}, not 0.")
        return x.permute(0, 2, 3, 4, 1)


class DecoderStream(Stream):
    """Latents in, frames out."""

    @torch.no_grad()
    def push(self, latent: Tensor) -> Tensor | None:
        """The next latents [B,16,t,h,w], scaled by 0.9152 → the frames [B,3,T,H,W] they complete, about −1..1."""
        latents = self._accept(latent, self._vae.config.latent_channels, 1, "latent")
        batch, count, height, width, _ = latents.shape
        frames = TEMPORAL_FACTOR * count - (0 if self._started else TEMPORAL_FACTOR - 1)
        size = (batch, frames, SPATIAL_FACTOR * height, SPATIAL_FACTOR * width, self._vae.config.pixel_channels)
        video = torch.empty(size, dtype=self._vae.dtype, device=self._device)
        done = 0
        for part in self._parts(latents):
            video[:, done : done + part.shape[1]] = part
            done += part.shape[1]
        return video.permute(0, 4, 1, 2, 3)

    def finish(self) -> Tensor | None:
        """End the clip: nothing is left to come."""
        return None

    def _parts(self, latents: Tensor) -> Iterator[Tensor]:
        start = 0
        for length, _ in self._slices(latents.shape[1]):
            part = latents[:, start : start + length].to(self._device, self._vae.dtype) / SCALE
            yield from self._vae.decoder(self._run, part, self._full_frames)
            start += length


class EncoderStream(Stream):
    """Frames in, latents out."""

    _pending: Tensor | None = None  # [B,T,H,W,3], fewer frames than the next latent needs

    @torch.no_grad()
    def push(self, video: Tensor) -> Tensor | None:
        """The next frames [B,3,T,H,W] in −1..1 → the latents [B,16,t,h,w] they complete, times 0.9152, or None."""
        frames = self._accept(video, self._vae.config.pixel_channels, SPATIAL_FACTOR, "video")
        if self._pending is not None:
            frames = torch.cat([self._pending, frames], dim=1)
        missing = 0 if self._started else TEMPORAL_FACTOR - 1  # the first latent needs one frame only
        latents, used = [], 0
        for _, length in self._slices((frames.shape[1] + missing) // TEMPORAL_FACTOR):
            latents.append(self._encode(frames[:, used : used + length]))
            used += length
        self._pending = frames[:, used:].clone() if used < frames.shape[1] else None
        return torch.cat(latents, dim=1).permute(0, 4, 1, 2, 3) if latents else None

    def finish(self) -> Tensor | None:
        """End the clip. Raises BadInput when frames are left that make no whole latent."""
        if self._pending is not None:
            raise BadInput(f"{self._pending.shape[1]} frames are left over: a clip must have 4m+1 frames.")
        return None

    def _encode(self, frames: Tensor) -> Tensor:
        frames = frames.to(self._device, self._vae.dtype)
        posterior = self._vae.encoder(self._run, frames, self._full_frames)
        return posterior[..., : self._vae.config.latent_channels] * SCALE  # the mean half
