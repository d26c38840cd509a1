"""Interlaced or not, seen in the pictures themselves, and the filters that give whole frames back.

Flags lie: progressive discs are flagged interlaced and the other way round. So luma of a few runs of consecutive
frames is looked at. Weaving the fields of a frame gives no combing when the frame is progressive; when it is
interlaced, weaving a field with its neighbour in time combs no more than the frame itself does, and which neighbour
that is tells the field order. 3:2 pulldown repeats one field every five frames and the other one two frames later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import av
import numpy as np

from .colour import Filter
from .convert import FilterChain, frame_key, plane_values
from .description import Scan
from .selection import Timed

Deinterlace = Literal["auto", "off", "on", "double rate", "film"]
Look = Literal["progressive", "top first", "bottom first", "still"]

INTERLACED_HEIGHTS = (200, 1088)  # no standard has interlaced pictures outside of this
# codecs that are only ever used for progressive pictures
PROGRESSIVE_CODECS = frozenset({"vp8", "vp9", "av1", "gif", "apng", "png", "webp", "theora", "vvc"})
# a weave must comb this much more than the best one to count as wrong; below, nothing moves in the picture
MOTION = 1.05
# own weave against the better of the neighbours': at most this share in progressive, at least this in interlaced
PROGRESSIVE_SHARE, INTERLACED_SHARE = 0.85, 0.92
CLEARLY_PROGRESSIVE = 0.62  # whatever the neighbours say: vertical movement makes them differ in progressive video too
# the worse neighbour's combing over the better one's: equal in progressive pictures, up to three times in interlaced
ORDER, CLEAR_ORDER = 1.04, 1.2
FLOOR = 0.05  # grey levels: flat pictures must not divide by nothing
MAJORITY = 0.6  # share of the moving frames that must agree
# pulldown: a repeated field differs at most by this share of what the other field does (noise and coding remain)
REPEATED = 0.75
STRAY = 0.2  # share of the other places where a field may seem repeated
PULLDOWN_CYCLE = 5  # frames
PULLDOWN_DISTANCE = 2  # from one parity's repeated field to the other's, in frames
FILM_SHARE = Fraction(4, 5)  # frames left by pulldown removal


@dataclass(frozen=True)
class ScanFinding:
    """What the samples show."""

    scan: Scan
    top_field_first: bool


def detect_scan(runs: Sequence[Sequence[np.ndarray]], flagged: bool, flagged_top_first: bool) -> ScanFinding:
    """The scan of a clip from runs of consecutive luma planes [H, W]; flags decide only where nothing moves."""
    looked = [_looks(run) for run in runs]
    looks = [look for run in looked for look in run]
    moving = [look for look in looks if look != "still"]
    if not moving:
        return ScanFinding("interlaced" if flagged else "progressive", flagged_top_first)
    top, bottom = moving.count("top first"), moving.count("bottom first")
    top_first = top > bottom if top != bottom else flagged_top_first
    pulldown = [_is_pulldown(run) for run, seen in zip(runs, looked, strict=True) if set(seen) - {"still"}]
    if pulldown and all(pulldown):
        return ScanFinding("film", top_first)
    combed = (top + bottom) / len(moving)
    # a flag makes little evidence enough, its absence asks for more
    is_interlaced = combed >= (1 - MAJORITY if flagged else MAJORITY)
    return ScanFinding("interlaced" if is_interlaced else "progressive", top_first)


def is_clearly_progressive(run: Sequence[np.ndarray]) -> bool:
    """True when most frames of a run move and all that do are whole."""
    looks = _looks(run)
    moving = [look for look in looks if look != "still"]
    return len(moving) > len(looks) / 2 and set(moving) == {"progressive"}


def is_whole_in_motion(run: Sequence[np.ndarray]) -> bool:
    """True when every frame of a run moves and is whole."""
    return set(_looks(run)) == {"progressive"}


def luma(frame: av.VideoFrame, columns: int) -> np.ndarray | None:
    """About so many columns of the luma of a planar YUV or grey frame, as float32 [H, columns]; None for others."""
    name = frame.format.name
    if not name.startswith(("yuv", "gray", "nv")) or name.startswith(("yuyv", "yuv4mpeg")):
        return None
    bits = frame.format.components[0].bits
    kind = np.dtype(np.uint8) if bits == 8 else np.dtype(np.uint16)
    values = plane_values(frame.planes[0], kind, frame.height, frame.width)[:, :: max(1, frame.width // columns)]
    return values.astype(np.float32) / np.float32(1 << (bits - 8))


def deinterlace_filters(wanted: Deinterlace, scan: Scan, top_field_first: bool) -> list[Filter]:
    """libavfilter's filters for a choice and a scan; empty when there is nothing to do."""
    if wanted == "auto":
        wanted = {"interlaced": "on", "film": "film"}.get(scan, "off")  # pyright: ignore[reportAssignmentType]
    parity = "tff" if top_field_first else "bff"
    if wanted == "on":
        return [("bwdif", f"mode=send_frame:parity={parity}:deint=all")]
    if wanted == "double rate":
        return [("bwdif", f"mode=send_field:parity={parity}:deint=all")]
    if wanted == "film" and scan != "soft film":
        # what no neighbouring field completes, an edit within the cycle, is interpolated
        return [("fieldmatch", f"order={parity}:combmatch=full"),
                ("bwdif", f"mode=send_frame:parity={parity}:deint=interlaced"), ("decimate", "")]  # fmt: skip
    return []


def deinterlaced_rate(filters: Sequence[Filter], rate: Fraction) -> Fraction:
    """Frames per second after these filters."""
    names = [name for name, _ in filters]
    if "decimate" in names:
        return rate * FILM_SHARE
    return rate * 2 if any("send_field" in arguments for _, arguments in filters) else rate


def deinterlaced(frames: Iterable[Timed[av.VideoFrame]], filters: Sequence[Filter], base: Fraction, rate: Fraction,
                 out_base: Fraction) -> Iterator[Timed[av.VideoFrame]]:  # fmt: skip
    """Frames through the filters, ticks in `out_base`; a change of size or format restarts the filters."""
    chain: FilterChain | None = None
    step = max(1, round(1 / (deinterlaced_rate(filters, rate) * out_base)))
    last = -1
    for frame in _with_end(frames):
        outputs: list[av.VideoFrame] = []
        if chain is not None and (frame is None or chain.key != frame_key(frame.picture)):
            outputs += chain.push(None)
            chain = None
        if frame is not None:
            chain = chain or FilterChain(frame.picture, filters, base, rate)
            frame.picture.pts, frame.picture.time_base = frame.tick, base
            outputs += chain.push(frame.picture)
        for output in outputs:
            tick = round((output.pts or 0) * Fraction(output.time_base or base) / out_base)
            last = max(tick, last + 1)
            yield Timed(output, last, step)


def film_timed(
    frames: Iterable[Timed[av.VideoFrame]], base: Fraction, rate: Fraction
) -> Iterator[Timed[av.VideoFrame]]:
    """Film frames on the even grid of their rate instead of the 2-3-2-3 fields they were stored as.

    A frame that is not within half a frame of a free place on the grid keeps its own time: nothing drifts.
    """
    step = 1 / (rate * base)
    origin, last = None, -1
    for frame in frames:
        origin = frame.tick if origin is None else origin
        place = origin + round(round((frame.tick - origin) / step) * step)
        last = place if place > last else max(frame.tick, last + 1)
        yield Timed(frame.picture, last, round(step))


def is_soft_film(ticks: Sequence[int], base: Fraction) -> bool:
    """True when stamps alternate between two and three fields of NTSC video: film with repeat flags."""
    field = Fraction(1001, 60000) / base
    lengths = [round((after - before) / field) for before, after in pairwise(ticks)]
    if len(lengths) < PULLDOWN_CYCLE or any(length not in (2, 3) for length in lengths):
        return False
    return all(a != b for a, b in pairwise(lengths))


def _with_end(frames: Iterable[Timed[av.VideoFrame]]) -> Iterator[Timed[av.VideoFrame] | None]:
    yield from frames
    yield None


def _looks(run: Sequence[np.ndarray]) -> list[Look]:
    """One look for each frame that has a successor."""
    return [_look(now, after) for now, after in pairwise(run)]


def _look(now: np.ndarray, after: np.ndarray) -> Look:
    rows = now.shape[0] // 2 * 2
    top, bottom = now[0:rows:2], now[1:rows:2]
    next_top, next_bottom = after[0:rows:2], after[1:rows:2]
    own = _combing(top, bottom)
    late_top, late_bottom = _combing(next_top, bottom), _combing(top, next_bottom)
    least = min(own, late_top, late_bottom)
    if max(own, late_top, late_bottom) <= least * MOTION:
        return "still"
    neighbour, order = min(late_top, late_bottom), max(late_top, late_bottom) / min(late_top, late_bottom)
    if own < neighbour * CLEARLY_PROGRESSIVE:
        return "progressive"
    if order < CLEAR_ORDER:
        if own < neighbour * PROGRESSIVE_SHARE:
            return "progressive"
        if own < neighbour * INTERLACED_SHARE or order < ORDER:
            return "still"
    # top first: the bottom field lies between this frame's top field and the next one's
    return "top first" if late_top < late_bottom else "bottom first"


def _combing(top: np.ndarray, bottom: np.ndarray) -> float:
    """How much lines of one field stand out from the mean of their neighbours in the other; never zero."""
    above = np.abs(top[:-1] + top[1:] - 2 * bottom[:-1]).mean()
    below = np.abs(bottom[:-1] + bottom[1:] - 2 * top[1:]).mean()
    return float(above + below) + FLOOR


def _field_changes(run: Sequence[np.ndarray]) -> np.ndarray:
    """Mean difference of each field to the same field of the next frame: [pairs, (top, bottom)]."""
    changes = [[float(np.abs(b[parity::2] - a[parity::2]).mean()) for parity in (0, 1)]
               for a, b in pairwise(run)]  # fmt: skip
    return np.array(changes, dtype=np.float64).reshape(-1, 2)


def _is_pulldown(run: Sequence[np.ndarray]) -> bool:
    changes = _field_changes(run)
    if len(changes) < 2 * PULLDOWN_CYCLE:
        return False
    return any(_matches_pulldown(changes, phase, parity) for phase in range(PULLDOWN_CYCLE) for parity in (0, 1))


def _matches_pulldown(changes: np.ndarray, phase: int, parity: int) -> bool:
    """True when field `parity` repeats at `phase` of the cycle, the other one two frames later, and none in between."""
    share = changes / np.maximum(changes[:, ::-1], 1e-6)  # each field's change over the other's
    places = np.arange(len(changes)) % PULLDOWN_CYCLE
    first = places == phase
    second = places == (phase + PULLDOWN_DISTANCE) % PULLDOWN_CYCLE
    ours, others = (share[first, parity] < REPEATED).mean(), (share[second, 1 - parity] < REPEATED).mean()
    misses = (share[~(first | second)] < REPEATED).mean()
    return min(ours, others) >= MAJORITY and misses <= STRAY
