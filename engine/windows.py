"""Which latents of a shot the transformer sees together, and how its answers become one.

Neighbouring windows share latents, and both answers for a shared latent are mixed, so that no boundary shows; a shot's
first and last windows share nothing with other shots. The plan of a shot is the same however its latents arrive: all
windows are full but the last few, which are balanced so that none is a mere rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.errors import BadInput
from ..models.vae_config import TEMPORAL_FACTOR

MOST_SHARED = 2  # latents; measured to remove four fifths of the jump that a boundary without shared ones leaves
BALANCED = 3  # windows at the end of equal length but for one latent; with 3 a full length of 6 never drops below 5
PICTURES = 0  # window length that means: each frame by itself, as a photo


@dataclass(frozen=True)
class Windowing:
    """Semantic choice: latents in a full window and latents that neighbours share."""

    length: int
    shared: int

    @property
    def is_pictures(self) -> bool:
        """Whether each frame is restored by itself."""
        return self.length == PICTURES

    @property
    def frames(self) -> int:
        """Frames of a full window at the start of a shot."""
        return 1 if self.is_pictures else TEMPORAL_FACTOR * (self.length - 1) + 1

    @property
    def look_ahead(self) -> int:
        """Latents that must have arrived before a full window is certain to belong to the plan."""
        return self.length + (BALANCED - 1) * (self.length - self.shared) + 1


@dataclass(frozen=True)
class Window:
    """Latents start..stop−1 of a shot, with how many of them the neighbours restore too."""

    start: int
    stop: int
    shared_before: int
    shared_after: int

    @property
    def length(self) -> int:
        """Latents in the window."""
        return self.stop - self.start


def windowing_for(batch_size: int) -> tuple[Windowing, str | None]:
    """Windows of at least `batch_size` frames (≥ 1; 1: pictures), and a remark when 4m+1 frames had to be more.

    Raises BadInput for less than 1.
    """
    if batch_size < 1:
        raise BadInput(f"batch_size is {batch_size}: expected 1 (pictures) or more frames per window.")
    if batch_size == 1:
        return Windowing(PICTURES, 0), None
    latents = 1 + math.ceil((batch_size - 1) / TEMPORAL_FACTOR)
    windowing = windowing_of(latents)
    if windowing.frames == batch_size:
        return windowing, None
    return windowing, f"batch_size {batch_size} works as {windowing.frames}: a window holds 4m+1 frames."


def windowing_of(latents: int) -> Windowing:
    """Windows of so many latents (≥ 1), sharing what their shorter last ones can: at most half of each."""
    if latents < 1:
        raise BadInput(f"a window of {latents} latents: at least 1 is needed.")
    return Windowing(latents, min(MOST_SHARED, (latents + 1) // 3))


def plan_windows(latents: int, windowing: Windowing) -> tuple[Window, ...]:
    """All windows of a shot of `latents` latents; they cover it in order, neighbours share `windowing.shared`."""
    feed = WindowFeed(windowing)
    return (*feed.arrive(latents), *feed.end())


class WindowFeed:
    """The same plan while the length of the shot is still unknown: windows come out as soon as they are certain."""

    def __init__(self, windowing: Windowing) -> None:
        _check(windowing)
        self._windowing = windowing
        self._arrived = 0
        self._start = 0  # of the next window

    def arrive(self, latents: int) -> list[Window]:
        """Take note of `latents` more; returns the full windows that are certain now."""
        self._arrived += latents
        certain = []
        while self._arrived - self._start >= self._windowing.look_ahead:
            stop = self._start + self._windowing.length
            certain.append(self._window(self._start, stop, self._windowing.shared))
            self._start = stop - self._windowing.shared
        return certain

    def end(self) -> list[Window]:
        """The shot has ended: returns the last windows."""
        rest = self._arrived - self._start
        shared, step = self._windowing.shared, self._windowing.length - self._windowing.shared
        count = max(1, math.ceil((rest - shared) / step)) if rest else 0
        windows, start = [], self._start
        for number in range(count):
            length = (rest + (count - 1) * shared + count - 1 - number) // count  # longer ones first
            last = number == count - 1
            windows.append(self._window(start, start + length, 0 if last else shared))
            start += length - shared
        return windows

    def _window(self, start: int, stop: int, shared_after: int) -> Window:
        return Window(start, stop, self._windowing.shared if start else 0, shared_after)


class Stitcher:
    """Mixes the answers of windows, one after another, into the latents of one shot."""

    def __init__(self) -> None:
        self._held: Tensor | None = None  # the last window's answer for the latents it shares with the next

    def push(self, window: Window, restored: Tensor) -> Tensor:
        """Restored latents [B,16,T,h,w] of the next window → those that no later window changes.

        The first window pushed may lie inside a shot (a resumed one): its shared latents are then only its own.
        """
        if restored.shape[2] != window.length:
            raise BadInput(f"{restored.shape[2]} latents for a window of {window.length}.")
        if self._held is not None:
            mixed = mix(self._held, restored[:, :, : window.shared_before])
            restored = torch.cat([mixed, restored[:, :, window.shared_before :]], dim=2)
        ready = window.length - window.shared_after
        self._held = restored[:, :, ready:].clone() if window.shared_after else None
        return restored[:, :, :ready]


def mix(ending: Tensor, beginning: Tensor) -> Tensor:
    """Two windows' answers [B,16,M,h,w] for the latents they share, the ending one's weight falling as a cosine."""
    weights = ending.new_tensor(fading_weights(ending.shape[2])).view(1, 1, -1, 1, 1)
    return torch.lerp(beginning, ending, weights)


def fading_weights(shared: int) -> list[float]:
    """Weights of the ending window on each shared latent, strictly between 1 and 0; the other has the rest."""
    return [0.5 + 0.5 * math.cos(math.pi * place / (shared + 1)) for place in range(1, shared + 1)]


def _check(windowing: Windowing) -> None:
    """A latent may lie in two windows at most, also where the last ones are shorter."""
    length, shared = windowing.length, windowing.shared
    if length < 1 or shared < 0 or (shared and length < 3 * shared - 1):
        raise BadInput(
            f"windows of {length} latents sharing {shared}: expected a length of at least {max(1, 3 * shared - 1)}."
        )
