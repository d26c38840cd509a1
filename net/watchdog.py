"""Cuts a connection whose reader would otherwise wait: when the caller cancels, or when too little arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import requests

POLL_S = 0.1


class Watchdog:
    """While entered, severs `response` on cancel or after `stall_s` without `progress()`; `reason` says which.

    A blocked read of the response then ends at once with an error or a short answer.
    """

    def __init__(
        self,
        response: requests.Response,
        cancelled: Callable[[], bool],
        stall_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.reason: str | None = None
        self._response = response
        self._cancelled = cancelled
        self._stall_s = stall_s
        self._clock = clock
        self._last = clock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="download-watchdog", daemon=True)

    def progress(self) -> None:
        """Tell that a block arrived."""
        self._last = self._clock()

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(POLL_S):
            self.reason = self._complaint()
            if self.reason:
                sever(self._response)
                return

    def _complaint(self) -> str | None:
        if self._cancelled():
            return "cancelled"
        return "stalled" if self._clock() - self._last > self._stall_s else None


def sever(response: requests.Response) -> None:
    """Shut the socket under a response down, so that a read in another thread returns."""
    connection = getattr(response.raw, "connection", None)
    live = getattr(connection, "live", None) or getattr(connection, "sock", None)
    if live is None:
        return
    with contextlib.suppress(OSError):
        # the plain socket's method: TLS would first want to say goodbye, and may block doing so
        socket.socket.shutdown(live, socket.SHUT_RDWR)
