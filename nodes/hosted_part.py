"""The finished part of a hosted job, kept in its manifest segment by segment, as a file that plays."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

from .. import media
from ..cloud.downloads import joined, needed
from ..cloud.errors import CloudError
from ..cloud.plan import Segment
from ..engine.errors import EngineError
from ..engine.host import Host
from ..engine.hosted_finish import Made
from ..engine.job import Facts, Job, JobError
from ..engine.jobs_folder import JobEntry
from ..engine.wish import Wish
from .hosted_task import Task, joined_results, task_of
from .video_value import Clip


def keep_part(job: Job, segment: Segment, file: Path) -> None:
    """Note in the manifest that a segment is finished, and where its result is, which stays until it is joined."""
    needed(file)
    others = [part for part in job.facts.parts if part["start"] != segment.start]
    part = {
        **asdict(segment),
        "frames": segment.frames - segment.fade,
        "file": file.relative_to(job.folder.parent).as_posix(),
    }
    with suppress(JobError):  # the journal knows it too: a full disk must not end a run that is paid for
        job.note(parts=sorted([*others, part], key=lambda one: one["start"]))


def let_go(entry: JobEntry) -> None:
    """Nobody wants the segments of a job any more: their results may go when room is needed."""
    joined(entry.folder.parent / part["file"] for part in entry.facts.parts)


def save_leading(entry: JobEntry, target: Path) -> Made:
    """Join the segments that are finished from the beginning on, as the whole would be. The job stays as it is.

    Raises JobError when the first one is missing or the clip is gone; then it names what can be played as it came.
    """
    parts = _leading(entry)
    try:
        task = _task_of_first(entry.facts, parts[-1][0].stop) if parts else None
    except media.MediaError as error:
        raise JobError(f"{error} {_as_they_came(entry)}") from error
    if task is None:
        raise JobError(f"The beginning of {entry.name} is not finished yet. {_as_they_came(entry)}".strip())
    try:
        return joined_results(task, [segment for segment, _ in parts], dict(parts).__getitem__, target, Host())
    except (CloudError, EngineError) as error:
        raise JobError(f"{error} {_as_they_came(entry)}") from error


def _leading(entry: JobEntry) -> list[tuple[Segment, Path]]:
    """Segments with their files, from frame 0 to the first gap."""
    found: list[tuple[Segment, Path]] = []
    for part in entry.facts.parts:
        segment = Segment(*(part[name] for name in ("index", "start", "stop", "fade")))
        expected, file = found[-1][0].stop - segment.fade if found else 0, entry.folder.parent / part["file"]
        if segment.start != expected or not file.is_file():
            break
        found.append((segment, file))
    return found


def _task_of_first(facts: Facts, frames: int) -> Task:
    """The job's clip cut to its first frames."""
    chosen = facts.selection
    times = {name: Fraction(chosen[name]) for name in ("start", "duration", "force_rate")}
    counts = {name: int(chosen[name]) for name in ("skip", "every", "cap")}
    selection = replace(media.Selection(**times, **counts), cap=frames)
    clip = Clip(Path(facts.source), selection, media.Treatment(**facts.treatment))
    return task_of(clip, media.probe(clip.path), Wish(**facts.wish))


def _as_they_came(entry: JobEntry) -> str:
    files = [file for part in entry.facts.parts if (file := entry.folder.parent / part["file"]).is_file()]
    if not files:
        return ""
    return (
        f"As RunComfy made them, parts can be played: in {files[0].parent}, {', '.join(file.name for file in files)}."
    )
