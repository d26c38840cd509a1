"""What can go wrong on the way to a file, mapped once at the border of this room.

    NetError
    ├── Refused       an address, scheme, port, redirect or size that is not allowed; nothing was read
    ├── Unreachable   no answer, cut, stalled or a server in trouble, after all tries; what arrived is kept
    │   └── NotSent   of a call with a body: it failed before the body was handed over whole
    ├── BadStatus     a definite no of the server: 401, 403, 404 and the like
    ├── Damaged       what arrived is not what was expected: size, hash, range
    ├── DiskTrouble   no space, folder not writable, or another file of that name is in the way
    └── Cancelled     the caller asked to stop; what arrived is kept

Messages carry no query string, no user name and no password of a URL.
"""

from __future__ import annotations


class NetError(Exception):
    """Base of everything this room raises on purpose."""


class Refused(NetError):
    """Not allowed by the rules of the session; no byte of a body was read."""


class Unreachable(NetError):
    """The network or the server failed; trying again later may succeed."""

    def __init__(self, message: str, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotSent(Unreachable):
    """The server cannot have acted on the call: it never got all of it."""


class BadStatus(NetError):
    """The server answered with a definite refusal, kept in `status`."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class Damaged(NetError):
    """The bytes are not the expected ones."""


class DiskTrouble(NetError):
    """The file cannot be written where it was asked for."""


class Cancelled(NetError):
    """Stopped at the caller's wish."""
