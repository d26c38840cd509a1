"""A guarded GET: redirects followed by hand and judged one by one, errors mapped once, bodies read under a limit."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urljoin

import requests
import urllib3

from .address import check_url, mask
from .errors import BadStatus, Cancelled, Damaged, NetError, Refused, Unreachable
from .session import GuardedSession
from .watchdog import Watchdog

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
BUSY = frozenset({408, 425, 429})  # with 5xx: the server's trouble, worth another try
LONGEST_RETRY_AFTER_S = 150.0  # a server may ask for more patience, but nobody waits a day for a header
BLOCK = 1 << 16
STOPPED = "Stopped. What arrived is kept."
URL_PUNCTUATION = "!#$%&'()*+,/:;=?@[]~"  # left as it is: an address is requested byte for byte
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, of silence while reading, and for one block of 64 KiB to arrive whole."""

    connect_s: float = 10.0
    read_s: float = 30.0
    block_s: float = 60.0


PATIENCE = Timeouts()


@dataclass(frozen=True)
class RangeAnswer:
    """Some bytes of a remote file, the size of the whole and the tag of its version."""

    body: bytes
    total: int
    etag: str | None


def never() -> bool:
    """The cancel question of callers who never cancel."""
    return False


@contextlib.contextmanager
def open_get(
    session: GuardedSession,
    url: str,
    headers: Mapping[str, str] | None = None,
    timeouts: Timeouts = PATIENCE,
) -> Iterator[requests.Response]:
    """Yield the streaming answer after at most five redirects, each judged like the first address.

    Sends no credentials to anybody. Raises Refused or Unreachable; any final status is yielded as it is.
    """
    with mapped_errors(url):
        response = _follow(session, url, dict(headers or {}), timeouts)
    try:
        yield response
    finally:
        response.close()


def fetch_range(
    session: GuardedSession,
    url: str,
    start: int,
    stop: int,
    timeouts: Timeouts = PATIENCE,
    cancelled: Callable[[], bool] = never,
) -> RangeAnswer:
    """Bytes start..stop−1 of a remote file; raises Refused when the server would send the whole file instead."""
    headers = {"Range": f"bytes={start}-{stop - 1}"}
    with open_get(session, url, headers, timeouts) as response:
        if response.status_code == 200:
            raise Refused(f"{mask(url)}: the server sends whole files only, a part of it was asked for.")
        check_status(response, url)
        total = _checked_total(response, url, start, stop)
        body = read_limited(response, stop - start, timeouts, cancelled)
        if len(body) != stop - start:
            raise Unreachable(f"{mask(url)}: {len(body)} of {stop - start} bytes arrived.")
        return RangeAnswer(body, total, response.headers.get("ETag"))


def read_limited(
    response: requests.Response,
    limit: int,
    timeouts: Timeouts = PATIENCE,
    cancelled: Callable[[], bool] = never,
) -> bytes:
    """The body of an answer, refused when it is longer than `limit` bytes."""
    body = bytearray()
    for block in blocks(response, timeouts, cancelled):
        body += block
        if len(body) > limit:
            raise Refused(f"{mask(response.url)}: the answer is longer than the {limit} bytes expected at most.")
    return bytes(body)


def blocks(
    response: requests.Response, timeouts: Timeouts = PATIENCE, cancelled: Callable[[], bool] = never
) -> Iterator[bytes]:
    """The body in blocks of at most 64 KiB; a stalled or cancelled body raises Unreachable or Cancelled."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Damaged(f"{mask(response.url)}: the server compressed a file that was asked for as it is.")
    with Watchdog(response, cancelled, timeouts.block_s) as watchdog:
        while True:
            block = _read_block(response, watchdog)
            if not block:
                return
            if cancelled():
                raise Cancelled(STOPPED)
            watchdog.progress()
            yield block


def check_status(response: requests.Response, url: str) -> None:
    """Let 2xx pass; raise Unreachable for a server in trouble and BadStatus for a definite no."""
    status = response.status_code
    if 200 <= status < 300:
        return
    if status in BUSY or status >= 500:
        patience = retry_after_s(response.headers.get("Retry-After"))
        raise Unreachable(f"{mask(url)}: the server is in trouble or busy (HTTP {status}).", patience)
    reason = {401: "it wants a login", 403: "access is denied", 404: "there is no such file", 410: "it was removed"}
    raise BadStatus(f"{mask(url)}: {reason.get(status, 'refused')} (HTTP {status}).", status)


def retry_after_s(header: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds a Retry-After header asks for, in either of its forms, capped; None when it is absent or unreadable."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now()
        except (ValueError, TypeError, OverflowError):
            return None
    if not seconds < float("inf"):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def content_range(response: requests.Response) -> tuple[int, int, int | None] | None:
    """(first, last, total or None) of a 206 answer, None when the header is missing or unreadable."""
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not match:
        return None
    first, last, total = match.groups()
    return int(first), int(last), None if total == "*" else int(total)


@contextlib.contextmanager
def mapped_errors(url: str) -> Iterator[None]:
    """Turn whatever the HTTP libraries raise into Unreachable; their texts hold whole URLs, so none is passed on."""
    try:
        yield
    except NetError:
        raise
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        message = "the encrypted connection failed: certificate, clock, or something in between that inspects traffic"
        raise Unreachable(f"{mask(url)}: {message}.") from None
    except (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        raise Unreachable(f"{mask(url)}: the proxy named in HTTPS_PROXY or HTTP_PROXY did not connect.") from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        raise Unreachable(f"{mask(url)}: no answer in time.") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise Refused(f"{mask(url)}: this address cannot be read.") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"{mask(url)}: the connection failed ({type(error).__name__}).") from None


def _follow(session: GuardedSession, url: str, headers: dict[str, str], timeouts: Timeouts) -> requests.Response:
    for _hop in range(MOST_REDIRECTS + 1):
        response = _send(session, url, headers, timeouts)
        location = response.headers.get("Location")
        if response.status_code not in REDIRECTS or not location:
            return response
        response.close()
        url = urljoin(url, location)
    raise Refused(f"{mask(url)}: more than {MOST_REDIRECTS} redirects.")


def _send(session: GuardedSession, url: str, headers: dict[str, str], timeouts: Timeouts) -> requests.Response:
    check_url(url, session.rules)
    prepared = session.prepare_request(requests.Request("GET", _ascii(url), headers=headers))
    prepared.url = _ascii(url)  # requests would rewrite percent-encodings, and a signature may cover them
    settings = session.merge_environment_settings(prepared.url, {}, True, None, None)
    return session.send(
        prepared, allow_redirects=False, timeout=(timeouts.connect_s, timeouts.read_s), **{**settings, "stream": True}
    )


def _ascii(url: str) -> str:
    # only what is not ASCII is encoded: everything suspicious stays visible to the check of the address
    return "".join(letter if letter.isascii() else quote(letter, safe=URL_PUNCTUATION) for letter in url)


def _read_block(response: requests.Response, watchdog: Watchdog) -> bytes:
    trouble: NetError | None = None
    block = b""
    try:
        with mapped_errors(response.url):
            block = response.raw.read(BLOCK, decode_content=False)
    except Unreachable as error:
        trouble = error
    if watchdog.reason == "cancelled":
        raise Cancelled(STOPPED) from None
    if watchdog.reason == "stalled" and not block:
        raise Unreachable(f"{mask(response.url)}: the connection stalled.") from None
    if trouble:
        raise trouble
    return block


def _checked_total(response: requests.Response, url: str, start: int, stop: int) -> int:
    span = content_range(response)
    if span is None or span[:2] != (start, stop - 1) or span[2] is None:
        got = response.headers.get("Content-Range", "none")[:60]
        raise Damaged(f"{mask(url)}: asked for bytes {start}-{stop - 1}, the server names {got!r}.")
    return span[2]
