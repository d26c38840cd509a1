"""The clip on both sides of a request: segments cut and encoded for sending, results checked and read back."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import numpy as np

from .. import media
from .errors import Lost, OutsideLimits, Undecodable
from .geometry import place
from .plan import MOST_OVERLAP, Segment
from .schema import MOST_DATA_BYTES

# from the best down: the first that fits is sent
QUALITIES = ("near lossless", "high", "good", "small")
FORMAT = "MP4 H.264"
SPEED = "veryfast"  # the encoder's preset: sent once and thrown away, so time counts more than bytes

Frames = Iterator[np.ndarray]  # batches [T, H, W, 3], uint8 or uint16


class Cutter:
    """Hands out the frames of segments in one pass over the clip, as long as they are asked for in order.

    `open_from(first)` gives the clip's batches from a frame on; it is called again only to go back by more than the
    frames neighbouring segments can share.
    """

    def __init__(self, open_from: Callable[[int], Frames]):
        self._open_from = open_from
        self._coming: Iterator[np.ndarray] = iter(())
        self._next = -1  # index of the frame that comes next, −1 before the first
        self._past: deque[np.ndarray] = deque(maxlen=MOST_OVERLAP)

    def frames(self, segment: Segment) -> Iterator[np.ndarray]:
        """The segment's frames one by one, the last one repeated until there are `sent_frames` of them."""
        if not self._next - len(self._past) <= segment.start <= self._next:
            self._reopen(segment.start)
        last = None
        for frame in self._own_frames(segment):
            last = frame
            yield frame
        if last is not None:
            yield from repeat(last, segment.sent_frames - segment.frames)

    def _own_frames(self, segment: Segment) -> Iterator[np.ndarray]:
        shared = self._next - segment.start
        yield from list(self._past)[len(self._past) - shared :] if shared else []
        while self._next < segment.stop:
            frame = next(self._coming, None)
            if frame is None:
                raise OutsideLimits(
                    f"The clip ended after {self._next} frames, {segment.stop} expected. Nothing was sent for it."
                )
            self._next += 1
            self._past.append(frame)
            yield frame

    def _reopen(self, first: int) -> None:
        self._coming = (frame for batch in self._open_from(first) for frame in batch)
        self._next = first
        self._past.clear()


def cut_segment(cutter: Cutter, segment: Segment, rate: int, most_bytes: int = MOST_DATA_BYTES) -> bytes:
    """The segment as an MP4 of `rate` frames per second, in the best quality that fits `most_bytes`."""
    with tempfile.TemporaryDirectory(prefix="seedvr2-segment-") as folder:
        best = Path(folder) / "0.mp4"
        _encode(best, (frame[None] for frame in cutter.frames(segment)), rate, QUALITIES[0])
        path = best
        for step, quality in enumerate(QUALITIES[1:], 1):
            if path.stat().st_size <= most_bytes:
                break
            path = Path(folder) / f"{step}.mp4"
            with media.read(best) as batches:
                _encode(path, (batch[0] for batch in batches), rate, quality)
        return path.read_bytes()


def result_size(path: Path, segment: Segment) -> tuple[int, int]:
    """(width, height) of the frames of a segment's result. Raises Undecodable."""
    with _decoding(segment):
        return media.probe(path).square_size


def read_result(path: Path, segment: Segment) -> Frames:
    """The frames of a segment's result in batches [T, H, W, 3]. Raises Undecodable."""
    with _decoding(segment), media.read(path) as batches:
        for batch in batches:
            yield batch[0]


@contextmanager
def _decoding(segment: Segment) -> Iterator[None]:
    try:
        yield
    except media.MediaError as error:
        raise Undecodable(f"The result of segment {segment.index + 1}: {error}", segment.index) from None


def result_complaint(path: Path, segment: Segment, source: tuple[int, int], short_side: int) -> str | None:
    """What is wrong with a result for a source of (width, height), None when it is good.

    Looks at container and shape, reads every packet, and decodes frames at the start (as probing does) and at the end.
    """
    try:
        info = media.probe(path)
        if place(source, short_side, info.square_size) is None:
            return f"it is {info.square_size[0]}×{info.square_size[1]}, no shape of a {source[0]}×{source[1]} clip."
        count = media.sound_frames(path, info)
        if count < segment.sent_frames:
            return f"{count} frames came back, {segment.sent_frames} were sent."
    except media.MediaError as error:
        return str(error)
    return None


def alongside(results: Frames, source: Iterable[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """Join stitched frames with the source's: (result [1, h, w, 3], source [1, H, W, 3], pts [1], …), frame by frame.

    So timing and colour are the source's. Raises Lost when the results end before the source.
    """
    single = (frame for batch in results for frame in batch)
    for batch in source:
        for index in range(len(batch[0])):
            found = next(single, None)
            if found is None:
                raise Lost("The results end before the clip does.")
            yield found[None], *(part[index : index + 1] for part in batch)


def _encode(path: Path, batches: Frames, rate: int, quality: str) -> None:
    def timed() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        count = 0
        for batch in batches:
            yield batch, np.arange(count, count + len(batch))
            count += len(batch)

    encoding = media.Encoding(format=FORMAT, quality=quality, bit_depth=8, speed=SPEED)  # type: ignore[arg-type]
    media.write(path, timed(), time_base=Fraction(1, rate), encoding=encoding)
