"""The only room that opens a connection.

`guarded_session` makes a session that refuses private addresses, `open_get` follows redirects by hand,
`download` brings a large file home whole, `fetch_range` reads a few bytes out of one.
"""

from __future__ import annotations

from .address import Rules, check_url, mask
from .download import REAL_WORLD, Wanted, World, download
from .errors import BadStatus, Cancelled, Damaged, DiskTrouble, NetError, Refused, Unreachable
from .get import RangeAnswer, Timeouts, fetch_range, open_get, read_limited
from .session import GuardedSession, guarded_session

__all__ = [
    "REAL_WORLD",
    "BadStatus",
    "Cancelled",
    "Damaged",
    "DiskTrouble",
    "GuardedSession",
    "NetError",
    "RangeAnswer",
    "Refused",
    "Rules",
    "Timeouts",
    "Unreachable",
    "Wanted",
    "World",
    "check_url",
    "download",
    "fetch_range",
    "guarded_session",
    "mask",
    "open_get",
    "read_limited",
]
