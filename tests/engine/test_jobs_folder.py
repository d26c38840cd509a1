"""Jobs listed, deleted and pruned: nothing unfinished, running or still in use ever goes by itself."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.engine.job import Job, JobError, Recipe, Stretch
from seedvr2_anywhere.engine.jobs_folder import delete_job, find_job, folder_bytes, list_jobs, prune, save_finished
from seedvr2_anywhere.engine.work import SDR, SEGMENTS

RUN = media.Run(Fraction(1, 24), media.Picture(SDR, rate=Fraction(24)))


def job_in(root: Path, name: str, frames: int = 0) -> Job:
    """A job with a segment of so many frames."""
    job = Job(root, name, Recipe(name, {}))
    job.note(source=str(root / "gone.mp4"), name="gone.mp4", expected=48, size=[32, 16], prompt={"35": {}})
    if frames:
        segments = media.SegmentFolder(job.folder / SEGMENTS, RUN)
        pictures = np.zeros((frames, 16, 32, 3), np.uint16)
        segments.write(0, [(pictures, np.arange(frames))])
        job.record(Stretch(0, 0, frames, False))
    return job


def finished(root: Path, name: str, size: int = 1000, updated: float = 0) -> Path:
    with job_in(root, name) as job:
        (job.folder / "result.mp4").write_bytes(bytes(size))
        job.finish("result.mp4")
    manifest = job.folder / "job.json"
    stored = json.loads(manifest.read_text())
    stored["facts"]["updated"] = updated
    manifest.write_text(json.dumps(stored))
    return job.folder / "result.mp4"


def names(root: Path) -> set[str]:
    return {entry.name.split("_")[0] for entry in list_jobs(root)}


def test_a_list_says_what_each_job_is_doing(tmp_path):
    finished(tmp_path, "ready", updated=2)
    job_in(tmp_path, "dead", 5).close()  # its process is gone, the manifest still says running
    (tmp_path / "no_job").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "job.json").write_text("{")
    with job_in(tmp_path, "busy"):
        states = {entry.name.split("_")[0]: entry.state for entry in list_jobs(tmp_path)}
    assert states == {"ready": "done", "dead": "stopped", "busy": "running"}
    dead = find_job(tmp_path, next(entry.name for entry in list_jobs(tmp_path) if entry.name.startswith("dead")))
    assert (dead.frames_done, dead.facts.expected, dead.bytes) == (5, 48, folder_bytes(dead.folder))
    shown = dead.as_json()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["can_go_on"] and "prompt" not in shown


def test_a_folder_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_named(tmp_path):
    assert list_jobs(tmp_path / "none") == []
    in_its_place = tmp_path / "jobs"
    in_its_place.write_text("in the way")
    with pytest.raises(JobError, match=r"job folder .*jobs cannot be read: Not a directory"):
        list_jobs(in_its_place)


def test_a_result_that_is_gone_is_not_called_done(tmp_path):
    finished(tmp_path, "pruned").unlink()
    assert list_jobs(tmp_path)[0].state == "stopped"


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "nothing_here"])
def test_only_jobs_of_the_folder_are_found(tmp_path, name):
    finished(tmp_path, "elsewhere")
    (tmp_path / "root").mkdir()
    with pytest.raises(JobError, match="no job"):
        find_job(tmp_path / "root", name)


def test_a_job_is_deleted_unless_it_is_being_worked_on(tmp_path):
    with job_in(tmp_path, "busy", 3):
        (entry,) = list_jobs(tmp_path)
        with pytest.raises(JobError, match="Stop it first"):
            delete_job(entry)
        assert names(tmp_path) == {"busy"}
    delete_job(entry)
    assert not entry.folder.exists()


def test_pruning_takes_finished_ones_oldest_first_and_no_other(tmp_path):
    for number, name in enumerate(("oldest", "used", "newer", "newest")):
        finished(tmp_path, name, 10_000, updated=number)
    job_in(tmp_path, "unfinished", 3).close()
    used = next(entry.result for entry in list_jobs(tmp_path) if entry.name.startswith("used"))
    size = max(entry.bytes for entry in list_jobs(tmp_path) if entry.state == "done")
    assert prune(tmp_path, 10 * size) == []
    assert [name.split("_")[0] for name in prune(tmp_path, 2 * size, {used})] == ["oldest", "newer"]
    assert names(tmp_path) == {"used", "newest", "unfinished"}
    prune(tmp_path, 0, {used})
    assert names(tmp_path) == {"used", "unfinished"}


def test_what_was_paid_for_is_not_pruned(tmp_path):
    finished(tmp_path, "paid")
    with Job(tmp_path, "paid", Recipe("paid", {})) as job:
        job.note(paid=True)
    assert prune(tmp_path, 0) == []


def test_what_is_finished_can_be_saved_and_played(tmp_path):
    with job_in(tmp_path, "half", 7):
        (entry,) = list_jobs(tmp_path)
        written = save_finished(entry, tmp_path / "half.mp4")
    assert written.frames == 7
    assert media.probe(tmp_path / "half.mp4").size == (32, 16)
    assert names(tmp_path) == {"half"}


def test_nothing_finished_is_said(tmp_path):
    with job_in(tmp_path, "new"):
        (entry,) = list_jobs(tmp_path)
        with pytest.raises(JobError, match="Nothing of new_"):
            save_finished(entry, tmp_path / "out.mp4")


def test_a_job_of_another_version_is_listed_and_gone_on_with(tmp_path):
    job_in(tmp_path, "old", 5).close()
    (manifest,) = tmp_path.glob("old_*/job.json")
    stored = json.loads(manifest.read_text())
    stored["facts"]["cost_usd"] = 0.25  # what one noted that another knows nothing of
    del stored["facts"]["costs"], stored["facts"]["parts"]
    manifest.write_text(json.dumps(stored))
    assert names(tmp_path) == {"old"}
    with Job(tmp_path, "old", Recipe("old", {})) as job:
        assert (job.frames_done, job.facts.expected) == (5, 48)
