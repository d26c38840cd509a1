"""The unfinished file beside the target, what it is a part of, and how it becomes the target.

`<target>.seedvr2.part` holds the bytes, `<target>.seedvr2.part.json` says of what: only bytes of the same wanted file
and the same version on the server are ever continued. Nothing without that suffix is deleted or overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import Cancelled, DiskTrouble
from .locks import try_lock

SUFFIX = ".seedvr2.part"
HASH_BLOCK = 1 << 20
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC})
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class Part:
    """The growing file; `size` bytes of it are there and hashed. Use under `only_one`."""

    def __init__(self, target: Path, identity: str, cancelled: Callable[[], bool]):
        self.path = target.with_name(target.name + SUFFIX)
        self.validator: str | None = None  # the ETag or Last-Modified under which the bytes were sent
        self.size = 0
        self._note = self.path.with_name(self.path.name + ".json")
        self._identity = identity
        self._hash = hashlib.sha256()
        with disk_errors(self.path):
            self._file = self._reopen(cancelled)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def restart(self, validator: str | None) -> None:
        """Drop the bytes and begin again as a part of the version named by `validator`."""
        with disk_errors(self.path):
            self._file.seek(0)
            self._file.truncate()
            self.size, self._hash, self.validator = 0, hashlib.sha256(), validator
            self._note.write_text(json.dumps({"identity": self._identity, "validator": validator}), encoding="utf-8")

    def append(self, block: bytes) -> None:
        with disk_errors(self.path):
            self._file.write(block)
        self._hash.update(block)
        self.size += len(block)

    def place(self, target: Path) -> None:
        """Make the finished part the target in one step; an existing target is left alone and named in the error."""
        with disk_errors(target):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            _move_without_overwriting(self.path, target)
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the part and its note: its bytes proved wrong."""
        self._file.close()
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)

    def close(self) -> None:
        with disk_errors(self.path):
            self._file.close()

    def _reopen(self, cancelled: Callable[[], bool]) -> IO[bytes]:
        note = self._read_note()
        if note is None:
            return self.path.open("w+b")
        self.validator = note.get("validator")
        file = self.path.open("r+b")
        while block := file.read(HASH_BLOCK):
            if cancelled():
                file.close()
                raise Cancelled("Stopped. What arrived is kept.")
            self._hash.update(block)
            self.size += len(block)
        return file

    def _read_note(self) -> dict | None:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        ours = isinstance(note, dict) and note.get("identity") == self._identity
        return note if ours and self.path.is_file() else None


@contextlib.contextmanager
def only_one(target: Path, pause: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a target against other threads and processes; `pause` is called while another has it.

    The lock is the operating system's and dies with the process, so a crash leaves nothing to clean up.
    """
    path = target.with_name(target.name + SUFFIX + ".lock")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    file = _acquire(path, pause)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # Windows refuses while another waits for it: then the other one deletes it
        file.close()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into DiskTrouble with the file named."""
    try:
        yield
    except FileExistsError:
        raise DiskTrouble(f"{path} already exists. Move it away or rename it, then run again.") from None
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskTrouble(f"No space left for {path}. Free some, then run again: it goes on from here.") from None
        raise DiskTrouble(f"{path} cannot be written: {error.strerror or error}.") from None


def _acquire(path: Path, pause: Callable[[], None]) -> IO[bytes]:
    while True:
        with disk_errors(path):
            file = path.open("ab")
        if try_lock(file) and _is_still(path, file):
            return file
        file.close()
        pause()


def _is_still(path: Path, file: IO[bytes]) -> bool:
    # the one who had the lock deletes the file: a lock on a deleted file protects nothing
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


def _move_without_overwriting(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(target) from None
        source.rename(target)
    else:
        source.unlink()
