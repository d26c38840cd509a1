"""Bring one large file home: resumed, verified, placed in one step, and never over a file of the user's.

`download` is the way in. A part of a file survives a cut, a crash and a stop, and is continued by Range and If-Range
when the server still has the same version; otherwise it starts again by itself.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests

from .address import mask
from .errors import Cancelled, Damaged, DiskTrouble, Refused, Unreachable
from .get import PATIENCE, Timeouts, blocks, check_status, content_range, never, open_get
from .parts import Part, disk_errors, only_one
from .session import GuardedSession

GIB = 1 << 30
MOST_TRIES = 5  # in a row without a new byte
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 20.0
SPACE_TO_SPARE = 64 << 20  # left free on the disk, so that nothing else on it breaks
SPACE_CHECK_EVERY = 64 << 20  # bytes between two looks at the free space
PAUSE_S = 0.1  # longest sleep between two looks at the cancel question

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Wanted:
    """What to fetch and how to know it: exact `size` in bytes and `sha256` where they are known."""

    url: str
    target: Path
    size: int | None = None
    sha256: str | None = None
    most_bytes: int = 64 * GIB  # refused beyond, whatever the server says


@dataclass(frozen=True)
class World:
    """What tests replace: time, chance, the disk's free bytes, patience."""

    sleep: Callable[[float], None] = time.sleep
    free_space: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)
    jitter: Callable[[], float] = random.random
    timeouts: Timeouts = PATIENCE


REAL_WORLD = World()


@dataclass(frozen=True)
class _Job:
    wanted: Wanted
    session: GuardedSession
    progress: Progress
    cancelled: Callable[[], bool]
    world: World


def download(
    wanted: Wanted,
    session: GuardedSession,
    progress: Progress = lambda done, total: None,
    cancelled: Callable[[], bool] = never,
    world: World = REAL_WORLD,
) -> Path:
    """Return `wanted.target`, complete and verified; a second caller waits for the first and shares its file.

    `progress(done, total)` counts bytes; `cancelled` is asked at least every 0.1 s, from more than one thread.
    Raises the errors of errors.py; what arrived before one of them is kept, except bytes with a wrong hash.
    """
    job = _Job(wanted, session, progress, cancelled, world)
    with only_one(wanted.target, lambda: _pause(job, PAUSE_S)):
        if wanted.target.exists():
            return _accept_existing(job)
        return _fetch_verified(job)


def _accept_existing(job: _Job) -> Path:
    wanted = job.wanted
    size = wanted.target.stat().st_size
    if wanted.size is not None and size != wanted.size:
        raise DiskTrouble(
            f"{wanted.target} already exists with {size} bytes, {wanted.size} expected. "
            "It is left as it is: move or delete it, then run again."
        )
    if wanted.size is None and wanted.sha256 and _hash_of(job) != wanted.sha256:
        raise DiskTrouble(
            f"{wanted.target} already exists and is not the expected file. "
            "It is left as it is: move or delete it, then run again."
        )
    job.progress(size, size)
    return wanted.target


def _fetch_verified(job: _Job) -> Path:
    for last_chance in (False, True):
        part = Part(job.wanted.target, _identity(job.wanted), job.cancelled)
        continued = part.size > 0
        try:
            _fill(job, part)
            wrong = _difference(job.wanted, part)
            if not wrong:
                part.place(job.wanted.target)
                return job.wanted.target
            part.discard()
            if last_chance or not continued:
                raise Damaged(
                    f"{mask(job.wanted.url)}: {wrong}. What arrived was deleted; run again, or fetch it by hand."
                )
        finally:
            part.close()
    raise AssertionError("unreachable: the last chance returns or raises")


def _fill(job: _Job, part: Part) -> None:
    tries = 0
    while True:
        before = part.size
        try:
            return _receive(job, part)
        except Unreachable as trouble:
            tries = 1 if part.size > before else tries + 1
            if tries >= MOST_TRIES:
                raise
            wait = trouble.retry_after_s
            _pause(job, wait if wait is not None else _backoff(tries, job.world))


def _receive(job: _Job, part: Part) -> None:
    wanted = job.wanted
    if wanted.size is not None and part.size == wanted.size:
        return
    with open_get(job.session, wanted.url, _resume_headers(part), job.world.timeouts) as response:
        if response.status_code == 416:  # the part is longer than what the server has now
            part.restart(None)
            raise Unreachable(f"{mask(wanted.url)}: the part on disk does not fit the file on the server any more.")
        check_status(response, wanted.url)
        total = _begin(wanted, part, response)
        _check_space(job, part, total)
        _copy(job, part, response, total)
    if total is not None and part.size < total:
        raise Unreachable(f"{mask(wanted.url)}: the connection was cut after {part.size} of {total} bytes.")


def _copy(job: _Job, part: Part, response: requests.Response, total: int | None) -> None:
    next_look = part.size + SPACE_CHECK_EVERY
    for block in blocks(response, job.world.timeouts, job.cancelled):
        if part.size + len(block) > job.wanted.most_bytes:
            raise Refused(f"{mask(job.wanted.url)}: longer than the {job.wanted.most_bytes} bytes allowed.")
        part.append(block)
        job.progress(part.size, total)
        if part.size >= next_look:
            _check_space(job, part, total)
            next_look = part.size + SPACE_CHECK_EVERY


def _begin(wanted: Wanted, part: Part, response: requests.Response) -> int | None:
    """Set the part up for this answer, continued or from the start; return the size of the whole file if announced."""
    validator = _validator(response)
    span = content_range(response) if response.status_code == 206 else None
    length = response.headers.get("Content-Length", "")
    announced = span[2] if span else int(length) if length.isdigit() and response.status_code == 200 else None
    _check_total(wanted, announced)  # before the part is touched: a login page must not cost what is already here
    if span and span[0] == part.size and (validator is None or part.validator in (None, validator)):
        return announced
    if response.status_code == 206:
        part.restart(None)
        raise Unreachable(f"{mask(response.url)}: the server continued with other bytes than asked for.")
    part.restart(validator)
    return announced


def _check_total(wanted: Wanted, total: int | None) -> None:
    if total is None:
        return
    if wanted.size is not None and total != wanted.size:
        raise Damaged(f"{mask(wanted.url)}: the server offers {total} bytes, {wanted.size} expected.")
    if total > wanted.most_bytes:
        raise Refused(f"{mask(wanted.url)}: {total} bytes, at most {wanted.most_bytes} allowed.")


def _check_space(job: _Job, part: Part, total: int | None) -> None:
    expected = total if total is not None else job.wanted.size
    missing = max((expected or 0) - part.size, 0)
    free = job.world.free_space(part.path.parent)
    if free < missing + SPACE_TO_SPARE:
        raise DiskTrouble(
            f"{part.path.parent} has {free / 1e9:.2f} GB free, {(missing + SPACE_TO_SPARE) / 1e9:.2f} GB needed for "
            f"{job.wanted.target.name}. Free some space, then run again: it goes on from here."
        )


def _difference(wanted: Wanted, part: Part) -> str | None:
    if wanted.size is not None and part.size != wanted.size:
        return f"{part.size} bytes arrived, {wanted.size} expected"
    if wanted.sha256 and part.sha256 != wanted.sha256:
        return f"the file has sha256 {part.sha256}, {wanted.sha256} expected"
    return None


def _resume_headers(part: Part) -> dict[str, str]:
    if not part.size:
        return {}
    headers = {"Range": f"bytes={part.size}-"}
    if part.validator:
        headers["If-Range"] = part.validator
    return headers


def _validator(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):  # a weak tag promises no equal bytes
        return etag
    return response.headers.get("Last-Modified")


def _identity(wanted: Wanted) -> str:
    # a signed address changes its query every time, the file behind it does not
    place = wanted.sha256 or urlsplit(wanted.url)._replace(query="", fragment="").geturl()
    return hashlib.sha256(f"{place} {wanted.size}".encode()).hexdigest()


def _hash_of(job: _Job) -> str:
    digest = hashlib.sha256()
    with disk_errors(job.wanted.target), job.wanted.target.open("rb") as file:
        while block := file.read(1 << 20):
            if job.cancelled():
                raise Cancelled("Stopped while an existing file was being checked.")
            digest.update(block)
    return digest.hexdigest()


def _backoff(tries: int, world: World) -> float:
    return min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S) * (0.5 + world.jitter())


def _pause(job: _Job, seconds: float) -> None:
    steps = max(1, round(seconds / PAUSE_S))
    for _step in range(steps):
        if job.cancelled():
            raise Cancelled("Stopped. What arrived is kept.")
        job.world.sleep(seconds / steps)
