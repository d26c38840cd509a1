"""A consumer on a thread of its own, fed a bounded number of items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
WAIT_S = 0.1  # between looks at whether the consumer is still there
GRACE_S = 0.5  # for what is queued when the producer stops: it may end a stretch
END, ABANDON = object(), object()


class Abandoned(Exception):
    """The producer has stopped; what is unfinished is thrown away."""


class Worker(Generic[Item]):
    """Runs `consume(items)` on a thread; items are put by this one, at most `depth` ahead.

    A context manager: leaving it waits for the thread and raises what went wrong there. Leaving it on an exception
    makes the items end in `Abandoned` after GRACE_S, so that nothing unfinished is kept. `check` is called while this
    thread waits and may raise to stop.
    """

    def __init__(
        self, consume: Callable[[Iterator[Item]], None], depth: int = 4, check: Callable[[], None] = lambda: None
    ) -> None:
        self._consume, self._check = consume, check
        self._queue: queue.Queue = queue.Queue(depth)
        self._failure: BaseException | None = None
        self._is_abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="seedvr2-worker")

    def __enter__(self) -> Worker[Item]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return self._abandon()
        try:
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def put(self, item: Item) -> None:
        """Hand over the next item, waiting for room; raises what went wrong with an earlier one."""
        self._offer(item, self._check)
        self._raise_failure()

    def _finish(self) -> None:
        self._offer(END, self._check)
        while self._thread.is_alive():
            self._check()
            self._thread.join(WAIT_S)
        self._raise_failure()

    def _abandon(self) -> None:
        limit = threading.Timer(GRACE_S, self._is_abandoned.set)
        limit.start()
        self._offer(ABANDON, lambda: None)
        self._thread.join()
        limit.cancel()

    def _offer(self, item: object, check: Callable[[], None]) -> None:
        while self._thread.is_alive():
            try:
                return self._queue.put(item, timeout=WAIT_S)
            except queue.Full:
                check()
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
            if item is ABANDON or self._is_abandoned.is_set():
                raise Abandoned
            yield item
