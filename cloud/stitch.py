"""Join the results of overlapping segments into one stream of frames, fading over shared frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .errors import Undecodable
from .plan import Segment

Batches = Iterator[np.ndarray]  # of [T, H, W, C]


def stitched(segments: Sequence[Segment], open_frames: Callable[[Segment], Batches]) -> Batches:
    """Yield all frames of the clip in batches [T, H, W, C], each once, in the type they come in.

    Over the shared frames the weight goes linearly from one segment to the next: of all ramps it has the smallest
    largest step, so a constant difference between two results shows least. Raises Undecodable when one is too short.
    """
    held: list[np.ndarray] = []  # the last frames of the segment before, waiting for their partners
    for place, segment in enumerate(segments):
        keep = segments[place + 1].fade if place + 1 < len(segments) else 0
        frames = _exactly(segment, _one_by_one(open_frames(segment)))
        for index, partner in enumerate(held):
            yield _mixed(partner, next(frames), (index + 1) / (len(held) + 1))[None]
        held = []
        for frame in frames:
            held.append(frame)
            if len(held) > keep:
                yield held.pop(0)[None]


def _one_by_one(batches: Batches) -> Iterator[np.ndarray]:
    for batch in batches:
        yield from batch


def _exactly(segment: Segment, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The segment's own frames, without those a short clip was filled up with."""
    for count in range(segment.frames):
        frame = next(frames, None)
        if frame is None:
            ends = f"The result of segment {segment.index + 1} ends after {count} of {segment.frames} frames."
            raise Undecodable(ends, segment.index)
        yield frame


def _mixed(before: np.ndarray, after: np.ndarray, weight: float) -> np.ndarray:
    mixed = before.astype(np.float32) * (1.0 - weight) + after.astype(np.float32) * weight
    if np.issubdtype(before.dtype, np.integer):
        mixed = np.rint(mixed)
    return mixed.astype(before.dtype)
