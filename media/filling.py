"""Batches filled by a few threads at once: frames are converted while the next ones are decoded.

Frames go out in the order they came in. A batch is filled while the one before is finished, or a few of single frames,
and few pictures wait, so what is in flight does not grow with a clip's length.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

# each has a conversion of its own, and swscale's slices below it: two fill the gaps the decoder leaves
CONVERTERS = 2
IN_FLIGHT = 3  # frames of full batches that may still be in work while others are begun

Answer = Future["np.ndarray | None"]
Batch = tuple[np.ndarray, ...]  # frames [T, H, W, 3], pts [T] and, where asked for, opacity [T, H, W]
# fills its place in a batch; in a batch of one it may answer with memory of its own instead, which is then not copied
Write = Callable[[Any, np.ndarray, "np.ndarray | None"], "np.ndarray | None"]


class Filler:
    """Turns pictures into batches of `count`; `allocate` makes an empty one, `make_write` a converter for a thread."""

    def __init__(self, count: int, allocate: Callable[[int], Batch], make_write: Callable[[], Write]) -> None:
        self._count, self._allocate = count, allocate
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(CONVERTERS, "media-convert", self._prepare, (make_write,))
        self._batch: Batch = ()
        self._jobs: list[Answer] = []  # one for each frame of the batch
        self._running: deque[Answer] = deque()
        self._full: deque[tuple[Batch, list[Answer]]] = deque()
        self._last: Any = None

    def add(self, picture: Any, tick: int) -> Iterator[Batch]:
        """Begin to convert a picture into the next place; yields the batch that is complete by then, if one is."""
        if not self._batch:
            self._batch = self._allocate(self._count)
        place = len(self._jobs)
        self._batch[1][place] = tick
        if place and picture is self._last:
            job = self._pool.submit(_repeat, self._jobs[-1], self._batch, place)
        else:
            job = self._pool.submit(self._write, picture, self._batch, place)
        self._last = picture
        self._jobs.append(job)
        self._running.append(job)
        if len(self._running) > 2 * CONVERTERS:
            self._running.popleft().result()
        if len(self._jobs) == self._count:
            self._full.append((self._batch, self._jobs))
            self._batch, self._jobs = (), []
        if len(self._full) > max(1, IN_FLIGHT // self._count):
            yield self._finished()

    def rest(self) -> Iterator[Batch]:
        """What is left, the last batch cut to what it holds."""
        while self._full:
            yield self._finished()
        if self._jobs:
            for job in self._jobs:
                job.result()
            yield tuple(part[: len(self._jobs)] for part in self._batch)

    def close(self) -> None:
        """End the threads; what was not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _finished(self) -> Batch:
        """The batch that was filled first, once all of it is there."""
        batch, jobs = self._full.popleft()
        answers = [job.result() for job in jobs]
        return batch if answers[0] is None else (answers[0][np.newaxis], *batch[1:])

    def _prepare(self, make_write: Callable[[], Write]) -> None:
        self._own.write = make_write()

    def _write(self, picture: Any, batch: Batch, place: int) -> np.ndarray | None:
        return self._own.write(picture, batch[0][place], batch[2][place] if len(batch) > 2 else None)


def _repeat(before: Answer, batch: Batch, place: int) -> np.ndarray | None:
    """Copy the frame before, once it is there; it was begun earlier, so waiting for it blocks nobody."""
    before.result()
    for part in (batch[0], *batch[2:]):
        part[place] = part[place - 1]
    return None
