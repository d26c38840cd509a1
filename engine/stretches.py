"""A shot's restored pieces kept as stretches: each a segment, the latents the next one needs, and a line of the job."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import media
from .finish import finish_piece
from .job import Job, Stretch
from .quantize import to_codes
from .restore import Method, Piece, Start, latents_in
from .tone import to_sdr
from .wish import Wish

STRETCH_LATENTS = 60  # 240 frames: what a stop or a crash can cost at most
LATENTS = "latents"  # folder of a job
KEY = "restored"
POSTER, POSTER_SIDE = "poster.jpg", 320  # file of a job, pixels


@dataclass(frozen=True)
class Keeping:
    """Where finished work goes, and how it is finished."""

    job: Job
    folder: media.SegmentFolder
    wish: Wish
    stretch: int = STRETCH_LATENTS  # pieces a segment


class Keeper:
    """Takes one shot's pieces from its start on; made to run on a thread of its own."""

    def __init__(self, keeping: Keeping, method: Method, shot: int, start: Start, field: int) -> None:
        self._keeping, self._method, self._shot = keeping, method, shot
        self._first = shot + start.frame
        self._tail: deque[Tensor] = deque(maxlen=field)
        if start.restored is not None:
            self._tail.extend(start.restored.split(1, dim=2))
        self._frames, self._ends = 0, False

    def keep(self, pieces: Iterator[Piece]) -> None:
        """Write and record stretch after stretch until the pieces end."""
        job, folder = self._keeping.job, self._keeping.folder
        for piece in pieces:
            index = len(job.stretches)
            self._frames = 0
            folder.write(index, self._stretch(piece, pieces))
            latents = "" if self._ends or not self._tail else self._save_latents(index)
            job.record(Stretch(self._shot, self._first, self._frames, self._ends, latents))
            self._first += self._frames
            self._drop_latents(index)

    def _stretch(self, piece: Piece, pieces: Iterator[Piece]) -> Iterator[tuple[np.ndarray, ...]]:
        """The first piece and those that follow, finished, until the stretch is full or the shot over."""
        for count in range(1, self._keeping.stretch + 1):
            batch = finish_piece(piece, self._method, self._keeping.wish)
            self._frames += len(piece.sources)
            self._ends = piece.is_last
            if piece.latent is not None:
                self._tail.append(piece.latent)
            self._make_poster(batch[0][-1])
            yield batch
            following = None if self._ends or count == self._keeping.stretch else next(pieces, None)
            if following is None:
                return
            piece = following

    def _save_latents(self, index: int) -> str:
        from safetensors.torch import save

        name = f"{LATENTS}/{index:05d}.safetensors"
        path = self._keeping.job.folder / name
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        try:
            part.write_bytes(save({KEY: torch.cat(list(self._tail), dim=2).contiguous()}))
            os.replace(part, path)
        except OSError as error:
            raise media.WriteFailed(f"{path} cannot be written: {error.strerror}. Make room there.") from error
        return name

    def _drop_latents(self, index: int) -> None:
        """Those of earlier stretches: the last ones hold all that is needed."""
        for stretch in self._keeping.job.stretches[:index]:
            if stretch.latents:
                (self._keeping.job.folder / stretch.latents).unlink(missing_ok=True)

    def _make_poster(self, frame: np.ndarray) -> None:
        """The run's first finished frames become the picture it is shown by."""
        if self._keeping.job.facts.poster:
            return
        with contextlib.suppress(OSError):  # a list without it is no reason to stop
            shown = sdr_of(frame, self._method) if self._method.keeps_hdr else frame
            write_poster(shown, self._keeping.job.folder / POSTER)
            self._keeping.job.facts.poster = POSTER


def sdr_of(frame: np.ndarray, method: Method) -> np.ndarray:
    """An HDR frame uint16 [H,W,3] as an ordinary screen shows it."""
    return to_codes(to_sdr(torch.from_numpy(frame[None]), method.curve), torch.uint16)[0].numpy()


def write_poster(frame: np.ndarray, path: Path) -> None:
    """A small JPEG of a frame uint16 [H,W,3]."""
    from PIL import Image

    picture = Image.fromarray((frame >> 8).astype(np.uint8))
    picture.thumbnail((POSTER_SIDE, POSTER_SIDE))
    picture.save(path, quality=85)


def start_of(job: Job, shot: int, method: Method, field: int) -> Start:
    """Where work on a shot goes on. What is done of it is forgotten when its latents cannot be read."""
    done = job.of_shot(shot)
    frames = sum(stretch.frames for stretch in done)
    if not done:
        return Start()
    if method.windowing.is_pictures:
        return Start(frame=frames)
    restored = read_latents(job.folder / done[-1].latents)
    latents = latents_in(frames)
    if restored is None or restored.shape[2] < min(field, latents):
        job.forget(shot)
        return Start()
    return Start(latents, frames, restored)


def read_latents(path: Path) -> Tensor | None:
    """Latents [1,16,T,h,w] as a Keeper saved them; None when they are gone or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)[KEY]
    except (OSError, SafetensorError, KeyError):
        return None
