"""One shot through the network: source frames in, the network's frames out, in memory that does not grow with the shot.

The shot is encoded once and decoded once; in between the transformer sees windows of latents. Everything is pulled by
the consumer, so no stage runs further ahead than the windows need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from .denoise import denoise, denoise_pictures
from .network import Network
from .padding import Geometry, crop, mirror_frames, missing_frames, pad
from .resize import resize
from .shot_stream import Frame
from .tone import to_sdr
from .windows import Windowing

LATENT_FRAMES = 4  # resized and encoded together
PICTURES_TOGETHER = 4


@dataclass(frozen=True)
class Method:
    """How shots are restored: the part of a job that decides its result."""

    geometry: Geometry
    windowing: Windowing
    seed: int = 1245
    cfg_scale: float = 1.0
    curve: str = "sdr"  # transfer of the source: sdr, pq or hlg


@dataclass(frozen=True)
class Streams:
    """Options of the VAE's streams: they change speed and memory, never the result."""

    encoder: dict[str, object] = field(default_factory=dict)
    decoder: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """Restored frames [T,H,W,3] as decoded, about 0..1, with the source frames they came from."""

    restored: Tensor
    sources: list[Frame]


def restore_shot(
    network: Network,
    frames: Iterable[Frame],
    first: int,
    method: Method,
    streams: Streams,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Piece]:
    """The frames of a shot that begins with frame number `first`, restored, a few at a time and in order.

    `check` is called before each layer of the network and may raise to stop.
    """
    if method.windowing.is_pictures:
        return _restore_pictures(network, iter(frames), method, check)
    return _restore_video(network, iter(frames), first, method, streams, check)


def picture_of(frames: list[Frame], method: Method, size: tuple[int, int]) -> Tensor:
    """Source frames as SDR [T,H,W,3] in 0..1 at a (height, width): the network's input and the reference of colour."""
    codes = torch.from_numpy(np.stack([frame.pixels for frame in frames]))
    if method.curve != "sdr":
        codes = to_sdr(codes, method.curve)
    return resize(codes, *size)


def _restore_video(
    network: Network, frames: Iterator[Frame], first: int, method: Method, streams: Streams, check: Callable[[], None]
) -> Iterator[Piece]:
    sources: deque[Frame] = deque()
    latents = _encode(network, _prepare(frames, method, sources), streams, check)
    restored = denoise(
        network.dit, network.text, latents, method.windowing, method.seed, first, method.cfg_scale, check
    )
    decoder = network.vae.decoder_stream(check=check, **streams.decoder)
    for latent in restored:
        video = decoder.push(latent)
        if video is None:
            continue
        shown = min(video.shape[2], len(sources))  # the rest are mirrored frames that filled the last latent
        yield Piece(_shown(video[:, :, :shown], method), [sources.popleft() for _ in range(shown)])


def _restore_pictures(
    network: Network, frames: Iterator[Frame], method: Method, check: Callable[[], None]
) -> Iterator[Piece]:
    while group := list(islice(frames, PICTURES_TOGETHER)):
        pictures = _to_network(picture_of(group, method, method.geometry.target), method)  # [1,3,T,H,W]
        alone = pictures.transpose(0, 2)  # [T,3,1,H,W]: each a clip of one frame
        latents = network.vae.encode(alone)
        restored = denoise_pictures(network.dit, network.text, latents, method.seed, method.cfg_scale, check)
        yield Piece(_shown(network.vae.decode(restored).transpose(0, 2), method), group)


def _prepare(frames: Iterator[Frame], method: Method, sources: deque[Frame]) -> Iterator[Tensor]:
    """Padded input [1,3,T,H,W] in −1..1 for the encoder, 4m+1 frames in all; `sources` takes the frames read."""
    count, last = 0, torch.empty(0)
    while group := list(islice(frames, LATENT_FRAMES)):
        sources += group
        count += len(group)
        pictures = picture_of(group, method, method.geometry.target)
        last = torch.cat([last, pictures])[-LATENT_FRAMES:] if last.numel() else pictures
        yield _to_network(pictures, method)
    missing = missing_frames(count)
    if missing:
        yield _to_network(mirror_frames(last, missing), method)


def _encode(network: Network, clip: Iterator[Tensor], streams: Streams, check: Callable[[], None]) -> Iterator[Tensor]:
    encoder = network.vae.encoder_stream(check=check, **streams.encoder)
    for part in clip:
        latent = encoder.push(part)
        if latent is not None:
            yield latent
    encoder.finish()


def _to_network(pictures: Tensor, method: Method) -> Tensor:
    """[T,H,W,3] in 0..1 → padded [1,3,T,H,W] in −1..1."""
    return (pad(pictures, method.geometry) * 2 - 1).permute(3, 0, 1, 2)[None]


def _shown(video: Tensor, method: Method) -> Tensor:
    """[1,3,T,H,W] in −1..1 → the picture alone [T,H,W,3], about 0..1, on the CPU in float32."""
    frames = crop(video[0].permute(1, 2, 3, 0), method.geometry)
    return frames.to("cpu", torch.float32).add(1).div(2)
