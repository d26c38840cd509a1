"""The calls of RunComfy's Model API, one function each. A paid call is made once; no call follows a redirect.

The token goes to the API's own origin only. `base` carries its version, as RunComfy's own tools have it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from .. import net
from .answers import Price, Result, State, complaint, parse, price_of, result_of, state_of
from .errors import (
    BadInput,
    BadToken,
    Busy,
    CloudError,
    Gone,
    NotSubmitted,
    OtherAccount,
    OutcomeUnknown,
    OutsideLimits,
    Trouble,
)
from .schema import MODEL_ID, MOST_DATA_BYTES, VIDEO_FIELD
from .token import Token

DEFAULT_BASE = "https://model-api.runcomfy.net/v1"
BASE_VARIABLE = "RUNCOMFY_MODEL_API_BASE"
NOBODYS_REQUEST = "seedvr2-anywhere-token-check"
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# an answer of /result may repeat the request, and with it a clip that was sent as a data URI
MOST_ANSWER_BYTES = (4 << 20) + 2 * MOST_DATA_BYTES
SUBMIT_PATIENCE = net.Timeouts(connect_s=10, read_s=100, block_s=30)  # the body's own pace is watched per block
PATIENCE = net.Timeouts(connect_s=10, read_s=20, block_s=20)
SHORT_PATIENCE = net.Timeouts(connect_s=3, read_s=3, block_s=3)  # for what is only nice to know
CANCEL_PATIENCE = net.Timeouts(connect_s=2, read_s=4, block_s=4)
MOST_TRIES_UNSENT = 3
MOST_TRIES_BUSY = 5
FIRST_WAIT_S = 1.0
DEFAULT_BUSY_WAIT_S = 10.0


@dataclass(frozen=True)
class Clip:
    """What stands in the video field: an address, or a file's bytes to be sent as a data URI."""

    address: str | None = None
    data: bytes | None = None
    media_type: str = "video/mp4"


@dataclass(frozen=True)
class Client:
    """The Model API at `base` under one token; session, pause and patience are injected.

    `pause(seconds)` sleeps and raises Interrupted when the user stops the run.
    """

    base: str
    token: Token
    session: net.GuardedSession
    pause: Callable[[float], None]
    cancelled: Callable[[], bool] = net.never
    submit_patience: net.Timeouts = SUBMIT_PATIENCE
    patience: net.Timeouts = PATIENCE
    cancel_patience: net.Timeouts = CANCEL_PATIENCE

    def submit(self, values: Mapping[str, object], clip: Clip) -> str:
        """Make one paid request and return its id.

        Repeated only while it provably did not arrive or was turned away as too early. Raises NotSubmitted or one of
        its kinds, OutcomeUnknown, or net.Cancelled before the last byte left.
        """
        unsent = busy = 0
        while True:
            try:
                return self._submit_once(values, clip)
            except net.NotSent as error:
                unsent += 1
                if unsent >= MOST_TRIES_UNSENT:
                    raise NotSubmitted(f"Not submitted, not charged: {error}") from None
                self.pause(FIRST_WAIT_S * 2 ** (unsent - 1))
            except Busy as error:
                busy += 1
                if busy >= MOST_TRIES_BUSY:
                    raise NotSubmitted(f"Not submitted, not charged: {error}") from None
                self.pause(DEFAULT_BUSY_WAIT_S if error.wait_s is None else error.wait_s)

    def status(self, request_id: str) -> State:
        """Where a request stands; `completed` there says nothing about success."""
        return state_of(self._get(f"/requests/{_checked_id(request_id)}/status"))

    def result(self, request_id: str, submitted: Collection[str] = ()) -> Result:
        """The result so far; only its `succeeded` is success. `submitted`: what tells the clip's own addresses."""
        return result_of(self._get(f"/requests/{_checked_id(request_id)}/result?include_cost=true"), submitted)

    def cancel(self, request_id: str) -> str:
        """Ask to cancel; returns `cancelled`, `not_cancellable` or what else the server says, in lower case."""
        answer = self._call("POST", f"/requests/{_checked_id(request_id)}/cancel", patience=self.cancel_patience)
        body = parse(answer)
        return str(body.get("outcome") or body.get("status") or "").strip().lower()

    def price(self) -> Price | None:
        """The published price, or None: absent, unreadable or not told within 3 seconds."""
        try:
            return price_of(parse(self._call("GET", f"/models/{quote(MODEL_ID)}", patience=SHORT_PATIENCE)))
        except (CloudError, net.NetError):
            return None

    def check_token(self) -> None:
        """Return when RunComfy accepts the token: asks about a request nobody has, which costs nothing.

        Raises BadToken when it is refused, Trouble when RunComfy could not be asked.
        """
        try:
            self._get(f"/requests/{NOBODYS_REQUEST}/status")
        except OtherAccount:  # of a request nobody has, only the token can be refused
            raise BadToken(f"RunComfy does not accept the token. It came from {self.token.source}.") from None
        except Gone:
            return

    def _submit_once(self, values: Mapping[str, object], clip: Clip) -> str:
        pieces, length = _body(values, clip)
        upload = net.Upload(_watched(pieces, self.cancelled), length)
        try:
            answer = self._raw("POST", f"/models/{quote(MODEL_ID)}", upload, self.submit_patience)
        except net.NotSent:
            raise
        except net.NetError as error:
            if upload.complete:
                raise OutcomeUnknown(f"The request was sent, but no answer came. {error}") from None
            if isinstance(error, net.Cancelled):
                raise
            raise NotSubmitted(f"Not submitted, not charged: {error}") from None
        request_id = _id_of(answer)
        if request_id:  # whatever else the answer says: a request that has an id is followed, not repeated
            return request_id
        trouble = self._complaint(answer, is_submission=True)
        if trouble:
            raise BadInput(f"{trouble} {length:,} bytes were sent.") if answer.status == 413 else trouble
        raise OutcomeUnknown("The request was sent, but RunComfy's answer holds no usable request id.")

    def _get(self, path: str) -> dict:
        return parse(self._call("GET", path, patience=self.patience))

    def _call(self, method: str, path: str, patience: net.Timeouts) -> net.Answer:
        try:
            answer = self._raw(method, path, None, patience)
        except net.Cancelled:
            raise
        except net.NetError as error:
            raise Trouble(str(error)) from None
        trouble = self._complaint(answer, is_submission=False)
        if trouble:
            raise trouble
        return answer

    def _raw(self, method: str, path: str, upload: net.Upload | None, patience: net.Timeouts) -> net.Answer:
        headers = {
            "Authorization": f"Bearer {self.token.secret}",
            "Accept": "application/json",
            "Cache-Control": "no-cache",
        }
        if upload is not None:
            headers["Content-Type"] = "application/json"
        answer = net.call(self.session, method, self.base + path, headers, upload, MOST_ANSWER_BYTES, patience)
        return replace(answer, body=self.token.hide_in(answer.body))

    def _complaint(self, answer: net.Answer, is_submission: bool) -> CloudError | None:
        trouble = complaint(answer, is_submission)
        if trouble is None:
            return None
        source = f" It came from {self.token.source}." if isinstance(trouble, BadToken) else ""
        trouble.args = (str(trouble) + source,)
        return trouble


def base_of(environment: Mapping[str, str]) -> str:
    """The API base of the environment, else RunComfy's; plain http only on loopback, else OutsideLimits."""
    base = (environment.get(BASE_VARIABLE) or DEFAULT_BASE).strip().rstrip("/")
    try:
        parts = net.check_url(base, net.Rules.for_base(base))
    except net.Refused as error:
        raise OutsideLimits(f"{BASE_VARIABLE} cannot be used. {error} Nothing was sent.") from None
    if parts.query or parts.fragment:
        raise OutsideLimits(f"{BASE_VARIABLE} must be a plain address without ? or #.")
    return base


def _checked_id(request_id: str) -> str:
    if not REQUEST_ID.fullmatch(request_id):
        raise OutcomeUnknown("A request id with unusual characters was met; it is not used.")
    return request_id


def _id_of(answer: net.Answer) -> str | None:
    """The request id in a 2xx answer, None when there is none that can be used."""
    if not 200 <= answer.status < 300:
        return None
    try:
        request_id = parse(answer).get("request_id")
    except Trouble:
        return None
    return request_id if isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id) else None


def _body(values: Mapping[str, object], clip: Clip) -> tuple[Iterator[bytes], int]:
    """The JSON body in pieces, and its length; a clip's bytes are encoded on the way, never held twice."""
    if clip.data is None:
        body = json.dumps({VIDEO_FIELD: clip.address, **values}).encode()
        return iter((body,)), len(body)
    opening = f'{{"{VIDEO_FIELD}": "data:{clip.media_type};base64,'.encode()
    rest = json.dumps(dict(values))
    closing = ('", ' + rest[1:] if values else '"}').encode()
    length = len(opening) + 4 * ((len(clip.data) + 2) // 3) + len(closing)
    return _encoded(opening, clip.data, closing), length


def _encoded(opening: bytes, data: bytes, closing: bytes) -> Iterator[bytes]:
    step = 3 << 14  # whole groups of three bytes, so that the pieces join without padding
    yield opening
    for start in range(0, len(data), step):
        yield base64.b64encode(data[start : start + step])
    yield closing


def _watched(pieces: Iterator[bytes], cancelled: Callable[[], bool]) -> Iterator[bytes]:
    for piece in pieces:
        if cancelled():
            raise net.Cancelled("Stopped before the request was complete: not submitted, not charged.")
        yield piece
