"""A run on disk: what it makes, which stretches are finished, where its result is. Survives crashes, stops, restarts.

A job's folder is named by its recipe, so the same source with the same settings finds what was done before. The
manifest is replaced as a whole, after the files it names are whole. It holds no secrets: no address, no token.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from .. import media
from ..net.locks import try_lock
from .windows import Windowing

MANIFEST = "job.json"
LOCK = "lock"
VERSION = 2
KEY_LETTERS = 16
LOCK_TRIES, LOCK_WAIT_S = 10, 0.02  # whoever lists jobs holds each lock for a moment
RUNNING, STOPPED, FAILED, DONE = "running", "stopped", "failed", "done"


class JobError(Exception):
    """A job cannot be started or gone on with; the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """All that decides a result: the source's identity and selection, settings, weights, the plan's semantic half."""

    source: str
    parts: Mapping[str, object]

    @property
    def key(self) -> str:
        """Name of the job among others."""
        text = json.dumps({"version": VERSION, "source": self.source, **self.parts}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LETTERS]


@dataclass(frozen=True)
class Stretch:
    """A finished part of a shot: one segment, and the restored latents that the next part needs."""

    shot: int  # the shot's first frame
    first: int  # its own first frame
    frames: int
    ends_shot: bool
    latents: str = ""  # file in the job's folder


@dataclass
class Facts:
    """What a list of jobs shows of one; JSON values only. Times are seconds since 1970."""

    state: str = RUNNING
    source: str = ""  # path
    name: str = ""
    expected: int | None = None  # frames
    size: list[int] = field(default_factory=list)  # width, height of the result
    rate: str = ""  # frames per second, as a fraction
    selection: dict[str, str] = field(default_factory=dict)
    start: str = ""  # seconds from the source's first frame to the first one wanted, as a fraction
    model: str = ""
    wish: dict[str, Any] = field(default_factory=dict)
    plan: str = ""
    created: float = 0.0
    updated: float = 0.0
    error: str = ""
    paid: bool = False  # made by a service that was paid for it: never pruned by itself
    costs: dict[str, float | None] = field(default_factory=dict)  # by run: dollars that service reported for it
    treatment: dict[str, Any] = field(default_factory=dict)  # how frames are prepared, where a service restores them
    parts: list[dict[str, Any]] = field(default_factory=list)  # what a service finished: start, stop, frames, file, …
    poster: str = ""  # file in the job's folder
    prompt: Any = None  # whatever the caller needs to go on with it later

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Facts:
        """As a manifest has them; what another version of this pack noted besides is left out."""
        return cls(**{one.name: stored[one.name] for one in fields(cls) if one.name in stored})


class Job:
    """One folder under `root`, held by this process until `close`. Raises JobError when another one holds it.

    `record` may be called from any thread.
    """

    def __init__(self, root: Path, name: str, recipe: Recipe) -> None:
        self.folder = root / f"{name}_{recipe.key}"
        self._manifest = self.folder / MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = (self.folder / LOCK).open("ab")
        except OSError as error:
            raise JobError(f"{self.folder} cannot be written: {error.strerror}. Choose another job folder.") from error
        if not _lock_patiently(self._lock):
            self._lock.close()
            raise JobError(f"{self.folder.name} is being worked on by another process. Wait for it, or stop it there.")
        self._saving = threading.Lock()
        self.stretches: list[Stretch] = []
        self.windowings: dict[int, Windowing] = {}  # first frame of a shot → windows from there on
        self.result: str | None = None
        self.facts = Facts(created=time.time())
        self._load()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def frames_done(self) -> int:
        """Frames in finished stretches, or in parts that a service finished."""
        here = sum(stretch.frames for stretch in self.stretches)
        return here or sum(part["frames"] for part in self.facts.parts)

    @property
    def result_path(self) -> Path | None:
        """The joined file, if the job is finished and the file is still there."""
        path = self.folder / self.result if self.result else None
        return path if path and path.is_file() else None

    def of_shot(self, first: int) -> list[Stretch]:
        """Finished stretches of the shot that begins with this frame."""
        return [stretch for stretch in self.stretches if stretch.shot == first]

    def windowing_at(self, shot: int, planned: Windowing) -> Windowing:
        """Windows of the shot that begins with this frame: the planned ones, or smaller ones that memory asked for."""
        places = [place for place in self.windowings if place <= shot]
        return self.windowings[max(places)] if places else planned

    def note(self, **facts: object) -> None:
        """Write down what is known of the run."""
        for name, value in facts.items():
            setattr(self.facts, name, value)
        self._save()

    def record(self, stretch: Stretch) -> None:
        """Take note of a finished stretch; latents of earlier ones that nothing needs any more are deleted."""
        self.stretches.append(stretch)
        self._save()

    def change_windows(self, shot: int, windowing: Windowing) -> None:
        """From the shot that begins with this frame on, windows are others; what is done of it is forgotten."""
        self.stretches = [stretch for stretch in self.stretches if stretch.shot != shot]
        self.windowings[shot] = windowing
        self._save()

    def finish(self, result: str) -> None:
        """The joined file stands in the folder; its segments are not needed any more."""
        self.result, self.facts.state, self.facts.error = result, DONE, ""
        self._save()

    def forget(self, shot: int) -> None:
        """What is done of this shot and later ones cannot be used."""
        self.stretches = [stretch for stretch in self.stretches if stretch.shot < shot]
        self.result = None
        self._save()

    def require_space(self, needed: int) -> None:
        """Raise JobError when the disk has less than `needed` bytes free."""
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise JobError(
                f"about {needed / 1e9:.1f} GB are needed in {self.folder.parent}, {free / 1e9:.1f} GB are free. "
                "Make room, or choose another job folder."
            )

    def close(self) -> None:
        """Let other processes have the job."""
        self._lock.close()

    def _load(self) -> None:
        try:
            stored = json.loads(self._manifest.read_text(encoding="utf-8"))
            self.stretches = [Stretch(**stretch) for stretch in stored["stretches"]]
            self.windowings = {int(shot): Windowing(**each) for shot, each in stored["windowings"].items()}
            self.result = stored["result"]
            self.facts = Facts.of(stored["facts"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError):  # damaged: set aside, its segments are made again
            self._manifest.replace(self._manifest.with_suffix(".damaged"))

    def _save(self) -> None:
        with self._saving:
            self.facts.updated = time.time()
            stored = {
                "version": VERSION,
                "facts": asdict(self.facts),
                "frames_done": self.frames_done,
                "windowings": {shot: asdict(windowing) for shot, windowing in self.windowings.items()},
                "stretches": [asdict(stretch) for stretch in self.stretches],
                "result": self.result,
            }
            part = self._manifest.with_suffix(".part")
            try:
                with part.open("w", encoding="utf-8") as file:
                    json.dump(stored, file)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self._manifest)
            except OSError as error:
                raise JobError(f"{self._manifest} cannot be written: {error.strerror}. Make room there.") from error


def require_place(root: Path) -> None:
    """Raise JobError when no job can be kept below `root`, before anything is downloaded or computed for one."""
    if reason := media.obstacle_to(root):
        raise JobError(f"{root} cannot be written: {reason}. Choose another job folder.")


def _lock_patiently(file: IO[bytes]) -> bool:
    """True when the lock is held now; False when it is held elsewhere for longer than a look takes."""
    for _ in range(LOCK_TRIES):
        if try_lock(file):
            return True
        time.sleep(LOCK_WAIT_S)
    return False
