"""What RunComfy's answers mean: codes into errors, states into four words, outputs into addresses.

The six-digit `error_code` in the body decides first, also under HTTP 200; the HTTP status second. Texts of the server
are shown shortened, without the token; a body that is not JSON (a proxy's page) is never shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from .. import net
from .errors import (
    BadInput,
    BadToken,
    Busy,
    CloudError,
    Gone,
    NoBalance,
    OtherAccount,
    OutcomeUnknown,
    Rejected,
    Trouble,
)
from .schema import VIDEO_FIELD, widget_of

QUEUED, RUNNING = "queued", "running"
SUCCEEDED, FAILED, CANCELLED, UNCLEAR = "succeeded", "failed", "cancelled", "unclear"
STATES = {
    **dict.fromkeys(("in_queue", "queued", "pending", "waiting"), QUEUED),
    **dict.fromkeys(("in_progress", "starting", "processing", "running"), RUNNING),
    **dict.fromkeys(("succeeded", "completed"), SUCCEEDED),
    **dict.fromkeys(("failed", "error", "failure"), FAILED),
    **dict.fromkeys(("cancelled", "canceled"), CANCELLED),
}
CLIP_BEGINS = b'"data:video/'
LONGEST_TEXT = 300  # characters of the server's words
BALANCE_CODES = frozenset({400002, 10001})
TOKEN_CODES = frozenset({400004})
STILL_IMAGE_KEYS = frozenset({"image", "images", "audio"})
STILL_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".wav", ".mp3", ".json", ".txt")
DEEPEST = 6  # levels of nesting looked into for an address
HIGHEST_COST_USD = 10_000.0


@dataclass(frozen=True)
class State:
    """One of the state words, what the server called it, and the place in the queue if it told."""

    word: str
    raw: str
    queue_position: int | None = None


@dataclass(frozen=True)
class Result:
    """What /result says: state, addresses that may be the video, reported cost, reason of a failure."""

    state: State
    urls: tuple[str, ...] = ()
    cost_usd: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Price:
    """The published price: so many dollars per unit, and the model's note on it."""

    usd: float
    unit: str
    note: str = ""


def parse(answer: net.Answer) -> dict:
    """The JSON object of an answer; raises Trouble when it is none."""
    try:
        found = json.loads(_without_clip(answer.body))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Trouble(f"RunComfy's answer (HTTP {answer.status}) could not be read.")
    return found


def complaint(answer: net.Answer, is_submission: bool) -> CloudError | None:
    """The error an answer stands for, None when it stands for success."""
    body = _body_or_empty(answer)
    code = _error_code(body)
    if code is None and 200 <= answer.status < 300:
        return None
    leading = _leading(code, answer.status)
    text = sentence(_words(body) or f"HTTP {answer.status}")
    unpaid = " Not submitted, not charged." if is_submission else ""
    if code in BALANCE_CODES or leading == 402:
        return NoBalance(f"RunComfy: too little credit. {text}{unpaid} Add credit to your account, then run again.")
    if code in TOKEN_CODES or leading == 401 or (leading == 403 and is_submission):
        return BadToken(f"RunComfy does not accept the token. {text}{unpaid}")
    if leading == 403:
        return OtherAccount(f"This request belongs to another RunComfy account. {text}")
    if leading == 429:
        return Busy(f"RunComfy is busy. {text}", net.retry_after_s(answer.headers.get("retry-after")))
    if leading == 408 or leading >= 500 or leading < 400:
        return (OutcomeUnknown if is_submission else Trouble)(f"RunComfy is in trouble. {text}")
    if not is_submission:
        return (Gone if leading in (400, 404, 410) else Trouble)(f"RunComfy does not know this request. {text}")
    return (BadInput if leading in (400, 404, 413, 422) else Rejected)(f"RunComfy refused the request. {text}")


def state_of(body: Mapping) -> State:
    """The state in a status or result answer; an unknown or missing one is UNCLEAR, never success or failure."""
    raw = body.get("status")
    word = STATES.get(raw.strip().lower(), UNCLEAR) if isinstance(raw, str) else UNCLEAR
    position = body.get("queue_position")
    known = isinstance(position, int) and not isinstance(position, bool) and position >= 0
    return State(word, _short(str(raw)), position if known else None)


def result_of(body: Mapping, submitted: Collection[str]) -> Result:
    """A result answer; addresses are looked for under `output` only, none that holds a text of `submitted`."""
    state = state_of(body)
    found = (url for url in _urls(body.get("output")) if not any(text in url for text in submitted))
    urls = tuple(dict.fromkeys(found))
    return Result(state, urls, money(body.get("cost")), _words(body))


def price_of(body: Mapping) -> Price | None:
    """The price in a model description; None when it is absent or no amount of money."""
    usd = money(body.get("base_price_usd"))
    unit = body.get("price_unit")
    if usd is None or usd == 0 or not isinstance(unit, str):
        return None
    note = body.get("pricing_note")
    return Price(usd, unit.strip().lower(), _short(note) if isinstance(note, str) else "")


def money(value: object) -> float | None:
    """An amount in dollars; None for anything that is not a plain, finite, sensible number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= HIGHEST_COST_USD else None


def sentence(text: str) -> str:
    """The text with a full stop at its end, if it has none."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _without_clip(body: bytes) -> bytes:
    """The body without the clip, should it repeat the request: reading megabytes of text would hold up all threads."""
    start = body.find(CLIP_BEGINS)
    stop = body.find(b'"', start + 1)
    if start < 0 or stop < 0 or body[start - 1 : start] == b"\\":
        return body
    return body[: start + 1] + body[stop:]


def _body_or_empty(answer: net.Answer) -> dict:
    try:
        return parse(answer)
    except Trouble:
        return {}


def _error_code(body: Mapping) -> int | None:
    code = body.get("error_code")
    if isinstance(code, str) and code.strip().isdigit():
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and code != 0 else None


def _leading(code: int | None, status: int) -> int:
    # six-digit codes begin with the HTTP status they mean
    if code is not None and 400_000 <= code < 600_000:
        return code // 1000
    return status if status >= 300 else 400


def _words(body: Mapping) -> str:
    """The server's reason as one short line, field errors under our widgets' names."""
    for name in ("error_message", "message", "error", "detail"):
        text = _text_of(body.get(name))
        if text:
            return _short(text)
    return ""


def _text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _text_of(value.get("message") or value.get("msg") or value.get("detail"))
    if isinstance(value, list):
        return "; ".join(part for part in (_field_error(one) for one in value[:10]) if part)
    return ""


def _field_error(one: object) -> str:
    if not isinstance(one, Mapping):
        return _text_of(one)
    place = one.get("loc")
    last = str(place[-1]) if isinstance(place, list) and place else ""
    text = _text_of(one)
    return f"{widget_of(last)}: {text}" if last and text else text


def _short(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: LONGEST_TEXT * 4]).split())
    return line if len(line) <= LONGEST_TEXT else line[:LONGEST_TEXT] + "…"


def _urls(output: object, depth: int = 0) -> Iterator[str]:
    """Addresses in an output, those under `video` first, none that names a still image or sound."""
    if depth > DEEPEST:
        return
    if isinstance(output, str):
        path = output.split("?")[0].lower()
        if path.startswith(("https://", "http://")) and not path.endswith(STILL_IMAGE_ENDINGS):
            yield output
    elif isinstance(output, list):
        for one in output[:50]:
            yield from _urls(one, depth + 1)
    elif isinstance(output, Mapping):
        names = [name for name in output if name not in STILL_IMAGE_KEYS and name != VIDEO_FIELD]
        for name in sorted(names, key=lambda name: name not in ("video", "videos")):
            yield from _urls(output[name], depth + 1)
