"""A clip's frames handed out shot by shot, as soon as they are known to belong to one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .shots import ShotFinder


@dataclass(frozen=True)
class Frame:
    """One source frame: pixels [H,W,3] in uint8 or uint16, its stamp, its opacity [H,W] if it has one."""

    pixels: np.ndarray
    pts: int
    alpha: np.ndarray | None = None


@dataclass(frozen=True)
class Shot:
    """Number of the first frame, and the frames. They end with the shot; the next shot can be had after that."""

    first: int
    frames: Iterator[Frame]


class Everything:
    """A finder that finds nothing: every frame belongs to the first shot at once."""

    settled = 0

    def push(self, frames: np.ndarray) -> list[int]:
        """No cut here."""
        self.settled += len(frames)
        return []

    def finish(self) -> list[int]:
        """Nor at the end."""
        return []


class ShotStream:
    """Iterator of shots over batches (frames, pts) or (frames, pts, alpha). Holds the finder's look-ahead of frames.

    `is_one`: all frames are one shot, where cuts do not matter.
    """

    def __init__(self, batches: Iterable[tuple[np.ndarray, ...]], is_one: bool = False) -> None:
        self._batches = iter(batches)
        self._finder = Everything() if is_one else ShotFinder()
        self._held: deque[Frame] = deque()
        self._next = 0  # number of the first frame held
        self._starts: deque[int] = deque()
        self._ended = False

    def __iter__(self) -> Iterator[Shot]:
        while self._fill():
            if self._starts and self._starts[0] == self._next:
                self._starts.popleft()
            frames = self._shot()
            yield Shot(self._next, frames)
            for _ in frames:  # what the caller left
                pass

    def _shot(self) -> Iterator[Frame]:
        while self._fill() and not (self._starts and self._starts[0] == self._next):
            self._next += 1
            yield self._held.popleft()

    def _fill(self) -> bool:
        """Read until the first frame held is settled; False at the end of the clip."""
        while not self._ended and self._finder.settled <= self._next:
            self._read()
        return bool(self._held)

    def _read(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._ended = True
            self._starts += self._finder.finish()
            return
        pixels, pts, *alpha = batch
        self._starts += self._finder.push(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))
        opacity = alpha[0] if alpha else [None] * len(pts)
        self._held += [Frame(*parts) for parts in zip(pixels, map(int, pts), opacity, strict=True)]
