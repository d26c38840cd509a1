"""How an HDR picture was graded (SMPTE ST 2086, CTA-861.3): read from a decoded frame, said again to an encoder.

Players use it to fit the picture to their screen. Encoders take it as text in their own spelling; where one cannot,
that is told.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction

import av
from av.sidedata.sidedata import SideData

from .description import Mastering

DISPLAY, LIGHT = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"  # PyAV's names of FFmpeg's two records
DISPLAY_RECORD = struct.Struct("=22i")  # ten fractions, then whether colours and luminance are given
LIGHT_RECORD = struct.Struct("=2I")
COLOUR_STEP, LUMINANCE_STEP = Fraction(1, 50_000), Fraction(1, 10_000)  # of x265 and x264: chromaticity, cd/m²
# encoder → its option, and its words for the display and for the light levels
WORDS = {
    "libx265": ("x265-params", "master-display", "max-cll"),
    "libx264": ("x264-params", "mastering-display", "cll"),
}


def mastering_of(frame: av.VideoFrame) -> Mastering | None:
    """What a frame says about its grading; None when it says nothing."""
    parts: Iterable[SideData] = frame.side_data  # pyright: ignore[reportAssignmentType]
    records = {part.type.name: bytes(part) for part in parts if part.type.name in (DISPLAY, LIGHT)}
    display = _display(records.get(DISPLAY, b""))
    light = records.get(LIGHT, b"")
    levels = LIGHT_RECORD.unpack(light) if len(light) == LIGHT_RECORD.size else None
    levels = levels if levels and any(levels) else None
    return Mastering(display, levels) if display or levels else None


def encoder_words(encoder: str, mastering: Mastering) -> tuple[str, str] | None:
    """(option, text to add to it) by which this encoder writes the grading; None where it cannot."""
    if encoder in WORDS:
        option, display, light = WORDS[encoder]
        words = [_whole_steps(display, mastering.display)] if mastering.display else []
        words += ["{}={},{}".format(light, *mastering.light)] if mastering.light else []
        return option, ":".join(words)
    if encoder == "libsvtav1":
        words = [_svt_display(mastering.display)] if mastering.display else []
        words += ["content-light={},{}".format(*mastering.light)] if mastering.light else []
        return "svtav1-params", ":".join(words)
    return None


def _display(record: bytes) -> tuple[Fraction, ...] | None:
    if len(record) < DISPLAY_RECORD.size:
        return None
    *numbers, has_colours, has_luminance = DISPLAY_RECORD.unpack(record[: DISPLAY_RECORD.size])
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not (has_colours and has_luminance) or any(below <= 0 or above < 0 for above, below in pairs):
        return None  # encoders take both or nothing
    return tuple(Fraction(above, below) for above, below in pairs)


def _whole_steps(name: str, display: tuple[Fraction, ...]) -> str:
    colours, luminance = (round(x / COLOUR_STEP) for x in display[:8]), (round(x / LUMINANCE_STEP) for x in display[8:])
    return _spelled(name, [str(number) for number in (*colours, *luminance)])


def _svt_display(display: tuple[Fraction, ...]) -> str:
    return _spelled("mastering-display", [f"{float(number):.5f}" for number in display])


def _spelled(name: str, texts: list[str]) -> str:
    red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, darkest, brightest = texts
    return (
        f"{name}=G({green_x},{green_y})B({blue_x},{blue_y})R({red_x},{red_y})WP({white_x},{white_y})"
        f"L({brightest},{darkest})"
    )
