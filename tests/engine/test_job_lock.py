"""A run may begin while somebody looks at the list of jobs, but not while another one works on the same job."""

from __future__ import annotations

import threading
import time

import pytest
from seedvr2_anywhere.engine.job import LOCK, Job, JobError, Recipe
from seedvr2_anywhere.net.locks import try_lock

RECIPE = Recipe("source", {"wish": 1})


def test_a_look_at_the_lock_does_not_keep_a_run_from_beginning(tmp_path):
    Job(tmp_path, "clip", RECIPE).close()
    looking = (tmp_path / f"clip_{RECIPE.key}" / LOCK).open("rb")
    assert try_lock(looking)
    threading.Timer(0.05, looking.close).start()
    with Job(tmp_path, "clip", RECIPE) as job:
        assert job.frames_done == 0


def test_a_job_that_is_worked_on_is_refused_soon(tmp_path):
    with Job(tmp_path, "clip", RECIPE):
        begin = time.monotonic()
        with pytest.raises(JobError, match="being worked on"):
            Job(tmp_path, "clip", RECIPE)
        assert time.monotonic() - begin < 30
