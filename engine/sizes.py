"""Which size the result gets: whole, even pixels, decided before anything is allocated. Integers and fractions only."""

from __future__ import annotations

from fractions import Fraction

from .errors import BadSize

MOST_LONG_SIDE = 8192  # pixels; beyond it players, encoders and browsers give up
MOST_PIXELS = 64_000_000
FINEST_SCALE = 10_000  # denominators of scale factors: 1.15 means 115/100, not its binary neighbour

SIZE_MODES = ("short side", "long side", "width", "height", "scale")


def target_size(
    source: tuple[int, int],
    *,
    size_by: str = "short side",
    resolution: int = 1080,
    scale: float = 2.0,
    max_long_side: int = 0,
) -> tuple[int, int]:
    """(height, width) of the result for a source (height, width): shape kept, sides even, limits of this pack held.

    The side that resolution names is it, or the even number above; max_long_side 0 is no limit. Raises BadSize.
    """
    factor = enlargement(source, size_by, resolution, scale)
    long_side = even(max(source) * factor)
    if max_long_side and long_side > max_long_side:
        factor = Fraction(max(2, max_long_side // 2 * 2), max(source))
    height, width = (even(side * factor) for side in source)
    check_size(height, width)
    return height, width


def check_wish(size_by: str, resolution: int, max_long_side: int) -> None:
    """Refuse settings whose result would be too large whatever the source. Raises BadSize."""
    if size_by == "short side":  # a square has the smallest long side
        target_size((resolution, resolution), size_by=size_by, resolution=resolution, max_long_side=max_long_side)


def enlargement(source: tuple[int, int], size_by: str, resolution: int, scale: float) -> Fraction:
    """The exact factor that these settings ask for. Raises BadSize when they make no sense."""
    height, width = source
    if min(source) < 1:
        raise BadSize(f"Got a source of {width} × {height} pixels, expected at least 1 × 1. Is the clip readable?")
    if size_by == "scale":
        if not 0 < scale < float("inf"):
            raise BadSize(f"Got scale {scale}, expected a positive number. 2 doubles width and height.")
        return Fraction(scale).limit_denominator(FINEST_SCALE)
    sides = {"short side": min(source), "long side": max(source), "width": width, "height": height}
    if size_by not in sides:
        raise BadSize(f"Got size_by {size_by!r}, expected one of {', '.join(SIZE_MODES)}.")
    if resolution < 1:
        raise BadSize(f"Got resolution {resolution}, expected at least 1 pixel; 1080 is usual.")
    return Fraction(even(Fraction(resolution)), sides[size_by])


def even(length: Fraction) -> int:
    """The nearest even number of pixels, the larger of two equally near, at least 2."""
    return max(2, 2 * int((length + 1) // 2))


def check_size(height: int, width: int) -> None:
    """Refuse results that are larger than what this pack promises."""
    if max(height, width) <= MOST_LONG_SIDE and height * width <= MOST_PIXELS:
        return
    raise BadSize(
        f"The result would be {width} × {height} pixels ({height * width / 1e6:.1f} megapixels); at most "
        f"{MOST_LONG_SIDE} on the long side and {MOST_PIXELS // 1_000_000} megapixels can be made. "
        "Lower new_resolution or scale, or set max_long_side."
    )
