"""What a run may cost: expected price of a request, limits per run and per day, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .answers import Price
from .errors import OutsideLimits
from .plan import Segment

PER_REQUEST_UNITS = frozenset({"output", "request", "run", "video", "generation"})
PER_SECOND_UNITS = frozenset({"second", "seconds"})


@dataclass(frozen=True)
class Budget:
    """The user's limits. `day_limit_usd` holds over all runs of 24 hours, None for no such limit."""

    spend_limit_usd: float = 2.0
    max_requests: int = 1  # while no price is known
    day_limit_usd: float | None = None


DEFAULT_BUDGET = Budget()


@dataclass(frozen=True)
class Spending:
    """Where a run stands before its next request: dollars expected or reported, requests made."""

    run_usd: float
    day_usd: float
    requests: int


def expected_usd(price: Price | None, segment: Segment, hosted_rate: int) -> float | None:
    """Expected price of a segment's request; None when it is not published or its unit is not understood."""
    if price is None:
        return None
    if price.unit in PER_REQUEST_UNITS:
        return price.usd
    if price.unit in PER_SECOND_UNITS:
        return price.usd * segment.sent_frames / hosted_rate
    return None


def refuse_beyond(budget: Budget, spending: Spending, expected: float | None) -> None:
    """Raise OutsideLimits when the next request would break a limit; `expected` None means that no price is known."""
    if expected is None:
        return _refuse_unpriced(budget, spending)
    if spending.run_usd + expected > budget.spend_limit_usd + 1e-9:
        raise OutsideLimits(
            f"The next request is expected to cost ${expected:.2f} and would bring this run to "
            f"${spending.run_usd + expected:.2f}, above spend_limit_usd {budget.spend_limit_usd:g}. "
            "Raise it to go on; what is done is kept."
        )
    if budget.day_limit_usd is not None and spending.day_usd + expected > budget.day_limit_usd + 1e-9:
        raise OutsideLimits(
            f"The next request is expected to cost ${expected:.2f}; ${spending.day_usd:.2f} were spent in 24 hours, "
            f"and the limit in the settings is ${budget.day_limit_usd:g}. Raise it or wait; what is done is kept."
        )
    return None


def in_all(amounts: Iterable[float | None]) -> float | None:
    """The sum of what was reported; None when nothing was."""
    reported = [amount for amount in amounts if amount is not None]
    return sum(reported) if reported else None


def estimate_text(segments: tuple[Segment, ...], price: Price | None, hosted_rate: int) -> str:
    """One sentence on the cost of a plan; never a made-up price, never free."""
    count = f"{len(segments)} request{'s' if len(segments) != 1 else ''}"
    amounts = [expected_usd(price, segment, hosted_rate) for segment in segments]
    known = [amount for amount in amounts if amount is not None]
    if price and len(known) == len(segments):
        note = f" RunComfy notes: {price.note}" if price.note else ""
        return f"{count}, about ${sum(known):.2f} (${price.usd:g} per {price.unit}).{note}"
    if price:
        return f"{count} at ${price.usd:g} per {price.unit}; what that makes in all is not published."
    return f"{count}; price not published."


def _refuse_unpriced(budget: Budget, spending: Spending) -> None:
    if budget.spend_limit_usd <= 0 or (budget.day_limit_usd is not None and budget.day_limit_usd <= 0):
        raise OutsideLimits("The price is not published and the spending limit is 0: nothing was submitted.")
    if spending.requests >= budget.max_requests:
        raise OutsideLimits(
            f"RunComfy publishes no price for this model and reported no cost, and max_requests is "
            f"{budget.max_requests}. Raise max_requests to go on; what is done is kept."
        )
