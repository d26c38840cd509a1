"""Work that cannot look whether it should stop, done on another thread while this one looks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

Result = TypeVar("Result")
LOOK_S = 0.1  # between two looks


def attended(work: Callable[[], Result], check: Callable[[], None]) -> Result:
    """What `work` returns or raises. `check` is called ten times a second and may raise: the work then ends unheard.

    For work that changes nothing: what was abandoned goes on for a while beside whatever comes next.
    """
    future: Future[Result] = Future()
    threading.Thread(target=_do, args=(work, future), daemon=True, name="seedvr2-attended").start()
    check()
    while not wait([future], LOOK_S).done:
        check()
    return future.result()


def _do(work: Callable[[], Result], future: Future[Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as failure:  # raised again on the caller's thread
        future.set_exception(failure)
