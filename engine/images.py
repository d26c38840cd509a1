"""Frames in memory, ComfyUI's way: float tensors in 0..1, restored without any file or codec, and to and from codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .. import media
from .attend import attended
from .errors import BadFrames
from .finish import finish_piece
from .frames import check_frames
from .host import Host, Meter
from .machine import machine_of
from .memory_errors import is_out_of_memory, release_memory
from .network import Network, arrange
from .outlook import foresee
from .plan import Plan, shrink
from .quantize import to_codes, to_float
from .restore import Method, restore_shot, streams_of
from .shot_stream import Shot, ShotStream
from .tone import to_sdr
from .wish import Wish

BATCH = 16  # frames that change their number format together


def restore_images(images: Tensor, wish: Wish, network: Network, host: Host | None = None) -> Tensor:
    """Images [T,H,W,C] in 0..1, C 3 or 4 with opacity last, restored as a clip in their order: [T,h,w,C], float32.

    Planned like a file's run; when memory runs out the shot it happened in is begun again with a smaller plan. Raises
    EngineError (DoesNotFit) for impossible sizes and frames.
    """
    check_images(images)
    host = host or Host()
    machine = host.machine or machine_of(network.device)
    size = (images.shape[1], images.shape[2])
    outlook = foresee(size, len(images), wish, network.outline, machine, network.precision, check=host.check)
    method = Method(outlook.geometry, outlook.plan.semantic.windowing, wish.seed, wish.cfg_scale)
    album = _Album(images, torch.empty(len(images), *method.geometry.target, images.shape[3]), wish, network, host)
    plan = outlook.plan
    while not album.restore(plan, method):
        release_memory()
        plan, _ = attended(partial(shrink, plan, machine.card, network.outline, outlook.clip), host.check)
        method = replace(method, windowing=plan.semantic.windowing)
    return album.result


@dataclass
class _Album:
    """Images on their way; those before `done` are finished and end with a shot."""

    images: Tensor
    result: Tensor
    wish: Wish
    network: Network
    host: Host
    done: int = 0

    def restore(self, plan: Plan, method: Method) -> bool:
        """Do what is left; False when memory ran out."""
        arrange(self.network, plan)
        meter = Meter(self.host, len(self.images), self.done)
        try:
            for number, shot in enumerate(self._shots(method), start=1):
                if shot.first >= self.done:
                    meter.begin_shot(number)
                    self._restore_shot(shot, plan, method, meter)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _shots(self, method: Method) -> ShotStream:
        return ShotStream(batches_of(self.images), method.windowing.is_pictures)

    def _restore_shot(self, shot: Shot, plan: Plan, method: Method, meter: Meter) -> None:
        place = shot.first
        for piece in restore_shot(self.network, shot.frames, place, method, streams_of(plan.neutral), self.host.check):
            done = join_opacity(finish_piece(piece, method, self.wish))
            self.result[place : place + len(done)] = done
            place += len(done)
            meter.advance(piece.restored)
        self.done = place


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
