"""What can become of a hosted request, mapped once from status codes, error codes and network failures.

    CloudError
    ├── NotSubmitted        nothing was accepted, nothing is charged
    │   ├── OutsideLimits   a setting, clip or spending limit that this pack refuses by itself
    │   └── Rejected        RunComfy said no
    │       ├── NoBalance   the account has too little credit: no further request makes sense
    │       ├── BadToken    the token is missing, wrong or expired: likewise
    │       └── BadInput    a field was refused
    ├── OutcomeUnknown      sent, but no answer came: it may be running and charged; never repeated by itself
    ├── Failed              RunComfy reports that the request failed
    ├── CancelledRemotely   cancelled, here or on RunComfy's page
    ├── Lost                accepted, but its result is gone or unusable
    │   └── Undecodable     here, and taken for good until its frames were needed
    ├── OtherAccount        the request belongs to another account
    ├── StillRunning        trouble or time is up, the request is safe: the next run picks it up
    ├── Busy, Trouble       a passing failure of one call; the callers in this room wait and ask again
    ├── Incomplete          a run ended early; what was done is kept
    └── Interrupted         stopped by the user

Messages name the request when it is known and never the token.
"""

from __future__ import annotations


class CloudError(Exception):
    """Base of everything this room raises on purpose."""


class NotSubmitted(CloudError):
    """Nothing was accepted by RunComfy and nothing is charged."""


class OutsideLimits(NotSubmitted):
    """Refused here, before anything was sent."""


class Rejected(NotSubmitted):
    """RunComfy answered the submission with a definite no."""


class NoBalance(Rejected):
    """The account's credit does not cover the request."""


class BadToken(Rejected):
    """RunComfy does not accept the token."""


class BadInput(Rejected):
    """RunComfy does not accept a field or the size of the request."""


class OutcomeUnknown(CloudError):
    """The submission was sent and no usable answer came back."""


class Failed(CloudError):
    """The request ended without success."""


class CancelledRemotely(CloudError):
    """The request was cancelled before it produced a result."""


class Lost(CloudError):
    """The request was accepted, and its result cannot be had any more."""


class Undecodable(Lost):
    """A result that looked good cannot be decoded to its end; `segment` is the index of the segment it is of."""

    def __init__(self, message: str, segment: int):
        super().__init__(message)
        self.segment = segment


class Gone(CloudError):
    """One call was answered with: there is no such request (any more)."""


class OtherAccount(CloudError):
    """The request was made with the token of another account."""


class StillRunning(CloudError):
    """The request goes on at RunComfy; the next run with the same settings picks it up."""


class Trouble(CloudError):
    """One call failed in a way that may pass: network, timeout, server error, unreadable answer."""


class Busy(Trouble):
    """RunComfy asked to come back later, after `wait_s` seconds if it said so."""

    def __init__(self, message: str, wait_s: float | None = None):
        super().__init__(message)
        self.wait_s = wait_s


class Incomplete(CloudError):
    """A run ended before all segments were done; `causes` are the first failures, in order of segments."""

    def __init__(self, message: str, causes: tuple[CloudError, ...] = ()):
        super().__init__(message)
        self.causes = causes


class Interrupted(CloudError):
    """The user stopped the run."""
