"""Frames that were restored elsewhere, brought to what a run here would give: exact size, colour, strength, timing.

A service may crop its result to a multiple of 16; the missing border is the source's own picture, enlarged, and the
restored picture fades into it over a few pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import media
from .abreast import in_order
from .colour import transfer_planes
from .errors import BadSize
from .host import Host, Meter
from .quantize import HIGHEST_CODE, to_codes, to_float
from .resize import blend, resize, resize_planes
from .scratch import Scratch
from .wish import Wish
from .work import SDR

Item = TypeVar("Item")
FEATHER = 8  # pixels over which a cropped result fades into the border that was not restored


@dataclass(frozen=True)
class Inset:
    """The restored picture covers `size` from (top, left) of a picture of `full`; all (height, width)."""

    full: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    @property
    def is_whole(self) -> bool:
        """True when nothing is missing."""
        return self.size == self.full

    def of(self, planes: Tensor) -> Tensor:
        """The view of a full picture's planes [C, H, W] that the restored picture covers."""
        height, width = self.size
        return planes[:, self.top : self.top + height, self.left : self.left + width]


@dataclass(frozen=True)
class Finish:
    """How restored frames become the result of a wish: where they lie, and the result's (height, width)."""

    inset: Inset
    target: tuple[int, int]
    wish: Wish
    scratch: Scratch = field(default_factory=Scratch, compare=False, repr=False)

    def frame(self, restored: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Restored [h,w,3] and its source frame [H,W,3], SDR codes both → uint16 [*target, 3].

        Computed plane after plane in memory; several threads may call at once.
        """
        if restored.shape[:2] != self.inset.size:
            got = f"{restored.shape[1]} × {restored.shape[0]}"
            raise BadSize(f"Got restored frames of {got}, expected {self.inset.size[1]} × {self.inset.size[0]}.")
        own = to_float(source).permute(2, 0, 1)
        reference = resize_planes(own, *self.inset.full)
        picture = self._whole_picture(restored, reference, source.shape[:2])
        if self.inset.full != self.target:
            picture = resize_planes(picture, *self.target)
            reference = resize_planes(own, *self.target) if self.wish.strength < 1 else picture
        return codes_of(blend(pixels(picture), pixels(reference), self.wish.strength)[0])

    def _whole_picture(self, restored: np.ndarray, reference: Tensor, source_size: tuple[int, ...]) -> Tensor:
        """The restored picture [3, *full] with the source's colours, and the source around it where it was cropped."""
        inner = self.inset.of(reference)
        codes = torch.from_numpy(restored)
        content = self.scratch.of("content", inner.shape).copy_(codes.permute(2, 0, 1)).div_(HIGHEST_CODE[codes.dtype])
        wanted = self.scratch.of("wanted", inner.shape).copy_(inner)
        height, width = (
            max(1, round(source * size / full))
            for source, size, full in zip(source_size, self.inset.size, self.inset.full, strict=True)
        )
        coloured = transfer_planes(content, wanted, self.wish.color_correction, (height, width))
        if self.inset.is_whole:
            return coloured
        whole = reference if self.wish.strength == 1 else reference.clone()
        self.inset.of(whole).lerp_(coloured, self.weights)
        return whole

    @cached_property
    def weights(self) -> Tensor:
        """How much of the restored picture is shown [h, w]: all but near the sides where something is missing."""
        after = [full - size - before for full, size, before in
                 zip(self.inset.full, self.inset.size, (self.inset.top, self.inset.left), strict=True)]  # fmt: skip
        rows = ramp(self.inset.size[0], self.inset.top, after[0])
        columns = ramp(self.inset.size[1], self.inset.left, after[1])
        return torch.minimum(rows[:, None], columns[None])


def pixels(planes: Tensor) -> Tensor:
    """Planes [C, H, W] seen as one frame [1, H, W, C]."""
    return planes.permute(1, 2, 0)[None]


def codes_of(frame: Tensor) -> np.ndarray:
    """A frame [H, W, C] in 0..1 as uint16 codes; a plane at a time, since that is how they lie in memory."""
    codes = np.empty(frame.shape, np.uint16)
    for channel in range(frame.shape[-1]):
        plane = frame[None, ..., channel, None]
        codes[..., channel] = to_codes(plane, torch.uint16).numpy()[0, ..., 0]
    return codes


def ramp(length: int, missing_before: int, missing_after: int) -> Tensor:
    """Weights [length] that rise from a side where pixels are missing; 1 elsewhere."""
    weights = torch.ones(length)
    rising = (torch.arange(min(FEATHER, length)) + 1) / (FEATHER + 1)
    if missing_before:
        weights[: len(rising)] = rising
    if missing_after:
        weights[-len(rising) :] = torch.minimum(weights[-len(rising) :], rising.flip(0))
    return weights


def finished_batches(
    pairs: Iterable[tuple[np.ndarray, ...]], finish: Finish, meter: Meter
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches for media.write of (restored, source, pts, opacity if any), in order; one frame each.

    Frames are finished by a few threads; a result does not depend on their number. `meter` hears of each on the
    caller's thread, and may stop it.
    """

    def one(frame: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        restored, source, pts, *opacity = frame
        codes = finish.frame(restored[0], source[0])[None]
        if not opacity:
            return codes, pts
        enlarged = resize(torch.from_numpy(opacity[0])[..., None], *finish.target)
        return codes, pts, codes_of(enlarged[0])[None, ..., 0]

    for batch in in_order(one, checked(pairs, meter.host)):
        meter.host.check()
        meter.advance(torch.from_numpy(batch[0]))
        yield batch


def checked(items: Iterable[Item], host: Host) -> Iterator[Item]:
    """The items, with a look at whether to stop before each."""
    for item in items:
        host.check()
        yield item


@dataclass(frozen=True)
class Made:
    """The joined file."""

    path: Path
    frames: int
    rate: Fraction
    notes: tuple[str, ...]


def write_result(
    path: Path, pairs: Iterable[tuple[np.ndarray, ...]], reader: media.Reader, finish: Finish, host: Host
) -> Made:
    """Write finished frames with the exact stamps, sound and tags of the reader's clip.

    `pairs` are (restored, source, pts, opacity if any) of a frame each, the source read through `reader`. The file
    exists only when it is whole. Raises MediaError, EngineError and whatever `host.check` raises.
    """
    meter = Meter(host, reader.expected)
    meter.begin_shot(1)
    info = reader.info
    written = media.write(
        path,
        finished_batches(pairs, finish, meter),
        time_base=reader.time_base,
        encoding=media.Encoding("intermediate"),
        picture=media.Picture(SDR, reader.sample_aspect, reader.rate),
        sound=media.Sound(info.path, info.audio, info.start + reader.start),
        tagging=media.Tagging(info, reader.start, info.workflow),
    )
    notes = (*map(str, reader.losses), *reader.notes, *written.notes)
    return Made(written.path, written.frames, reader.rate, notes)
