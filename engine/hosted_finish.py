"""Frames that were restored elsewhere, brought to what a run here would give: exact size, colour, strength, timing.

A service may crop its result to a multiple of 16; the missing border is the source's own picture, enlarged, and the
restored picture fades into it over a few pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import media
from .colour import transfer
from .errors import BadSize
from .host import Host, Meter
from .quantize import to_codes, to_float
from .resize import blend, resize
from .wish import Wish
from .work import SDR

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

    def of(self, frames: Tensor) -> Tensor:
        """The view of full frames [T, H, W, C] that the restored picture covers."""
        height, width = self.size
        return frames[:, self.top : self.top + height, self.left : self.left + width]


@dataclass(frozen=True)
class Finish:
    """How restored frames become the result of a wish: where they lie, and the result's (height, width)."""

    inset: Inset
    target: tuple[int, int]
    wish: Wish

    def frames(self, restored: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Restored [T,h,w,3] and their source frames [T,H,W,3], SDR codes both → uint16 [T, *target, 3]."""
        if restored.shape[1:3] != self.inset.size:
            got = f"{restored.shape[2]} × {restored.shape[1]}"
            raise BadSize(f"Got restored frames of {got}, expected {self.inset.size[1]} × {self.inset.size[0]}.")
        source_size = (sources.shape[1], sources.shape[2])
        reference = resize(torch.from_numpy(sources), *self.inset.full)
        picture = self._whole_picture(to_float(restored), reference, source_size)
        if self.inset.full != self.target:
            picture = resize(picture, *self.target)
            reference = resize(torch.from_numpy(sources), *self.target)
        return to_codes(blend(picture, reference, self.wish.strength), torch.uint16).numpy()

    def _whole_picture(self, restored: Tensor, reference: Tensor, source_size: tuple[int, int]) -> Tensor:
        """The restored picture with the source's colours, and the source around it where it was cropped."""
        inner = self.inset.of(reference)
        covered = tuple(
            max(1, round(source * size / full))
            for source, size, full in zip(source_size, self.inset.size, self.inset.full, strict=True)
        )
        coloured = transfer(restored, inner, self.wish.color_correction, source_size=(covered[0], covered[1]))
        if self.inset.is_whole:
            return coloured
        whole = reference.clone()
        self.inset.of(whole).lerp_(coloured, self._weights()[..., None])
        return whole

    def _weights(self) -> Tensor:
        """How much of the restored picture is shown [h, w]: all but near the sides where something is missing."""
        after = [full - size - before for full, size, before in
                 zip(self.inset.full, self.inset.size, (self.inset.top, self.inset.left), strict=True)]  # fmt: skip
        rows = ramp(self.inset.size[0], self.inset.top, after[0])
        columns = ramp(self.inset.size[1], self.inset.left, after[1])
        return torch.minimum(rows[:, None], columns[None])


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
    """Batches for media.write of (restored, source, pts, opacity if any); `meter` hears of each, and may stop it."""
    for restored, sources, pts, *opacity in pairs:
        meter.host.check()
        codes = finish.frames(restored, sources)
        meter.advance(to_float(codes[:1]).expand(len(codes), -1, -1, -1))
        if not opacity:
            yield codes, pts
            continue
        enlarged = resize(torch.from_numpy(opacity[0]).unsqueeze(-1), *finish.target)
        yield codes, pts, to_codes(enlarged, torch.uint16).squeeze(-1).numpy()


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

    `pairs` are (restored, source, pts, opacity if any), the source read through `reader`. The file exists only when it
    is whole. Raises MediaError, EngineError and whatever `host.check` raises.
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
