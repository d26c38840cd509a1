"""A consumer on a thread of its own, fed a bounded number of items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
WAIT_S = 0.1  # between looks at whether the consumer is still there
END, ABANDON = object(), object()


class Abandoned(Exception):
    """The producer has stopped; what is unfinished is thrown away."""


class Worker(Generic[Item]):
    """Runs `consume(items)` on a thread; items are put by this one, at most `depth` ahead.

    A context manager: leaving it waits for the thread and raises what went wrong there. Leaving it on an exception
    makes the items end in `Abandoned`, so that nothing unfinished is kept.
    """

    def __init__(self, consume: Callable[[Iterator[Item]], None], depth: int = 4) -> None:
        self._consume = consume
        self._queue: queue.Queue = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="seedvr2-worker")

    def __enter__(self) -> Worker[Item]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._offer(END if kind is None else ABANDON)
        self._thread.join()
        if kind is None:
            self._raise_failure()

    def put(self, item: Item) -> None:
        """Hand over the next item, waiting for room; raises what went wrong with an earlier one."""
        self._offer(item)
        self._raise_failure()

    def _offer(self, item: object) -> None:
        while self._thread.is_alive():
            try:
                return self._queue.put(item, timeout=WAIT_S)
            except queue.Full:
                continue
        return None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._consume(self._items())
        except Abandoned:
            pass
        except BaseException as failure:  # raised again on the producer's thread
            self._failure = failure

    def _items(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not END:
            if item is ABANDON:
                raise Abandoned
            yield item
