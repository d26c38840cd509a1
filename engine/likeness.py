"""How different two pictures are, told from thumbnails: by colour, by places, after motion, and by structure alone.

Thumbnails are 36 × 64 whatever the shape of the picture: averaging removes grain, and all limits are in 8-bit levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.errors import BadInput

ROWS, COLUMNS = 36, 64
SAMPLES = 8  # rows and columns of the source read for one of the thumbnail: enough to average grain
BLOCK_ROWS, BLOCK_COLUMNS = 9, 8  # of the motion search
REACH_ROWS, REACH_COLUMNS = 6, 8  # of the motion search: an eighth of the picture each way
WIDE_ROWS, WIDE_COLUMNS = 12, 36  # of the search for a pan: more than half of the picture's width
HISTOGRAM_CELLS = (3, 4)  # down and across
LEVELS = 4  # of the histogram, per colour
LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
STILL = 3.0  # mean difference, exposed, below which nobody needs to search for motion
WELL_LIT = 160.0  # level that the brighter of two pictures is raised to before limits apply
MOST_EXPOSURE = 8.0  # beyond it noise would be seen
HIGHLIGHTS = 0.98  # share of a picture that is darker than its bright parts
PAN_REACH = (4, 8)  # rows and columns a picture may have moved and still be recognised by structure


@dataclass(frozen=True)
class Thumbnail:
    """One picture, [36,64,3] in 0..255, with what is asked of it more than once."""

    colours: Tensor

    @cached_property
    def luma(self) -> Tensor:
        """[36,64]."""
        return self.colours @ self.colours.new_tensor(LUMA)

    @cached_property
    def mean(self) -> float:
        """Mean luma."""
        return float(self.luma.mean())

    @cached_property
    def contrast(self) -> float:
        """Standard deviation of luma."""
        return float(self.luma.std())

    @cached_property
    def highlights(self) -> float:
        """Luma of the bright parts."""
        return float(self.luma.flatten().kthvalue(int(HIGHLIGHTS * ROWS * COLUMNS)).values)

    def histogram(self, exposure: float) -> Tensor:
        """[cells, colours] share of each coarse colour in each cell of the picture."""
        down, across = HISTOGRAM_CELLS
        steps = (self.colours * (exposure * LEVELS / 256)).long().clamp(0, LEVELS - 1)
        code = steps[..., 0] * LEVELS**2 + steps[..., 1] * LEVELS + steps[..., 2]
        cells = code.view(down, ROWS // down, across, COLUMNS // across).permute(0, 2, 1, 3).reshape(down * across, -1)
        return F.one_hot(cells, LEVELS**3).float().mean(1)


def thumbnails(frames: np.ndarray | Tensor) -> list[Thumbnail]:
    """Thumbnails of frames [T,H,W,3], uint8 or floats in 0..1; raises BadInput for anything else."""
    batch = torch.as_tensor(frames)
    if batch.ndim != 4 or batch.shape[3] != 3 or not batch.shape[1] * batch.shape[2]:
        raise BadInput(f"frames of shape {list(batch.shape)}: expected [T, H, W, 3].")
    if batch.dtype != torch.uint8 and not batch.is_floating_point():
        raise BadInput(f"frames of {batch.dtype}: expected uint8, or floats in 0..1.")
    down, across = max(1, batch.shape[1] // (SAMPLES * ROWS)), max(1, batch.shape[2] // (SAMPLES * COLUMNS))
    sampled = batch[:, ::down, ::across].permute(0, 3, 1, 2).to("cpu", torch.float32)
    if batch.is_floating_point():
        sampled = sampled * 255
    small = (F.adaptive_avg_pool2d(picture, (ROWS, COLUMNS)) for picture in sampled)
    return [Thumbnail(colours.permute(1, 2, 0).contiguous()) for colours in small]


def exposure(a: Thumbnail, b: Thumbnail) -> float:
    """≥ 1: factor that brings two dark pictures to the brightness of well-lit ones."""
    return min(MOST_EXPOSURE, max(1.0, WELL_LIT / max(1.0, a.highlights, b.highlights)))


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference in place."""
    return float((a.colours - b.colours).abs().mean())


def repainting(a: Thumbnail, b: Thumbnail) -> float:
    """0..1: share of the picture whose coarse colour is new in its cell."""
    gain = exposure(a, b)
    return 1 - float(torch.minimum(a.histogram(gain), b.histogram(gain)).sum(1).mean())


def moved_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference of b from its blocks' best matches in a: what motion does not explain."""
    if (still := difference(a, b)) * exposure(a, b) < STILL:
        return still
    reach = (REACH_COLUMNS, REACH_COLUMNS, REACH_ROWS, REACH_ROWS)
    wider = F.pad(a.colours.permute(2, 0, 1)[None], reach, mode="replicate")[0]
    target = b.colours.permute(2, 0, 1)[:, :, None]  # c, y, 1, x
    best = None
    for row in range(2 * REACH_ROWS + 1):
        shifted = wider[:, row : row + ROWS].unfold(2, COLUMNS, 1)  # c, y, shift, x
        apart = (shifted - target).abs().sum(0).unflatten(0, (-1, BLOCK_ROWS)).unflatten(3, (-1, BLOCK_COLUMNS))
        nearest = apart.sum((1, 4)).amin(1)  # rows of blocks, blocks
        best = nearest if best is None else torch.minimum(best, nearest)
    assert best is not None
    return float(best.sum()) / a.colours.numel()


def panned_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Mean absolute difference where a and b overlap, after the one shift of the whole picture that suits best."""
    coarse_a, coarse_b = (F.avg_pool2d(t.colours.permute(2, 0, 1), 2) for t in (a, b))
    return min(
        float((part_a - part_b).abs().mean())
        for part_a, part_b in overlaps(coarse_a, coarse_b, WIDE_ROWS // 2, WIDE_COLUMNS // 2)
    )


def structure(a: Thumbnail, b: Thumbnail) -> float:
    """−1..1: correlation of luma after the best small shift; blind to brightness, contrast and colour."""
    luma_a, luma_b = (F.avg_pool2d(t.luma[None], 2) for t in (a, b))
    rows, columns = PAN_REACH
    return max(correlation(*parts) for parts in overlaps(luma_a, luma_b, rows // 2, columns // 2))


def overlaps(a: Tensor, b: Tensor, rows: int, columns: int):
    """Pairs of equal parts of a and b [C,H,W] under every shift up to so many rows and columns."""
    for y in range(-rows, rows + 1):
        for x in range(-columns, columns + 1):
            yield _shifted(a, y, x), _shifted(b, -y, -x)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size > 1e-3 else 0.0


def _shifted(a: Tensor, rows: int, columns: int) -> Tensor:
    height, width = a.shape[1:]
    return a[:, max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
