"""How different two pictures are, told from thumbnails: by colour, by places, after motion, and by structure alone.

Thumbnails are 36 × 64 whatever the shape of the picture: averaging removes grain, and all limits are in 8-bit levels.
They are small integers in numpy, so that results are exact and no thread pool is woken for so little work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from .errors import BadFrames

ROWS, COLUMNS = 36, 64
STEPS = 16  # of a thumbnail's integers in one 8-bit level
SAMPLES = 8  # rows and columns of the source read for one of the thumbnail: enough to average grain
BLOCK_ROWS, BLOCK_COLUMNS = 9, 8  # of the motion search
REACH_ROWS, REACH_COLUMNS = 6, 8  # of the motion search: an eighth of the picture each way
PAN_ROWS, PAN_COLUMNS = 6, 18  # of the search for a pan, in halved thumbnails: up to half of the picture's width
TURN_ROWS, TURN_COLUMNS = 2, 4  # the same when a scene is to be recognised
CELLS_DOWN, CELLS_ACROSS = 3, 4  # of the histogram
LEVELS = 4  # of the histogram, per colour
LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
STILL = 3.0  # mean difference, exposed, below which nobody needs to search for motion
WELL_LIT = 160.0  # span of levels that faint pictures are stretched to before limits apply
MOST_EXPOSURE = 8.0  # beyond it noise would be seen
DARK_SHARE, BRIGHT_SHARE = 0.02, 0.98  # of the pixels, where a picture's span of levels begins and ends


@dataclass(frozen=True)
class Thumbnail:
    """One picture, [3,36,64] int16 in sixteenths of a level, with what is asked of it more than once."""

    colours: np.ndarray

    @cached_property
    def luma(self) -> np.ndarray:
        """[36,64] in levels."""
        return np.tensordot(np.asarray(LUMA, np.float32), self.colours, 1) / STEPS

    @cached_property
    def half(self) -> np.ndarray:
        """[3,18,32] in levels."""
        return halved(self.colours) / STEPS

    @cached_property
    def mean(self) -> float:
        """Mean luma."""
        return float(self.luma.mean())

    @cached_property
    def contrast(self) -> float:
        """Standard deviation of luma."""
        return float(self.luma.std())

    @cached_property
    def span(self) -> tuple[float, float]:
        """Luma of the dark and of the bright parts."""
        ordered = np.sort(self.luma, axis=None)
        return float(ordered[int(DARK_SHARE * ordered.size)]), float(ordered[int(BRIGHT_SHARE * ordered.size)])


def thumbnails(frames: np.ndarray | Tensor) -> list[Thumbnail]:
    """Thumbnails of frames [T,H,W,3], uint8 or floats in 0..1; raises BadFrames for anything else."""
    batch = torch.as_tensor(frames)
    if batch.ndim != 4 or batch.shape[3] != 3 or not batch.shape[1] * batch.shape[2]:
        raise BadFrames(f"frames of shape {list(batch.shape)}: expected [T, H, W, 3].")
    if batch.dtype != torch.uint8 and not batch.is_floating_point():
        raise BadFrames(f"frames of {batch.dtype}: expected uint8, or floats in 0..1.")
    down, across = max(1, batch.shape[1] // (SAMPLES * ROWS)), max(1, batch.shape[2] // (SAMPLES * COLUMNS))
    scale = STEPS if batch.dtype == torch.uint8 else 255 * STEPS
    sampled = batch[:, ::down, ::across].permute(0, 3, 1, 2).to("cpu", torch.float32)
    small = (F.adaptive_avg_pool2d(picture, (ROWS, COLUMNS)) * scale for picture in sampled)
    return [Thumbnail(colours.clamp(0, 255 * STEPS).round().to(torch.int16).numpy()) for colours in small]


def exposure(a: Thumbnail, b: Thumbnail) -> float:
    """≥ 1: factor that stretches two dark or faint pictures to the span of well-lit ones."""
    low, high = min(a.span[0], b.span[0]), max(a.span[1], b.span[1])
    return min(MOST_EXPOSURE, max(1.0, WELL_LIT / max(1.0, high - low)))


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference in place."""
    return float(np.abs(a.colours - b.colours).mean()) / STEPS


def repainting(a: Thumbnail, b: Thumbnail) -> float:
    """0..1: share of the picture whose coarse colour is new in its cell."""
    gain, low = exposure(a, b), min(a.span[0], b.span[0])
    offset = low if gain > 1 else 0.0
    return 1 - float(np.minimum(_histogram(a, offset, gain), _histogram(b, offset, gain)).sum(1).mean())


def moved_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference of b from its blocks' best matches in a: what motion does not explain."""
    if (still := difference(a, b)) * exposure(a, b) < STILL:
        return still
    wider = np.pad(a.colours, ((0, 0), (REACH_ROWS, REACH_ROWS), (REACH_COLUMNS, REACH_COLUMNS)), mode="edge")
    target = b.colours[:, :, None]  # colour, y, 1, x
    rows = (_nearest_blocks(wider[:, row : row + ROWS], target) for row in range(2 * REACH_ROWS + 1))
    return float(np.minimum.reduce(list(rows)).sum()) / (STEPS * a.colours.size)


def panned_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference where a and b overlap, after the one shift of the whole picture that suits best."""
    return min(float(np.abs(x - y).mean()) for x, y in overlaps(a.half, b.half, PAN_ROWS, PAN_COLUMNS))


def structure(a: Thumbnail, b: Thumbnail) -> float:
    """−1..1: correlation of luma after the best small shift; blind to brightness, contrast and colour."""
    pairs = overlaps(halved(a.luma[None]), halved(b.luma[None]), TURN_ROWS, TURN_COLUMNS)
    return max(correlation(*pair) for pair in pairs)


def overlaps(a: np.ndarray, b: np.ndarray, rows: int, columns: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of equal parts of a and b [C,H,W] under every shift up to so many rows and columns."""
    for y in range(-rows, rows + 1):
        for x in range(-columns, columns + 1):
            yield _shifted(a, y, x), _shifted(b, -y, -x)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-3 else 0.0


def halved(planes: np.ndarray) -> np.ndarray:
    """[C,H,W] → [C,H/2,W/2] means, float32."""
    return planes.reshape(len(planes), planes.shape[1] // 2, 2, -1, 2).mean((2, 4), dtype=np.float32)


def _histogram(picture: Thumbnail, low: float, gain: float) -> np.ndarray:
    """[cells, colours] share of each coarse colour in each cell of the picture, after low and gain."""
    levels = (picture.colours / STEPS - low) * (gain * LEVELS / 256)
    red, green, blue = levels.clip(0, LEVELS - 1).astype(np.int64)
    code = (red * LEVELS + green) * LEVELS + blue
    cells = code.reshape(CELLS_DOWN, ROWS // CELLS_DOWN, CELLS_ACROSS, COLUMNS // CELLS_ACROSS).swapaxes(1, 2)
    cells = cells.reshape(CELLS_DOWN * CELLS_ACROSS, -1)
    number = np.arange(len(cells))[:, None] * LEVELS**3 + cells
    counts = np.bincount(number.ravel(), minlength=len(cells) * LEVELS**3)
    return counts.reshape(len(cells), -1) / cells.shape[1]


def _nearest_blocks(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[blocks down, blocks across] sum of differences at the best of all sideways shifts."""
    apart = np.abs(sliding_window_view(rows, COLUMNS, axis=2) - target)  # colour, y, shift, x
    apart = apart[0] + apart[1] + apart[2]  # at most 3 · 255 · 16: fits
    down = apart.reshape(ROWS // BLOCK_ROWS, BLOCK_ROWS, -1, COLUMNS).sum(1, dtype=np.int32)
    return down.reshape(*down.shape[:2], -1, BLOCK_COLUMNS).sum(3).min(1)


def _shifted(a: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = a.shape[1:]
    return a[:, max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
