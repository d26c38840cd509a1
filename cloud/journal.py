"""The write-ahead record of every paid request: what was meant, sent, answered, paid and kept.

One SQLite file (WAL), safe for several processes. A row is written before its POST leaves. Whether the process behind
an unanswered row still lives is told by a lock of the operating system, which dies with it. A damaged file is set
aside, never fatal; a file that cannot be written forbids any POST.

States: intended → submitted → done, or one of the ends below.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

from .. import net
from .errors import NotSubmitted

INTENDED, SUBMITTED, DONE = "intended", "submitted", "done"
NOT_SUBMITTED, FAILED, CANCELLED = "not submitted", "failed", "cancelled"  # a new run may submit again
UNKNOWN, LOST = "unknown", "lost"  # perhaps or surely charged, no result: only the user may pay again
REPLACED = "replaced"  # the user agreed to pay again
OPEN = (INTENDED, SUBMITTED, DONE, UNKNOWN, LOST)  # these stand in the way of a new POST for the same key
MAY_COST = (INTENDED, SUBMITTED, DONE, UNKNOWN, LOST, REPLACED, FAILED, CANCELLED)
SHORT_ID = 6  # letters of the id shown to the user
WAIT_FOR_OTHERS_S = 10.0  # for another process's write
OTHERS_POLL_S = 0.02
DAY_S = 86_400.0


@dataclass(frozen=True)
class Record:
    """One request, past or present."""

    id: str  # ours, unique; its first letters are what the user types to pay again
    account: str
    key: str  # source frames and settings
    run: str
    label: str  # which segment, for people
    state: str
    remote_id: str | None
    created: float  # seconds since 1970
    updated: float
    price_usd: float | None  # expected
    cost_usd: float | None  # reported
    output: str | None  # file name of the fetched result, inside the job's folder
    message: str | None
    owner: str  # the process that made the row

    @property
    def short_id(self) -> str:
        return self.id[:SHORT_ID]


COLUMNS = tuple(field.name for field in fields(Record))
TYPES = {"id": "TEXT PRIMARY KEY", **dict.fromkeys(("created", "updated", "price_usd", "cost_usd"), "REAL")}


class Journal:
    """The journal in one file; every call opens, commits and closes, so threads and processes may share it."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time):
        self.path = path
        self.set_aside: Path | None = None  # where a damaged journal went, for the report
        self._now = now
        self.owner = uuid.uuid4().hex
        self._life: IO[bytes] | None = None
        self._sending: set[str] = set()  # rows whose POST is under way in this process
        self._is_closing = False

    def open(self) -> Journal:
        """Make sure that the journal can be read and written; raises NotSubmitted when it cannot."""
        with _unwritable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._mark_alive()
            try:
                self._create_patiently()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "no such column" not in str(error):
                    raise  # busy, full or read-only is no damage
                self._move_aside()
                self._create_patiently()
        return self

    def close(self) -> None:
        """Say that no more requests are made here; open rows stay for the next run.

        While an answer is still awaited, the row stays marked as being sent until `finish` has been called for it.
        """
        self._is_closing = True
        if self._life and not self._sending:
            self._life.close()
            self._life = None
            with contextlib.suppress(OSError):
                self._life_path(self.owner).unlink()

    def intend(self, record: Record, since: float = 0.0, allow: Callable[[float], None] = lambda spent: None) -> Record:
        """Write a row before its POST, unless an open one for the same key is there: then return that one.

        `allow(dollars spent since a moment)` may raise, with no other row coming in between. Call `finish` once it is
        written down what became of the POST.
        """
        marks = ", ".join("?" for _ in COLUMNS)
        with self._writing() as db:
            found = self._open_row(db, record.key)
            if found:
                return found
            allow(self._spent_usd(db, since))
            self._sending.add(record.id)
            db.execute(f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({marks})", _values(record))
        return record

    def finish(self, id: str) -> None:
        """The POST of a row is over, whatever became of it."""
        self._sending.discard(id)
        if self._is_closing:
            self.close()

    def new_record(self, account: str, key: str, run: str, label: str, price_usd: float | None) -> Record:
        """A fresh row in state `intended`, not yet written."""
        now = self._now()
        return Record(uuid.uuid4().hex, account, key, run, label, INTENDED, None, now, now, price_usd,
                      None, None, None, self.owner)  # fmt: skip

    def update(self, id: str, **changes: object) -> Record:
        """Change fields of a row; `updated` follows by itself."""
        changes["updated"] = self._now()
        assignments = ", ".join(f"{name} = ?" for name in changes)
        with self._writing() as db:
            db.execute(f"UPDATE requests SET {assignments} WHERE id = ?", (*changes.values(), id))
            return _record(db.execute("SELECT * FROM requests WHERE id = ?", (id,)).fetchone())

    def find(self, key: str) -> Record | None:
        """The open row of a key; one that its dead process left unanswered has become `unknown`."""
        with self._writing() as db:
            return self._open_row(db, key)

    def replace(self, key: str, short_id: str) -> bool:
        """Use the user's consent: the one unknown or lost row of `key` with this id no longer blocks a new POST."""
        with self._writing() as db:
            found = self._open_row(db, key)
            if not found or found.state not in (UNKNOWN, LOST) or found.short_id != short_id.strip().lower():
                return False
            db.execute("UPDATE requests SET state = ?, updated = ? WHERE id = ?", (REPLACED, self._now(), found.id))
            return True

    def is_alive(self, owner: str) -> bool:
        """True while the process that made a row may still answer for it."""
        path = self._life_path(owner)
        try:
            with path.open("r+b") as file:
                if not net.try_lock(file):
                    return True
        except OSError:
            return False
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def spent_usd(self, since: float) -> float:
        """What requests made since a moment cost: as reported, else as expected; unknown prices count nothing."""
        with self._reading() as db:
            return self._spent_usd(db, since)

    def reported_usd(self) -> dict[str, float]:
        """Run → dollars that RunComfy reported for the requests it made, whichever run heard of them."""
        with self._reading() as db:
            query = "SELECT run, SUM(cost_usd) AS usd FROM requests WHERE cost_usd IS NOT NULL GROUP BY run"
            return {row["run"]: float(row["usd"]) for row in db.execute(query)}

    def records(self, run: str | None = None) -> list[Record]:
        """All rows, or those of one run, oldest first."""
        where, values = ("WHERE run = ?", (run,)) if run else ("", ())
        with self._reading() as db:
            return [
                _record(row) for row in db.execute(f"SELECT * FROM requests {where} ORDER BY created, rowid", values)
            ]

    def _spent_usd(self, db: sqlite3.Connection, since: float) -> float:
        marks = ", ".join("?" for _ in MAY_COST)
        query = f"SELECT SUM(COALESCE(cost_usd, price_usd, 0)) FROM requests WHERE created >= ? AND state IN ({marks})"
        return float(db.execute(query, (since, *MAY_COST)).fetchone()[0] or 0.0)

    def _open_row(self, db: sqlite3.Connection, key: str) -> Record | None:
        marks = ", ".join("?" for _ in OPEN)
        query = f"SELECT * FROM requests WHERE key = ? AND state IN ({marks}) ORDER BY created DESC, rowid DESC LIMIT 1"
        row = db.execute(query, (key, *OPEN)).fetchone()
        found = _record(row) if row else None
        if found and found.state == INTENDED and not self._is_being_sent(found):
            db.execute("UPDATE requests SET state = ?, updated = ? WHERE id = ?", (UNKNOWN, self._now(), found.id))
            return _record(db.execute("SELECT * FROM requests WHERE id = ?", (found.id,)).fetchone())
        return found

    def _is_being_sent(self, record: Record) -> bool:
        return record.id in self._sending if record.owner == self.owner else self.is_alive(record.owner)

    def _create_patiently(self) -> None:
        # while another process turns the new file to WAL, SQLite answers "locked" at once instead of waiting
        end = time.monotonic() + WAIT_FOR_OTHERS_S
        while True:
            try:
                return self._create()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(OTHERS_POLL_S)

    def _create(self) -> None:
        types = {
            "created": "REAL",
            "updated": "REAL",
            "price_usd": "REAL",
            "cost_usd": "REAL",
            "id": "TEXT PRIMARY KEY",
        }
        columns = ", ".join(f"{name} {types.get(name, 'TEXT')}" for name in COLUMNS)
        with self._connection() as db:
            db.execute("PRAGMA journal_mode = WAL")
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            db.execute("BEGIN IMMEDIATE")
            db.execute(f"CREATE TABLE IF NOT EXISTS requests ({columns})")
            db.execute("CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key)")
            db.execute(f"SELECT {', '.join(COLUMNS)} FROM requests LIMIT 1")
            db.execute("COMMIT")

    def _move_aside(self) -> None:
        stem = f"{self.path.name}.damaged-{int(self._now())}"
        for ending in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + ending)
            if part.exists():
                part.rename(self.path.with_name(stem + ending))
        self.set_aside = self.path.with_name(stem)

    def _mark_alive(self) -> None:
        if self._life is None:
            self._life = self._life_path(self.owner).open("a+b")
            net.try_lock(self._life)

    def _life_path(self, owner: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{owner}.alive")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with _unwritable(self.path), self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _unwritable(self.path), self._connection() as db:
            yield db

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=WAIT_FOR_OTHERS_S, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")  # a row must survive a power cut: money hangs on it
            yield db
        finally:
            db.close()


@contextlib.contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise NotSubmitted(
            f"The journal of paid requests, {path}, cannot be used ({error}). Without it nothing is submitted. "
            "Free space or make the folder writable, then run again."
        ) from None


def _record(row: sqlite3.Row) -> Record:
    return Record(**{name: row[name] for name in COLUMNS})


def _values(record: Record) -> tuple:
    return tuple(getattr(record, name) for name in COLUMNS)
