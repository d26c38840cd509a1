"""A clip as an iterator of frame batches, in memory that does not grow with its length.

One thread decodes ahead of the caller, by at most AHEAD batches, and two more convert (filling.py); libavcodec's own
threads work below.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from .description import BadSelection, Colour, Loss, MediaInfo, UnreadableFile
from .pipeline import PLAIN, Batch, Pipeline, Treatment
from .probe import probe
from .selection import WHOLE, Selection

AHEAD = 3  # batches waiting for the caller
WAIT = 0.1  # seconds between looks at whether the caller still wants anything

Message = Batch | BaseException | None  # None is the end


def read(path: str | Path, selection: Selection = WHOLE, treatment: Treatment = PLAIN, *, alpha: bool = False,
         info: MediaInfo | None = None, allowed: Sequence[str | Path] | None = None,
         frames_per_batch: int | None = None, check: Callable[[], None] = lambda: None) -> Reader:  # fmt: skip
    """Open a video, an animation, an image or a folder of images and return an iterator of batches.

    Batches are (frames, pts) or, with `alpha`, (frames, pts, opacity): frames [T, H, W, 3] RGB full range and upright,
    opacity [T, H, W], uint8 or, for sources deeper than 8 bit, uint16 with white at 65535; pts int64 [T] in
    `reader.time_base`, the first one 0. PQ and HLG come as code values, named by `reader.colour`. `info` saves probing
    again. `check` is called for each batch and ten times a second while one is waited for, and may raise to stop.
    Raises a MediaError before anything large is allocated, and BadSelection when no frame is selected.
    """
    return Reader(Pipeline(info or probe(path, allowed), selection, treatment, alpha), frames_per_batch, check)


class Reader:
    """Iterator of batches and context manager. Leaving it early stops the thread behind it."""

    def __init__(
        self, pipeline: Pipeline, frames_per_batch: int | None = None, check: Callable[[], None] = lambda: None
    ) -> None:
        self._pipeline, self._check = pipeline, check
        self._per_batch = frames_per_batch
        self._queue: queue.Queue[Message] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._early: Batch | None = None  # taken from the queue to answer `start`
        self._is_over = False
        self._taken = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch, self._early = self._early or self._take(), None
        if batch is None:
            raise StopIteration
        return batch

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # the thread holds the pipeline, not the reader, and ends by itself
        self._stop.set()
        self._pipeline.stop()

    @property
    def info(self) -> MediaInfo:
        """What the source is."""
        return self._pipeline.info

    @property
    def colour(self) -> Colour:
        """How the source's code values were read, overrides included; HDR tells what the RGB values mean."""
        return self._pipeline.colour

    @property
    def rate(self) -> Fraction:
        """Frames per second delivered; the average where stamps vary."""
        return self._pipeline.selection.rate(self._pipeline.source_rate)

    @property
    def is_vfr(self) -> bool:
        """True when the stamps delivered are not evenly spaced."""
        return self.info.is_vfr and not self._pipeline.selection.force_rate

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the pts."""
        return self._pipeline.time_base

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return self._pipeline.size

    @property
    def sample_aspect(self) -> Fraction:
        """Pixel width over height of the frames."""
        return Fraction(1) if self._pipeline.is_square else self.info.sample_aspect

    @property
    def expected(self) -> int | None:
        """How many frames should come, an estimate unless info.frame_count_exact; None when unknown."""
        return self._pipeline.expected()

    @property
    def start(self) -> Fraction:
        """Seconds from the source's first displayed frame to the first delivered one; waits for that frame."""
        if not self._taken and self._early is None:
            self._early = self._take()
        return self._pipeline.start

    @property
    def end(self) -> Fraction | None:
        """End of the last delivered frame on the clock of the pts, in seconds; None until all are delivered."""
        return self._pipeline.end if self._is_over else None

    @property
    def losses(self) -> list[Loss]:
        """What could not be decoded so far; complete after the last batch."""
        return list(self._pipeline.source.losses)

    @property
    def notes(self) -> list[str]:
        """What was repaired or guessed so far, one sentence each."""
        return [*self.info.notes, *self._pipeline.source.notes]

    def close(self) -> None:
        """Stop decoding and wait for the thread to end."""
        self._stop.set()
        self._pipeline.stop()
        self._is_over = True
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> Batch | None:
        if self._is_over:
            return None
        if self._thread is None:
            arguments = (self._pipeline, self._per_batch, self._queue, self._stop)
            self._thread = threading.Thread(target=_produce, args=arguments, name="media-read", daemon=True)
            self._thread.start()
        item = self._next_message()
        if isinstance(item, tuple):
            self._taken += len(item[0])
            return item
        self._is_over = True
        self._thread.join()
        if item is not None:
            raise item
        if not self._taken and not self._stop.is_set():
            raise self._nothing()
        return None

    def _next_message(self) -> Message:
        """What the thread says next; the end where the reader was closed meanwhile."""
        while True:
            self._check()
            try:
                return self._queue.get(timeout=WAIT)
            except queue.Empty:
                if self._stop.is_set():
                    return None

    def _nothing(self) -> BadSelection | UnreadableFile:
        selection, info = self._pipeline.selection, self.info
        if selection.is_whole:
            reason = f": {self.losses[0].reason}" if self.losses else ""
            return UnreadableFile(f"{info.path.name}: no picture of it can be decoded{reason}. Fetch it again.")
        length = "of unknown length" if info.duration is None else f"{float(info.duration):.3f} s long"
        return BadSelection(
            f"The selection holds no frame: {info.path.name} is {length}"
            f"{'' if info.frame_count is None else f' ({info.frame_count} frames)'}, asked for was {selection}."
            " Start earlier or skip less."
        )


def _produce(pipeline: Pipeline, per_batch: int | None, target: queue.Queue[Message], stop: threading.Event) -> None:
    """Put batches into the queue until done or told to stop; an error goes the same way."""
    last: Message = None
    batches = pipeline.batches(per_batch)
    try:
        for batch in batches:
            if not _put(target, batch, stop):
                return
    except Exception as error:  # carried to the caller's thread, where it is raised
        last = error
    finally:
        batches.close()  # closes the container in the thread that used it
        _put(target, last, stop)


def _put(target: queue.Queue[Message], item: Message, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            target.put(item, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False
