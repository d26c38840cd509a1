"""Where a hosted result lies in the picture it should be: the service crops both sides to a multiple of 16.

The hosted workflow brings the short side to `new_resolution`, cuts the long side to whole pixels, then crops centrally.
Whether the service really does so is only seen on a result, so `place` takes the size that came.
"""

from __future__ import annotations

from dataclasses import dataclass

from .schema import SIDE_STEP

MOST_DISTORTION = 0.02  # how far the shape of a result may be from the source's, beyond what cropping explains


@dataclass(frozen=True)
class Placement:
    """The result covers [left, left + width) × [top, top + height) of a picture of full_width × full_height pixels."""

    full_width: int
    full_height: int
    left: int
    top: int
    width: int
    height: int

    @property
    def is_whole(self) -> bool:
        return (self.width, self.height) == (self.full_width, self.full_height)


def hosted_size(source: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(width, height) before cropping: the short side as asked, the long one in proportion, rounded down."""
    width, height = source
    long_side = int(short_side * max(source) / min(source))
    return (short_side, long_side) if width <= height else (long_side, short_side)


def place(source: tuple[int, int], short_side: int, result: tuple[int, int]) -> Placement | None:
    """Where a result of that size lies; None when its shape is not the source's."""
    width, height = result
    if min(result) < 1:
        return None
    full = _full_size(source, short_side, result)
    crop = (full[0] - width, full[1] - height)
    if not all(0 <= one < SIDE_STEP for one in crop):
        return None
    return Placement(*full, round(crop[0] / 2), round(crop[1] / 2), width, height)


def _full_size(source: tuple[int, int], short_side: int, result: tuple[int, int]) -> tuple[int, int]:
    """The uncropped size the result was cut from: as expected, or, when it has another scale, its own."""
    expected = hosted_size(source, short_side)
    if all(0 <= whole - cut < SIDE_STEP for whole, cut in zip(expected, result, strict=True)):
        return expected
    distortion = (result[0] / result[1]) / (source[0] / source[1])
    return result if abs(distortion - 1) <= MOST_DISTORTION else (0, 0)
