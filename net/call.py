"""One call of an API: no redirect, a bounded answer, and certainty about what was not sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import requests

from .address import check_url, mask
from .errors import NotSent, Unreachable
from .get import PATIENCE, Timeouts, mapped_errors, never, read_limited
from .session import GuardedSession

SEND_BLOCK = 1 << 16


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upload:
    """A body of known length made on the fly; `complete` once its last byte was handed to the connection."""

    def __init__(self, pieces: Iterator[bytes], length: int):
        self.complete = False
        self._pieces = pieces
        self._length = length
        self._given = 0
        self._rest = b""

    @classmethod
    def of(cls, body: bytes) -> Upload:
        """An upload of bytes that are already there."""
        return cls(_sliced(body), len(body))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(SEND_BLOCK):
            yield block

    def read(self, size: int = SEND_BLOCK) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        block, self._rest = self._rest[:size], self._rest[size:]
        self._given += len(block)
        self.complete = self._given >= self._length
        return block


def call(
    session: GuardedSession,
    method: str,
    url: str,
    headers: Mapping[str, str],
    upload: Upload | None = None,
    most_bytes: int = 1 << 20,
    timeouts: Timeouts = PATIENCE,
    cancelled: Callable[[], bool] = never,
) -> Answer:
    """Make one call on a connection of its own and return the answer, whatever its status; nothing is repeated.

    Raises NotSent when the body cannot have arrived whole, Unreachable when it may have, Refused for an address that
    is not allowed (also NotSent's promise: nothing left) or an answer longer than `most_bytes`.
    """
    check_url(url, session.rules)
    try:
        with mapped_errors(url):
            response = _send(session, method, url, dict(headers), upload, timeouts)
    except Unreachable as error:
        if upload is not None and not upload.complete:
            raise NotSent(str(error)) from None
        raise
    with response:
        body = read_limited(response, most_bytes, timeouts, cancelled)
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and len(body) < int(announced):
            raise Unreachable(f"{mask(url)}: the answer was cut short.")
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def _send(
    session: GuardedSession,
    method: str,
    url: str,
    headers: dict[str, str],
    upload: Upload | None,
    timeouts: Timeouts,
) -> requests.Response:
    # a kept-alive connection may die just as the call is sent, and nobody could tell whether it arrived
    prepared = session.prepare_request(requests.Request(method, url, headers={**headers, "Connection": "close"}))
    if upload is not None:
        prepared.body = upload  # type: ignore[assignment]
        prepared.headers["Content-Length"] = str(len(upload))
    settings = session.merge_environment_settings(url, {}, True, None, None)
    timeout = (timeouts.connect_s, timeouts.read_s)
    return session.send(prepared, allow_redirects=False, timeout=timeout, **{**settings, "stream": True})


def _sliced(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), SEND_BLOCK):
        yield body[start : start + SEND_BLOCK]
