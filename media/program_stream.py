"""Whether an MPEG program stream (a DVD's VOB, .mpg) can be entered in its middle.

It has no index, but every pack names the clock it was muxed by, so libavformat can search for a time, as long as that
clock never starts again. Discs restart it between cells; a look at the clock in many places tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from .source import open_bytes

PACK = re.compile(rb"\x00\x00\x01\xba([\x40-\x7f\x20-\x3f].{4})", re.DOTALL)
PLACES = 128  # of a file; of a two-hour film one every minute
LOOK_BYTES = 1 << 16  # at each: many times the size of a pack
CLOCK = 90_000  # ticks a second
LONGEST_STEP = 6  # times the usual step from place to place: more is a jump of the clock, not a quiet scene
LEAST_JUMP = 10 * CLOCK  # as for Continuity: a shorter one is a pause


def has_one_clock(path: Path) -> bool:
    """True when the clock of a program stream, or of a DVD title's folder, rises evenly from beginning to end."""
    clocks = list(_clocks(path))
    if len(clocks) < 2:
        return False
    steps = [after - before for before, after in pairwise(clocks)]
    return min(steps) >= 0 and max(steps) <= max(LONGEST_STEP * median(steps), LEAST_JUMP)


def pack_clock(field: bytes) -> int:
    """Ticks of the system clock reference in a pack header, from the five bytes behind its start code."""
    bits = int.from_bytes(field, "big")
    if field[0] & 0x40:  # MPEG-2: marker bits after 3 and 15 bits more
        return (bits >> 35 & 7) << 30 | (bits >> 19 & 0x7FFF) << 15 | bits >> 3 & 0x7FFF
    return (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF


def _clocks(path: Path) -> Iterator[int]:
    """The first clock found at each place that holds one."""
    with open_bytes(path) as file:
        size = file.seek(0, 2)
        for place in range(PLACES):
            file.seek(size * place // PLACES)
            found = PACK.search(file.read(LOOK_BYTES))
            if found:
                yield pack_clock(found[1])
