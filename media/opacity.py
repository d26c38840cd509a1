"""Opacity that travels as a second, grey video stream: the way this pack's own files keep alpha in H.264 and H.265."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import av
import numpy as np

from .colour import bit_depth
from .convert import plane_values
from .selection import Timed

LABEL = "alpha"  # the stream's title, or its handler's name in MP4


class Paired(NamedTuple):
    """A frame and the frame that holds its opacity; None where that stream has ended."""

    frame: av.VideoFrame
    opacity: av.VideoFrame | None


def is_labelled(metadata: dict[str, str]) -> bool:
    """True for the metadata of a stream that is the opacity of another one."""
    return LABEL in (metadata.get("title", "").lower(), metadata.get("handler_name", "").lower())


def paired(frames: Iterable[Timed[av.VideoFrame]], opacity: Iterable[Timed[av.VideoFrame]]) -> Iterator[Timed[Paired]]:
    """Each frame with the opacity shown at its time, the last one held."""
    others = iter(opacity)
    current: Timed[av.VideoFrame] | None = None
    coming = next(others, None)
    for frame in frames:
        while coming is not None and (current is None or coming.tick <= frame.tick):
            current, coming = coming, next(others, None)
        yield Timed(Paired(frame.picture, current.picture if current else None), frame.tick, frame.duration)


def write_opacity(frame: av.VideoFrame | None, out: np.ndarray) -> None:
    """Fill `out` [H, W] uint8 or uint16 from a full-range grey frame at least that large; opaque without one."""
    top = np.iinfo(out.dtype).max
    if frame is None:
        out[...] = top
        return
    bits = bit_depth(frame.format.name)
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    values = plane_values(frame.planes[0], kind, *out.shape).astype(np.uint32)
    limit = (1 << bits) - 1
    out[...] = (values * top + limit // 2) // limit
