"""Follow one request from its id to its result, whatever the network does meanwhile.

Only /result decides. Passing trouble is waited out; time in the queue costs no patience; a deadline is judged only
right after the server was reached, so neither a sleeping laptop nor a changed clock ends a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .answers import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED, UNCLEAR, Result, sentence
from .client import Client
from .errors import (
    BadToken,
    Busy,
    CancelledRemotely,
    Failed,
    Gone,
    Lost,
    NoBalance,
    StillRunning,
    Trouble,
)

FIRST_POLL_S, LONGEST_POLL_S, POLL_GROWTH = 2.0, 10.0, 1.25
LONGEST_RUNNING_POLL_S = 3.0  # the end of a running request is seen half of that late, on average
MOST_EMPTY_RESULTS = 5  # succeeded without an output, looked at again
MOST_GONE = 3  # answers "no such request", besides those of the first minutes
FEWEST_FAILURES = 5  # before trouble may end the waiting
FAMILIAR_AFTER_S = 120.0  # so long a fresh request may be unknown to a part of the service


@dataclass(frozen=True)
class Patience:
    """Seconds: of running (not queued) time, and of unbroken trouble, before a run leaves a request to the next run."""

    running_s: float = 3600.0
    trouble_s: float = 900.0


@dataclass(frozen=True)
class Look:
    """What the last look at a request showed, for the user."""

    state: str
    queue_position: int | None
    elapsed_s: float
    trouble: str = ""


@dataclass
class _Memory:
    """What the loop carries from one look to the next."""

    began: float
    interval: float = FIRST_POLL_S
    word: str = ""
    running_since: float | None = None
    trouble_since: float | None = None
    failures: int = 0
    gone: int = 0
    empty: int = 0


DEFAULT_PATIENCE = Patience()


def follow(
    client: Client,
    request_id: str,
    submitted: Collection[str],
    clock: Callable[[], float],
    report: Callable[[Look], None] = lambda look: None,
    charged: Callable[[float], None] = lambda cost_usd: None,
    is_fresh: bool = True,
    patience: Patience = DEFAULT_PATIENCE,
) -> Result:
    """Return the succeeded result of a request, with at least one address in it.

    `charged` hears of every cost that is reported, also of a request that failed. Raises Failed, CancelledRemotely,
    Lost, OtherAccount or StillRunning; what `client.pause` raises passes through.
    """
    memory = _Memory(began=clock())
    while True:
        try:
            result = _look(client, request_id, submitted)
        except (BadToken, NoBalance) as error:
            raise StillRunning(f"Request {request_id} goes on, but {error} Then run again: nothing is lost.") from None
        except Gone as error:
            _bear_absence(memory, error, request_id, is_fresh, clock())
        except Trouble as error:
            _bear_trouble(memory, error, request_id, patience, clock())
            report(Look(memory.word, None, clock() - memory.began, str(error)))
            client.pause(min(error.wait_s, 150.0) if isinstance(error, Busy) and error.wait_s else memory.interval)
            _slow_down(memory)
            continue
        else:
            if result.cost_usd is not None:
                charged(result.cost_usd)
            finished = _judge(memory, result, request_id, patience, clock())
            if finished:
                return finished
            report(Look(memory.word, result.state.queue_position, clock() - memory.began, _oddity(result)))
        client.pause(memory.interval)
        _slow_down(memory, LONGEST_RUNNING_POLL_S if memory.word == RUNNING else LONGEST_POLL_S)


def _look(client: Client, request_id: str, submitted: Collection[str]) -> Result:
    state = client.status(request_id)
    if state.word in (QUEUED, RUNNING):
        return Result(state)
    return client.result(request_id, submitted)


def _judge(memory: _Memory, result: Result, request_id: str, patience: Patience, now: float) -> Result | None:
    """The result when it is final and good, None to wait on; raises for the other ends."""
    memory.trouble_since, memory.failures, memory.gone = None, 0, 0
    word = result.state.word
    if word == FAILED:
        reason = sentence(result.reason or "No reason was given")
        raise Failed(
            f"RunComfy reports that request {request_id} failed. {reason} It may be charged; running again pays anew."
        )
    if word == CANCELLED:
        raise CancelledRemotely(f"Request {request_id} was cancelled on RunComfy.{_cost_text(result)}")
    if word == SUCCEEDED and result.urls:
        return result
    if word == SUCCEEDED:
        memory.empty += 1
        if memory.empty >= MOST_EMPTY_RESULTS:
            raise Lost(f"Request {request_id} succeeded, but RunComfy's answer names no video.{_cost_text(result)}")
    if word != memory.word:
        memory.word, memory.interval = word, FIRST_POLL_S
    if word == QUEUED:
        memory.running_since = None
        return None
    memory.running_since = now if memory.running_since is None else memory.running_since
    if now - memory.running_since > patience.running_s:
        raise StillRunning(
            f"Request {request_id} has not finished after {patience.running_s / 60:.0f} minutes of running. "
            "It was not cancelled; run again to pick it up, nothing is paid twice."
        )
    return None


def _bear_trouble(memory: _Memory, error: Trouble, request_id: str, patience: Patience, now: float) -> None:
    memory.failures += 1
    memory.trouble_since = now if memory.trouble_since is None else memory.trouble_since
    if memory.failures >= FEWEST_FAILURES and now - memory.trouble_since > patience.trouble_s:
        raise StillRunning(
            f"RunComfy could not be asked about request {request_id} for {patience.trouble_s / 60:.0f} minutes "
            f"({error}) The request is safe; run again to pick it up."
        )


def _bear_absence(memory: _Memory, error: Gone, request_id: str, is_fresh: bool, now: float) -> None:
    if is_fresh and now - memory.began < FAMILIAR_AFTER_S:
        return
    memory.gone += 1
    if memory.gone >= MOST_GONE:
        raise Lost(f"Request {request_id} is unknown to RunComfy, expired or deleted. {error}")


def _slow_down(memory: _Memory, longest_s: float = LONGEST_POLL_S) -> None:
    memory.interval = min(memory.interval * POLL_GROWTH, longest_s)


def _oddity(result: Result) -> str:
    return f"unknown state {result.state.raw}" if result.state.word == UNCLEAR else ""


def _cost_text(result: Result) -> str:
    return "" if result.cost_usd is None else f" Reported cost: ${result.cost_usd:.2f}."
