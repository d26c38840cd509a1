"""Frames in memory, ComfyUI's way: float tensors in 0..1, restored without any file or codec, and to and from codes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .. import media
from .errors import BadFrames
from .frames import check_frames
from .host import Host, Meter
from .network import Network
from .padding import plan_geometry
from .quantize import to_codes, to_float
from .restore import Method, Streams, restore_shot
from .shot_stream import ShotStream
from .sizes import target_size
from .tone import to_sdr
from .upscale import AUTOMATIC_WINDOW, Wish, finish_piece
from .windows import windowing_for

BATCH = 16  # frames that change their number format together


def restore_images(images: Tensor, wish: Wish, network: Network, host: Host | None = None) -> Tensor:
    """Images [T,H,W,C] in 0..1, C 3 or 4 with opacity last, restored as a clip in their order: [T,h,w,C], float32.

    Raises EngineError for impossible sizes and frames.
    """
    check_images(images)
    host = host or Host()
    method = _method(wish, (images.shape[1], images.shape[2]))
    result = torch.empty(images.shape[0], *method.geometry.target, images.shape[3])
    meter = Meter(host, images.shape[0])
    place = 0
    for number, shot in enumerate(ShotStream(batches_of(images)), start=1):
        network.placement.bring(0)
        meter.begin_shot(number)
        for piece in restore_shot(network, shot.frames, shot.first, method, Streams(), host.check):
            done = join_opacity(finish_piece(piece, method, wish))
            result[place : place + len(done)] = done
            place += len(done)
            meter.advance(piece.restored)
    return result


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of pictures."""
    if not isinstance(images, Tensor):
        raise BadFrames(f"Got {type(images).__name__}, expected images [frames, height, width, 3 or 4].")
    check_frames(images, channels=(3, 4))
    if not len(images):
        raise BadFrames("Got no image at all, expected at least one.")


def batches_of(images: Tensor, bits: int = 16) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches (codes [T,H,W,3], pts [T] from 0 by 1, opacity [T,H,W] if any) of images [T,H,W,3 or 4] in 0..1."""
    kind = torch.uint16 if bits > 8 else torch.uint8
    for first in range(0, len(images), BATCH):
        codes = to_codes(images[first : first + BATCH], kind, first_frame=first).cpu().numpy()
        pts = np.arange(first, first + len(codes), dtype=np.int64)
        opacity = (codes[..., 3].copy(),) if codes.shape[3] == 4 else ()
        yield (np.ascontiguousarray(codes[..., :3]), pts, *opacity)


def join_opacity(batch: tuple[np.ndarray, ...]) -> Tensor:
    """A batch of codes as float32 [T,H,W,3], or 4 where it has opacity, in 0..1."""
    frames = to_float(batch[0])
    return torch.cat([frames, to_float(batch[2]).unsqueeze(-1)], dim=-1) if len(batch) > 2 else frames


def read_images(reader: media.Reader, as_sdr: bool) -> tuple[Tensor, Tensor | None]:
    """All frames of a reader [T,H,W,3] in 0..1, and opacity [T,H,W] if it was asked for; HDR as SDR if wished."""
    batches = sdr_batches(reader) if as_sdr else reader
    parts = [join_opacity(batch) for batch in batches]
    frames = torch.cat(parts)
    return (frames[..., :3].contiguous(), frames[..., 3].contiguous()) if frames.shape[-1] == 4 else (frames, None)


def sdr_batches(reader: media.Reader) -> Iterator[tuple[np.ndarray, ...]]:
    """The batches of a reader, PQ and HLG brought to BT.709 SDR in 16 bit; SDR as it is."""
    curve = reader.colour.transfer
    for frames, *rest in reader:
        if curve == "sdr":
            yield (frames, *rest)
        else:
            shown = to_codes(to_sdr(torch.from_numpy(frames), curve), torch.uint16)
            yield (shown.numpy(), *rest)


def there_and_back(images: Tensor) -> Tensor:
    """Images forward, then backward without showing the first and the last twice."""
    return torch.cat([images, images[1:-1].flip(0)])


def _method(wish: Wish, source: tuple[int, int]) -> Method:
    target = target_size(
        source, size_by=wish.size_by, resolution=wish.new_resolution, scale=wish.scale, max_long_side=wish.max_long_side
    )
    windowing, _ = windowing_for(wish.batch_size or AUTOMATIC_WINDOW)
    return Method(plan_geometry(source, target), windowing, wish.seed, wish.cfg_scale)
