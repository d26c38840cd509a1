"""Cut a clip into hosted requests: as few as possible, at shots where that costs none, overlapping elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import OutsideLimits
from .schema import FEWEST_FRAMES, MOST_FRAMES

MOST_OVERLAP = 32


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of the clip; the first `fade` of them are also the last ones of the segment before."""

    index: int
    start: int
    stop: int
    fade: int = 0

    @property
    def frames(self) -> int:
        return self.stop - self.start

    @property
    def sent_frames(self) -> int:
        """Frames in the request: a short clip is filled up by repeating its last frame, and cut back afterwards."""
        return max(self.frames, FEWEST_FRAMES)


def plan_segments(frames: int, overlap: int, shots: Sequence[int] = ()) -> tuple[Segment, ...]:
    """Segments of at most 160 frames which cover all frames in the fewest requests.

    `shots` are the first frames of shots after the first. Raises OutsideLimits for no frames or a wild overlap.
    """
    if frames < 1:
        raise OutsideLimits(f"The clip has {frames} frames; at least one is needed.")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise OutsideLimits(f"overlap is {overlap}; 0 to {MOST_OVERLAP} frames are possible.")
    cuts = sorted({shot for shot in shots if 0 < shot < frames})
    count = _fewest(frames, overlap, cuts)
    earliest = _earliest_starts(frames, overlap, cuts, count)
    segments: list[Segment] = []
    start, fade = 0, 0
    for index in range(count - 1):
        following, next_fade = _next_start(start, earliest[index + 1], count - index, (frames, overlap), cuts)
        segments.append(Segment(index, start, following + next_fade, fade))
        start, fade = following, next_fade
    return (*segments, Segment(count - 1, start, frames, fade))


def _fewest(frames: int, overlap: int, cuts: Sequence[int]) -> int:
    # going as far as possible each time is optimal: a later start never reaches less far
    count, start = 1, 0
    while start + MOST_FRAMES < frames:
        start = max([start + MOST_FRAMES - overlap, *(cut for cut in cuts if cut <= start + MOST_FRAMES)])
        count += 1
    return count


def _earliest_starts(frames: int, overlap: int, cuts: Sequence[int], count: int) -> list[int]:
    """For each segment the first start from which the remaining segments still reach the end."""
    starts = [0] * count
    needed = frames - MOST_FRAMES
    for index in range(count - 1, 0, -1):
        starts[index] = max(needed, 0)
        by_overlap = needed - MOST_FRAMES + overlap
        by_cut = min((cut - MOST_FRAMES for cut in cuts if cut >= needed), default=by_overlap)
        needed = min(by_overlap, by_cut)
    return starts


def _next_start(
    start: int, earliest: int, remaining: int, size: tuple[int, int], cuts: Sequence[int]
) -> tuple[int, int]:
    """Where the next segment starts and how many frames it shares; `remaining` counts the segments from here on."""
    frames, overlap = size
    even = start + round((frames - start - overlap) / remaining)
    shortest = max(FEWEST_FRAMES, 2 * overlap)
    usable = [
        cut
        for cut in cuts
        if max(earliest, start + shortest) <= cut <= min(start + MOST_FRAMES, frames - shortest * (remaining - 1))
    ]
    if usable:
        return min(usable, key=lambda cut: abs(cut - even)), 0
    return min(max(even, earliest), start + MOST_FRAMES - overlap), overlap
