"""What holds for all runs on this server, in one JSON file below ComfyUI's system user folder, which no route serves.

The RunComfy token is not in it: it has a file of its own, readable by its owner alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .. import net

FILE, TOKEN_FILE, JOURNAL_FILE = "settings.json", "runcomfy_token", "runcomfy_journal.db"
SECRET_ADDRESSES = ("storage_put_url", "storage_get_url")  # may be signed: shown without their queries
LONGEST_TEXT = 2000
STORAGES = ("none", "presigned", "s3")


class BadSetting(ValueError):
    """A value that cannot be taken; the message names setting, value and what is expected."""


@dataclass(frozen=True)
class ServerSettings:
    """All of them, with what holds on install."""

    auto_may_pay: bool = False  # the backend auto may upload and pay where there is no graphics card
    run_limit_usd: float = 2.0  # for runs of the backend auto; RunComfy has its own widget
    day_limit_usd: float | None = 10.0  # over all runs of 24 hours; None is no limit
    max_requests: int = 1  # for runs of the backend auto, while no price is known
    in_flight: int = 2  # the same: segments processed at the same time
    jobs_limit_gb: float = 50.0  # finished results kept on disk, oldest go first; 0 is no limit
    storage: str = "none"  # where clips are put for RunComfy when nothing else works: none, presigned, s3
    storage_put_url: str = ""  # presigned: {name} in both is replaced
    storage_get_url: str = ""
    s3_bucket: str = ""
    s3_endpoint: str = ""
    s3_prefix: str = "seedvr2/"

    def shown(self) -> dict[str, Any]:
        """As it may be shown: addresses without their signatures."""
        return asdict(self) | {name: _masked(getattr(self, name)) for name in SECRET_ADDRESSES}

    def changed(self, changes: Mapping[str, object]) -> ServerSettings:
        """The same with some values replaced; raises BadSetting. A masked address that comes back changes nothing."""
        kept = {name for name in SECRET_ADDRESSES if name in changes and changes[name] == _masked(getattr(self, name))}
        made = replace(self, **{name: _checked(name, value) for name, value in changes.items() if name not in kept})  # pyright: ignore[reportArgumentType]
        if made.storage == "presigned" and not (made.storage_put_url and made.storage_get_url):
            raise BadSetting("storage is presigned: storage_put_url and storage_get_url are both needed.")
        if made.storage == "s3" and not made.s3_bucket:
            raise BadSetting("storage is s3: s3_bucket is needed.")
        return made


DEFAULTS = ServerSettings()
RANGES: dict[str, tuple[float, float]] = {
    "run_limit_usd": (0, 1000),
    "day_limit_usd": (0, 10_000),
    "max_requests": (1, 1000),
    "in_flight": (1, 8),
    "jobs_limit_gb": (0, 100_000),
}
WHOLE_NUMBERS = ("max_requests", "in_flight")
KNOWN = {field.name for field in fields(ServerSettings)}


def load(folder: Path) -> ServerSettings:
    """The settings kept in a folder; what is missing, unknown or damaged there is as on install."""
    try:
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return DEFAULTS
    settings = DEFAULTS
    for name, value in stored.items() if isinstance(stored, dict) else ():
        try:
            settings = replace(settings, **{name: _checked(name, value)})  # pyright: ignore[reportArgumentType]
        except BadSetting:
            continue
    return settings


def save(folder: Path, settings: ServerSettings) -> None:
    """Replace the file as a whole, readable by its owner alone: storage addresses may be signed."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{FILE}.{os.getpid()}"
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(settings), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / FILE)


def _checked(name: str, value: object) -> object:
    if name not in KNOWN:
        raise BadSetting(f"There is no setting {name}.")
    if name == "day_limit_usd" and value is None:
        return None
    if name in RANGES:
        return _number(name, value)
    if name == "auto_may_pay":
        if not isinstance(value, bool):
            raise BadSetting(f"{name} is {value!r}; expected true or false.")
        return value
    return _text(name, value)


def _number(name: str, value: object) -> float | int:
    low, high = RANGES[name]
    kind = int if name in WHOLE_NUMBERS else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or not low <= value <= high:
        raise BadSetting(
            f"{name} is {value!r}; expected a {'whole ' if kind is int else ''}number from {low} to {high}."
        )
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise BadSetting(f"{name} takes one line of text.")
    if name == "storage" and value not in STORAGES:
        raise BadSetting(f"storage is {value!r}; expected {', '.join(STORAGES)}.")
    return value.strip()


def _masked(address: str) -> str:
    return net.mask(address) if address else ""
