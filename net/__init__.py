"""The only room that opens a connection.

`guarded_session` makes a session that refuses private addresses, `open_get` follows redirects by hand,
`download` brings a large file home whole, `fetch_range` reads a few bytes out of one.
"""

from __future__ import annotations

from .address import ALL_PORTS, Rules, check_fetchable, check_url, mask
from .call import Answer, Upload, call
from .download import REAL_WORLD, Wanted, World, download
from .errors import BadStatus, Cancelled, Damaged, DiskTrouble, NetError, NotSent, Refused, Unreachable
from .get import RangeAnswer, Timeouts, fetch_range, never, open_get, read_limited, retry_after_s
from .locks import try_lock
from .session import GuardedSession, guarded_session

__all__ = [
    "ALL_PORTS",
    "Answer",
    "REAL_WORLD",
    "BadStatus",
    "Cancelled",
    "Damaged",
    "DiskTrouble",
    "GuardedSession",
    "NetError",
    "RangeAnswer",
    "NotSent",
    "Refused",
    "Rules",
    "Timeouts",
    "Unreachable",
    "Upload",
    "Wanted",
    "World",
    "call",
    "check_fetchable",
    "check_url",
    "download",
    "fetch_range",
    "guarded_session",
    "mask",
    "never",
    "open_get",
    "read_limited",
    "retry_after_s",
    "try_lock",
]
