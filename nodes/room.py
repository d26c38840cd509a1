"""Finished results kept within the limit of the settings; what is unfinished, in use or paid for stays."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..cloud.downloads import rotate
from ..engine.job import JobError
from ..engine.jobs_folder import prune
from . import comfy_host
from .settings import load


def keep_to_limit(jobs: Path, in_use: Iterable[Path]) -> None:
    """Delete the oldest finished results beyond the limit, and fetched copies of joined ones; never fails a run."""
    limit = load(comfy_host.cache_folder()).jobs_limit_gb * 1e9
    if not limit:
        return
    with suppress(JobError, OSError):
        prune(jobs, int(limit), set(in_use))
        rotate(jobs, limit)
