"""Bring a finished result home and believe it only when its content says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import net
from .answers import Result
from .errors import Lost, StillRunning, Trouble

MOST_RESULT_BYTES = 4 << 30
MOST_ROUNDS = 5
FIRST_WAIT_S = 2.0
MAGIC_BYTES = 16
# (offset, bytes) of containers a result may have: MP4/MOV, Matroska/WebM, AVI, MPEG program and transport stream
CONTAINERS = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (8, b"AVI "), (0, b"\x00\x00\x01\xba"), (0, b"\x47"))


@dataclass(frozen=True)
class Errand:
    """One result to fetch: where to, how to ask for fresh addresses, how to verify, how to wait.

    `verify(path)` returns what is wrong with a video, None when it is good. `pause` raises when the user stops.
    """

    request_id: str
    target: Path
    ask_again: Callable[[], Result]
    verify: Callable[[Path], str | None]
    pause: Callable[[float], None]
    progress: Callable[[int, int | None], None] = lambda done, total: None
    cancelled: Callable[[], bool] = net.never
    most_bytes: int = MOST_RESULT_BYTES
    world: net.World = net.REAL_WORLD


def fetch_result(result: Result, errand: Errand, session: net.GuardedSession) -> Path:
    """Download and verify the video of a succeeded request; a second call with the file in place only verifies it.

    Raises StillRunning when it cannot be had now (fetching again is free), Lost when what is offered is no usable
    video, net.Cancelled on stop.
    """
    wrong = ""
    for round in range(MOST_ROUNDS):
        if round:
            errand.pause(FIRST_WAIT_S * 2 ** (round - 1))
            result = _fresh(errand, result)
        outcomes = _try_in_turn(result, errand, session)
        if outcomes and outcomes[-1][0] is None:
            return errand.target
        wrong = str(outcomes[0][0]) if outcomes else ""
        # once more after the first time: a file may have been caught half written
        if round and outcomes and all(is_definite for _, is_definite in outcomes):
            raise Lost(f"The result of request {errand.request_id} is not usable: {wrong}")
    raise _safe(errand, wrong)


def looks_like_video(head: bytes) -> bool:
    """True when the first bytes are those of a video container."""
    return any(head[offset : offset + len(magic)] == magic for offset, magic in CONTAINERS)


def _try_in_turn(result: Result, errand: Errand, session: net.GuardedSession) -> list[tuple[str | None, bool]]:
    """Outcomes of a result's addresses, until one is good; raises StillRunning when all of them are forbidden."""
    outcomes, refused = [], None
    for url in result.urls:
        try:
            outcomes.append(_try_one(url, errand, session))
        except net.Refused as error:
            refused = refused or error
            continue
        if outcomes[-1][0] is None:
            break
    if refused and not outcomes:
        raise _safe(errand, str(refused))
    return outcomes


def _try_one(url: str, errand: Errand, session: net.GuardedSession) -> tuple[str | None, bool]:
    """(what is wrong or None, whether the file itself is wrong) after one download."""
    wanted = net.Wanted(url, errand.target, most_bytes=errand.most_bytes)
    try:
        net.download(wanted, session, errand.progress, errand.cancelled, errand.world)
    except (net.Cancelled, net.Refused):
        raise
    except net.DiskTrouble as error:
        raise _safe(errand, str(error)) from None
    except net.NetError as error:
        return str(error), False
    with errand.target.open("rb") as file:
        head = file.read(MAGIC_BYTES)
    # a page of a proxy or a login says nothing about the result; a video with the wrong content does
    is_video = looks_like_video(head)
    wrong = errand.verify(errand.target) if is_video else f"What came is no video, it begins with {head[:8]!r}."
    if wrong is not None:
        errand.target.unlink(missing_ok=True)
    return wrong, is_video


def _safe(errand: Errand, wrong: str) -> StillRunning:
    return StillRunning(
        f"The result of request {errand.request_id} could not be fetched. {wrong} "
        "It is paid and safe; run again to fetch it, nothing is paid twice."
    )


def _fresh(errand: Errand, result: Result) -> Result:
    try:
        fresh = errand.ask_again()
    except Trouble:
        return result
    return fresh if fresh.urls else result
