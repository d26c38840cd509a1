"""A run on disk: what it makes, which shots are finished, where its result is. Survives crashes, stops and restarts.

A job's folder is named by its recipe, so the same source with the same settings finds what was done before. The
manifest is replaced as a whole, after the segments it names are whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ..net.locks import try_lock

MANIFEST = "job.json"
LOCK = "lock"
VERSION = 1
KEY_LETTERS = 16


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
class FinishedShot:
    """A shot whose segments are whole."""

    first: int  # frame
    frames: int
    segments: int


class Job:
    """One folder under `root`, held by this process until `close`. Raises JobError when another one holds it."""

    def __init__(self, root: Path, name: str, recipe: Recipe) -> None:
        self.folder = root / f"{name}_{recipe.key}"
        self._manifest = self.folder / MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = (self.folder / LOCK).open("ab")
        except OSError as error:
            raise JobError(f"{self.folder} cannot be written: {error.strerror}. Choose another job folder.") from error
        if not try_lock(self._lock):
            self._lock.close()
            raise JobError(f"{self.folder.name} is being worked on by another process. Wait for it, or stop it there.")
        self.shots: list[FinishedShot] = []
        self.result: str | None = None
        self._load()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def frames_done(self) -> int:
        """Frames in finished shots."""
        return sum(shot.frames for shot in self.shots)

    @property
    def segments_done(self) -> int:
        """Segments of finished shots."""
        return sum(shot.segments for shot in self.shots)

    @property
    def result_path(self) -> Path | None:
        """The joined file, if the job is finished and the file is still there."""
        path = self.folder / self.result if self.result else None
        return path if path and path.is_file() else None

    def record(self, shot: FinishedShot) -> None:
        """Take note of a finished shot."""
        self.shots.append(shot)
        self._save()

    def finish(self, result: str) -> None:
        """The joined file stands in the folder; its segments are not needed any more."""
        self.result = result
        self._save()

    def restart(self) -> None:
        """Forget what was done: nothing of it can be used."""
        self.shots, self.result = [], None
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
            self.shots = [FinishedShot(**shot) for shot in stored["shots"]]
            self.result = stored["result"]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):  # damaged: set aside, its segments are made again
            self._manifest.replace(self._manifest.with_suffix(".damaged"))

    def _save(self) -> None:
        stored = {"version": VERSION, "shots": [asdict(shot) for shot in self.shots], "result": self.result}
        part = self._manifest.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(stored | {"saved": time.time()}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._manifest)
