"""All jobs of a folder: listed, measured, deleted, pruned, and what is finished of one saved as a file that plays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from .. import media
from ..net.locks import try_lock
from .job import DONE, LOCK, MANIFEST, RUNNING, STOPPED, Facts, JobError

SEGMENTS = "segments"
USUAL_LIMIT_BYTES = 50_000_000_000  # of finished jobs, before the oldest go


@dataclass(frozen=True)
class JobEntry:
    """One job as a list shows it."""

    folder: Path
    facts: Facts
    frames_done: int
    result: Path | None  # the joined file, while it is there
    bytes: int
    is_running: bool  # a process holds it

    @property
    def name(self) -> str:
        """What it is called in its folder."""
        return self.folder.name

    @property
    def state(self) -> str:
        """running, stopped (also when its process died), failed or done."""
        if self.is_running:
            return RUNNING
        if self.facts.state == DONE and self.result is None:
            return STOPPED  # pruned or deleted by hand: a run makes it again
        return STOPPED if self.facts.state == RUNNING else self.facts.state

    def as_json(self) -> dict[str, object]:
        """The same for a page; without the prompt, which may be long."""
        facts = {name: value for name, value in asdict(self.facts).items() if name != "prompt"}
        own = {"job": self.name, "state": self.state, "frames": self.frames_done, "bytes": self.bytes}
        return {
            **facts,
            **own,
            "result": self.result.name if self.result else "",
            "can_go_on": self.facts.prompt is not None,
        }


def list_jobs(root: Path) -> list[JobEntry]:
    """All jobs under `root`, the last touched first. Folders that hold none, or a damaged one, are passed over.

    Raises JobError when `root` is there and cannot be read.
    """
    try:
        folders = sorted(root.iterdir())
    except FileNotFoundError:
        folders = []  # no run yet
    except OSError as error:
        raise JobError(f"The job folder {root} cannot be read: {error.strerror}.") from error
    entries = [entry for folder in folders if (entry := read_job(folder)) is not None]
    return sorted(entries, key=lambda entry: entry.facts.updated, reverse=True)


def find_job(root: Path, name: str) -> JobEntry:
    """The job of that name directly under `root`. Raises JobError for anything else."""
    entry = read_job(root / name) if name and Path(name).name == name else None
    if entry is None:
        raise JobError(f"There is no job {name!r} in {root}.")
    return entry


def read_job(folder: Path) -> JobEntry | None:
    """The job in a folder, or None."""
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        facts, frames = Facts.of(stored["facts"]), int(stored["frames_done"])
        result = folder / stored["result"] if stored["result"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = result if result is not None and result.is_file() else None
    return JobEntry(folder, facts, frames, there, folder_bytes(folder), _is_held(folder))


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # segments come and go while a job runs
            total += path.stat().st_size if path.is_file() else 0
    return total


def delete_job(entry: JobEntry) -> None:
    """Remove a job with all that it finished. Raises JobError while a process works on it."""
    with suppress(OSError), (entry.folder / LOCK).open("ab") as lock:
        if not try_lock(lock):
            raise JobError(f"{entry.name} is being worked on. Stop it first.")
        (entry.folder / MANIFEST).unlink(missing_ok=True)  # first: what is left by a crash is no job any more
        for path in entry.folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(entry.folder, ignore_errors=True)


def prune(root: Path, limit_bytes: int = USUAL_LIMIT_BYTES, protected: Collection[Path] = ()) -> list[str]:
    """Delete finished jobs, the oldest first, until the finished ones together are within the limit; their names.

    Never one that is unfinished, running, paid for, or whose result is among `protected`. A deleted result makes
    Upscale run again.
    """
    kept = {path.resolve() for path in protected}
    finished = [entry for entry in list_jobs(root) if entry.state == DONE and not entry.facts.paid]
    total, deleted = sum(entry.bytes for entry in finished), []
    for entry in reversed(finished):
        if total <= limit_bytes:
            break
        if entry.result is None or entry.result.resolve() in kept:
            continue
        delete_job(entry)
        total -= entry.bytes
        deleted.append(entry.name)
    return deleted


def save_finished(entry: JobEntry, target: Path) -> media.Written:
    """What is finished of a job as a file of its own (.mp4), with the source's sound where the source is still there.

    The job stays as it is and may be running. Raises JobError when nothing is finished, or media.WriteFailed.
    """
    if entry.result is not None:
        shutil.copyfile(entry.result, target)
        width, height = entry.facts.size
        return media.Written(
            target, (width, height), entry.frames_done, media.probe(target).duration or Fraction(0), ""
        )
    run = _stored_run(entry.folder / SEGMENTS)
    if run is None or not entry.frames_done:
        raise JobError(f"Nothing of {entry.name} is finished yet.")
    return media.SegmentFolder(entry.folder / SEGMENTS, run).join(target, *_companions(entry.facts))


def _companions(facts: Facts) -> tuple[media.Sound, media.Tagging]:
    """Sound and tags of the source, none when it is gone."""
    try:
        info = media.probe(Path(facts.source))
    except media.MediaError:
        return media.Sound(), media.Tagging()
    start = Fraction(facts.start or 0)
    return media.Sound(info.path, info.audio, info.start + start), media.Tagging(info, start, info.workflow)


def _stored_run(segments: Path) -> media.Run | None:
    """What the segments have in common, as they were written down."""
    try:
        stored = json.loads((segments / "manifest.json").read_text(encoding="utf-8"))["run"]
        matrix = "bt2020" if stored["primaries"] == "bt2020" else "bt709"
        colour = media.Colour(matrix, "limited", stored["transfer"], stored["primaries"])
        rate = Fraction(stored["rate"]) if stored["rate"] else None
        picture = media.Picture(colour, Fraction(stored["sample_aspect"]), rate)
        return media.Run(Fraction(stored["time_base"]), picture, stored["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_held(folder: Path) -> bool:
    """Whether a process works on the job."""
    try:
        with (folder / LOCK).open("rb") as lock:
            return not try_lock(lock)
    except OSError:
        return False
