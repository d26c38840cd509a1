"""One shot through the network: source frames in, the network's frames out, in memory that does not grow with the shot.

The shot is encoded once and decoded once; in between the transformer sees windows of latents. Everything is pulled by
the consumer, so no stage runs further ahead than the windows need. Work can begin in the middle of a shot: what the
first wanted frame depends on is looked at again, and the frames are exactly those of the whole.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.vae_config import TEMPORAL_FACTOR
from .denoise import Denoiser, Part, encoded_from
from .network import Network
from .padding import Geometry, crop, mirror_frames, missing_frames, pad
from .plan import Neutral
from .replay import encoder_field
from .resize import resize
from .shot_stream import Frame
from .tone import to_sdr
from .windows import Windowing


@dataclass(frozen=True)
class Method:
    """How shots are restored: the part of a job that decides its result."""

    geometry: Geometry
    windowing: Windowing
    seed: int = 1245
    cfg_scale: float = 1.0
    curve: str = "sdr"  # transfer of the source: sdr, pq or hlg
    keeps_hdr: bool = False  # the result has the source's curve, not SDR


@dataclass(frozen=True)
class Streams:
    """Options of the VAE's streams and frames handed on at a time: they change speed and memory, never the result."""

    encoder: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    push: int = TEMPORAL_FACTOR


def streams_of(neutral: Neutral) -> Streams:
    """The options that a plan's neutral half means."""
    options = {"state": neutral.state, "full_frames": neutral.full_frames, "block_bytes": neutral.block_bytes}
    return Streams(options, options, neutral.push)


@dataclass(frozen=True)
class Start:
    """Where in a shot work begins, counted from its beginning; `restored` [1,16,T,h,w] are the latents before.

    Of those as many as `replay.decoder_field` says, or all there are.
    """

    latent: int = 0
    frame: int = 0
    restored: Tensor | None = None


@dataclass(frozen=True)
class Piece:
    """Restored frames [T,H,W,3] as decoded, about 0..1, with the source frames they came from.

    A video's piece is one latent, kept along as `latent` [1,16,1,h,w] on the CPU; `is_last` ends the shot.
    """

    restored: Tensor
    sources: list[Frame]
    latent: Tensor | None = None
    is_last: bool = False


def latents_in(frames: int) -> int:
    """Latents that stand for a shot's first `frames` frames, the last of them whole or mirrored to be so."""
    return 1 + math.ceil((frames - 1) / TEMPORAL_FACTOR) if frames else 0


def restore_shot(
    network: Network,
    frames: Iterable[Frame],
    first: int,
    method: Method,
    streams: Streams,
    check: Callable[[], None] = lambda: None,
    start: Start | None = None,
) -> Iterator[Piece]:
    """The frames of a shot that begins with frame number `first`, restored, a few at a time and in order.

    `check` is called before each layer of the network and may raise to stop. With `start` the shot's whole `frames` are
    given all the same, and the pieces begin there.
    """
    shot = _Shot(network, method, streams, check)
    start = start or Start()
    return shot.pictures(iter(frames), start) if method.windowing.is_pictures else shot.video(frames, first, start)


def picture_of(frames: list[Frame], method: Method, size: tuple[int, int]) -> Tensor:
    """Source frames as SDR [T,H,W,3] in 0..1 at a (height, width): the network's input and the reference of colour."""
    codes = torch.from_numpy(np.stack([frame.pixels for frame in frames]))
    if method.curve != "sdr":
        codes = to_sdr(codes, method.curve)
    return resize(codes, *size)


class _Shot:
    """The stages of one shot, and what lies between them."""

    def __init__(self, network: Network, method: Method, streams: Streams, check: Callable[[], None]) -> None:
        self._network, self._method, self._streams, self._check = network, method, streams, check
        self._sources: deque[Frame] = deque()  # frames read, their restored ones not handed on yet
        self._denoiser = Denoiser(
            network.dit, network.text, method.windowing, method.seed, method.cfg_scale, check,
            lambda: network.placement.use("transformer"),
        )  # fmt: skip

    def video(self, frames: Iterable[Frame], first: int, start: Start) -> Iterator[Piece]:
        """Pieces of one latent each, from the start's on."""
        needed = encoded_from(start.latent, self._method.windowing)
        lead = max(0, needed - encoder_field(self._network.vae.config))
        replayed = islice(frames, lead * TEMPORAL_FACTOR, None)
        clip = self._prepare(replayed, start.frame - lead * TEMPORAL_FACTOR)
        encoded = _without_first(self._encode(clip), needed - lead)
        restored = self._denoiser.restore(encoded, Part(first, start.latent, needed))
        for latent, video in self._decode(restored, start.restored):
            shown = min(video.shape[2], len(self._sources))  # the rest are mirrored frames that filled the last latent
            sources = [self._sources.popleft() for _ in range(shown)]
            # windows are certain only when later latents have arrived: no source left means there is no later frame
            yield Piece(self._shown(video[:, :, :shown]), sources, latent, not self._sources)

    def pictures(self, frames: Iterator[Frame], start: Start) -> Iterator[Piece]:
        """Pieces of a few pictures, each restored as if it were alone."""
        frames = islice(frames, start.frame, None)
        together = self._streams.decoder.get("full_frames", TEMPORAL_FACTOR)  # in memory like one video's
        while group := list(islice(frames, together)):
            pictures = self._to_network(self._picture(group))  # [1,3,T,H,W]
            alone = pictures.transpose(0, 2)  # [T,3,1,H,W]: each a clip of one frame
            self._network.placement.use("encoder", begins=True)
            encoder = self._network.vae.encoder_stream(check=self._check, **self._streams.encoder)
            latents = encoder.push(alone)
            assert latents is not None
            restored = self._denoiser.restore_pictures(latents)
            self._network.placement.use("decoder", begins=True)
            decoder = self._network.vae.decoder_stream(check=self._check, **self._streams.decoder)
            shown = decoder.push(restored)
            assert shown is not None
            yield Piece(self._shown(shown.transpose(0, 2)), group)

    def _prepare(self, frames: Iterator[Frame], skip: int) -> Iterator[Tensor]:
        """Padded input [1,3,T,H,W] in −1..1 for the encoder, 4m+1 frames in all.

        `sources` takes the frames read but the first `skip`.
        """
        count, last = 0, torch.empty(0)
        while group := list(islice(frames, self._streams.push)):
            self._sources += group[max(0, skip - count) :]
            count += len(group)
            pictures = self._picture(group)
            last = torch.cat([last, pictures])[-TEMPORAL_FACTOR:] if last.numel() else pictures[-TEMPORAL_FACTOR:]
            yield self._to_network(pictures)
        missing = missing_frames(count)
        if missing:
            yield self._to_network(mirror_frames(last, missing))

    def _encode(self, clip: Iterator[Tensor]) -> Iterator[Tensor]:
        self._network.placement.use("encoder", begins=True)
        encoder = self._network.vae.encoder_stream(check=self._check, **self._streams.encoder)
        for part in clip:
            self._network.placement.use("encoder")
            latent = encoder.push(part)
            if latent is not None:
                yield latent
        encoder.finish()

    def _decode(self, latents: Iterator[Tensor], replayed: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """(latent to keep, its frames [1,3,T,H,W]), one by one; `replayed` ones go before, without their frames."""
        decoder = None
        for latent in latents:
            for one in latent.split(1, dim=2):
                self._network.placement.use("decoder", begins=decoder is None)
                if decoder is None:
                    decoder = self._network.vae.decoder_stream(check=self._check, **self._streams.decoder)
                    for known in () if replayed is None else replayed.split(1, dim=2):
                        decoder.push(known)
                video = decoder.push(one)
                assert video is not None
                yield one.to("cpu", self._network.vae.dtype), video

    def _picture(self, frames: list[Frame]) -> Tensor:
        return picture_of(frames, self._method, self._method.geometry.target)

    def _to_network(self, pictures: Tensor) -> Tensor:
        """[T,H,W,3] in 0..1 → padded [1,3,T,H,W] in −1..1."""
        return (pad(pictures, self._method.geometry) * 2 - 1).permute(3, 0, 1, 2)[None]

    def _shown(self, video: Tensor) -> Tensor:
        """[1,3,T,H,W] in −1..1 → the picture alone [T,H,W,3], about 0..1, on the CPU in float32."""
        frames = crop(video[0].permute(1, 2, 3, 0), self._method.geometry)
        return frames.to("cpu", torch.float32).add(1).div(2)


def _without_first(latents: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """Latents [1,16,T,h,w] after the first `count`."""
    for latent in latents:
        rest = latent[:, :, count:]
        count = max(0, count - latent.shape[2])
        if rest.shape[2]:
            yield rest
