"""The jobs in the job folder as the page shows them: what is kept of each, what it costs, where its pictures are."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from ..cloud.money import in_all
from ..engine.jobs_folder import JobEntry, delete_job, find_job, list_jobs, save_finished
from . import comfy_host
from .hosted_part import let_go, save_leading
from .hosted_run import reported_costs
from .hosted_task import HOSTED_MODEL
from .proxy import playable
from .upscale_inputs import HOSTED, LOCAL
from .video_value import Clip, ClipVideo

LOOKING = Lock()  # a look takes each job's lock for a moment: two at once would take each other for runs
PART_PREFIX = "video/{}_part"
LONGEST_SIDE = 1920  # of what "open result" shows where a browser cannot play the result itself


def all_jobs() -> dict:
    """The job folder and all that is in it, the last touched first."""
    with LOOKING:
        entries = list_jobs(comfy_host.jobs_folder())
    reported = reported_costs()
    shown = [shown_of(entry, reported) for entry in entries]
    return {"folder": str(comfy_host.jobs_folder()), "bytes": sum(job["bytes"] for job in shown), "jobs": shown}


def shown_of(entry: JobEntry, reported: dict[str, float]) -> dict:
    """A job for the page, JSON values only; without its prompt and without paths. `reported`: run → dollars."""
    facts = entry.facts
    told = comfy_host.RUNS.of_job(entry.name, entry.is_running) or {}
    poster = entry.folder / facts.poster if facts.poster else None
    return {
        "name": entry.name,
        "title": facts.name or entry.name.rpartition("_")[0],
        "state": entry.state,
        "backend": HOSTED if facts.model == HOSTED_MODEL else LOCAL,
        "frames": entry.frames_done,
        "expected": facts.expected,
        "size": list(facts.size),
        "model": facts.model,
        "plan": facts.plan,
        "error": facts.error,
        "updated": facts.updated,
        "bytes": entry.bytes,
        "cost_usd": in_all((facts.costs | reported)[run] for run in facts.costs),
        "prompt": told.get("prompt"),
        "can_continue": facts.prompt is not None,
        "has_result": entry.result is not None,
        "poster": comfy_host.view_of(poster) if poster and poster.is_file() else None,
    }


def job_named(name: str) -> JobEntry:
    """Raises JobError when there is none, whatever the name tries to point at."""
    with LOOKING:
        return find_job(comfy_host.jobs_folder(), name)


def prompt_of(name: str) -> dict | None:
    """What POST /prompt takes to go on with a job; jobs of earlier versions kept the bare API prompt."""
    kept = job_named(name).facts.prompt
    return kept if kept is None or "prompt" in kept else {"prompt": kept}


def open_result(name: str) -> dict[str, str] | None:
    """How /view is asked for something that plays the result; None when the result is gone."""
    result = job_named(name).result
    return playable(ClipVideo(Clip(result)), LONGEST_SIDE) if result else None


def save_part(name: str) -> dict:
    """Save what is finished as a file in the output folder that plays anywhere."""
    entry = job_named(name)
    width, height = entry.facts.size or (0, 0)
    prefix = PART_PREFIX.format(Path(entry.facts.name).stem)
    folder, file, below = comfy_host.place_for(prefix, (width, height), True)
    is_to_be_joined = entry.facts.model == HOSTED_MODEL and entry.result is None
    written = (save_leading if is_to_be_joined else save_finished)(entry, folder / f"{file}.mp4")
    return {"path": f"{below}/{written.path.name}", "frames": written.frames, "view": comfy_host.view_of(written.path)}


def delete(name: str) -> dict:
    """Remove a job and its files; raises JobError while it is being worked on."""
    entry = job_named(name)
    delete_job(entry)
    let_go(entry)
    return {}
