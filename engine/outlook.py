"""What a run would make, said before it starts."""

from __future__ import annotations

from fractions import Fraction

from .. import media
from .sizes import target_size
from .upscale import BYTES_PER_PIXEL, Wish


def look_ahead(source: tuple[int, int], wish: Wish) -> tuple[int, int]:
    """(height, width) of the result for a source (height, width). Raises BadSize."""
    return target_size(
        source, size_by=wish.size_by, resolution=wish.new_resolution, scale=wish.scale, max_long_side=wish.max_long_side
    )


def plan_line(source: tuple[int, int], target: tuple[int, int], frames: int | None, rate: Fraction | None) -> str:
    """One line: sizes, frames, disk; and a warning where the result is smaller. source (width, height)."""
    width, height = source
    count = "frames of unknown number" if frames is None else f"{frames:,} frames"
    line = f"{width} × {height} → {target[1]} × {target[0]}, {count}"
    if rate is not None:
        line += f" at {float(rate):.3f} fps"
        line += f", up to {2 * BYTES_PER_PIXEL * target[0] * target[1] * frames / 1e9:.2f} GB on disk" if frames else ""
    if target[0] * target[1] < width * height:
        line += ". The result is smaller than the source: raise new_resolution to enlarge"
    return f"{line}."


def middle_of(reader: media.Reader, selection: media.Selection, seconds: float) -> media.Selection:
    """The part of a selection that lies in the middle of what the reader would deliver."""
    if reader.expected is None:
        return selection.trimmed(0, seconds, reader.info.rate)
    length = reader.expected / reader.rate
    start = max(Fraction(0), (length - Fraction(seconds)) / 2)
    return selection.trimmed(start, seconds, reader.info.rate)
