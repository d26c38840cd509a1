"""Locks of the operating system on open files: they die with the process, so a crash leaves nothing to clean up."""

from __future__ import annotations

import errno
import sys
from typing import IO


def try_lock(file: IO[bytes]) -> bool:
    """True when the lock of an open file is now held here; False when another thread or process holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOSYS, errno.ENOTSUP)  # a file system without locks: go on without one
    return True
