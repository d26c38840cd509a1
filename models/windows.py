"""How a grid of tokens is cut into attention windows, and the order in which tokens lie so that windows are runs.

Windows hold about a ninth of a 720p frame each, whatever the size of the picture. Odd blocks shift them by half.
Everything here is plain integers; the tensors made from it are index tables on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise, product

import torch
from torch import Tensor

REFERENCE_AREA = 45 * 80  # tokens of the 720×1280 frame the model was trained with
LONGEST_CLIP = 30  # latent frames that still widen a window in time
WINDOWS_PER_AXIS = (4, 3, 3)  # t, y, x of the reference clip

Grid = tuple[int, int, int]  # tokens along t, y, x
Cuts = list[int]  # boundaries along one axis, from 0 to its length


@dataclass(frozen=True)
class Run:
    """Windows of equal size that lie one after another."""

    windows: int
    tokens: int  # of each window

    @property
    def length(self) -> int:
        """Tokens of all windows of the run."""
        return self.windows * self.tokens


@dataclass(frozen=True)
class Chunk:
    """Tokens start..stop, in window order, worked on together; always whole windows."""

    start: int
    stop: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Arrangement:
    """Tokens in window order: windows sorted by size, each t-major, then y, then x."""

    order: Tensor  # [N] position in the grid of each token
    place: Tensor  # [N, 3] t, y, x of each token inside its window
    extent: Tensor  # [N, 3] size of its window along t, y, x
    runs: tuple[Run, ...]

    @property
    def windows(self) -> int:
        """Number of windows of the grid."""
        return sum(run.windows for run in self.runs)


def window_size(grid: Grid) -> Grid:
    """Size of a full window for a token grid; round is half-to-even, as in the trained model."""
    t, y, x = grid
    scale = math.sqrt(REFERENCE_AREA / (y * x))
    per_t, per_y, per_x = WINDOWS_PER_AXIS
    return (
        math.ceil(min(t, LONGEST_CLIP) / per_t),
        math.ceil(round(y * scale) / per_y),
        math.ceil(round(x * scale) / per_x),
    )


def cuts(length: int, size: int, shifted: bool) -> Cuts:
    """Boundaries of the windows along one axis; shifted begins with half a window, unless one window covers it all."""
    first = size // 2 if shifted and size < length else 0
    return sorted({0, *range(first, length, size), length})


def partition(grid: Grid, shifted: bool) -> tuple[Cuts, Cuts, Cuts]:
    """Boundaries along t, y and x; the windows are all their combinations."""
    t, y, x = (cuts(length, size, shifted) for length, size in zip(grid, window_size(grid), strict=True))
    return t, y, x


def window_runs(grid: Grid, shifted: bool) -> tuple[Run, ...]:
    """Windows of a grid by size, smallest first: how many of how many tokens."""
    sizes = (math.prod(_extent(box)) for box in _sorted_boxes(grid, shifted))
    return tuple(Run(len(list(same)), tokens) for tokens, same in groupby(sizes))


def arrange(grid: Grid, shifted: bool) -> Arrangement:
    """Window order of a grid's tokens. Tables take a few dozen bytes per token."""
    windows = _sorted_boxes(grid, shifted)
    position = torch.arange(math.prod(grid)).reshape(grid)
    order = [position[tuple(slice(*span) for span in box)].reshape(-1) for box in windows]
    place = [_places(_extent(box)) for box in windows]
    extent = [torch.tensor(_extent(box)).expand(math.prod(_extent(box)), 3) for box in windows]
    return Arrangement(torch.cat(order), torch.cat(place), torch.cat(extent), window_runs(grid, shifted))


def chunks(runs: tuple[Run, ...], limit: int) -> list[Chunk]:
    """Cut the window order into pieces of whole windows with at most `limit` tokens (one window at least)."""
    pieces: list[Chunk] = []
    start, taken, held = 0, 0, []
    for run in runs:
        left = run.windows
        while left:
            fitting = min(left, max(limit - taken, 0) // run.tokens)
            if not fitting and held:
                pieces.append(Chunk(start, start + taken, tuple(held)))
                start, taken, held = start + taken, 0, []
                continue
            held.append(Run(max(fitting, 1), run.tokens))
            taken += held[-1].length
            left -= held[-1].windows
    return [*pieces, Chunk(start, start + taken, tuple(held))]


def _sorted_boxes(grid: Grid, shifted: bool) -> list[tuple[tuple[int, int], ...]]:
    """((t0, t1), (y0, y1), (x0, x1)) of every window, smallest first, then x outermost, t innermost."""
    t, y, x = (list(pairwise(axis)) for axis in partition(grid, shifted))
    boxes = [(span_t, span_y, span_x) for span_x, span_y, span_t in product(x, y, t)]
    return sorted(boxes, key=lambda box: math.prod(_extent(box)))


def _extent(box: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in box)


def _places(extent: tuple[int, ...]) -> Tensor:
    """[tokens, 3] t, y, x of each token of one window."""
    axes = torch.meshgrid(*(torch.arange(length) for length in extent), indexing="ij")
    return torch.stack(axes, dim=-1).reshape(-1, 3)
