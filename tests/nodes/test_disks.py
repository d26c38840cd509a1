"""Disks that are full or may not be written: named before work starts where possible, what is finished stays."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import RUN_SECONDS, error_of, refusal_of, report_of
from seedvr2_anywhere.tools import campaign_server

JOBS = "seedvr2_jobs"
FRAMES, KEPT = 90, campaign_server.SHOT  # of three shots, and of the first


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own in the place of a folder; where this user may mount none, the test is left out."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def combine(server, **widgets) -> dict:
    """Load Video → Video Combine."""
    workflow = server.main_job()
    del workflow["35"]
    workflow["34"]["inputs"] |= {"video": ["33", 0]} | widgets
    return workflow


def fill(folder: Path) -> Path:
    """A file that leaves no room for others."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("in_the_way/clip", "in_the_way is not a folder. Choose another folder in filename_prefix."),
        ("in_the_way/%date%/clip", "in_the_way is not a folder"),
        ("../elsewhere/clip", "leads out of"),
    ],
)
def test_a_place_that_cannot_hold_the_result_is_refused_before_the_queue(server, prefix, said):
    (server.output / "in_the_way").write_text("a file")
    assert said in refusal_of(server, combine(server, filename_prefix=prefix))


def test_a_disk_that_may_not_be_written_is_refused_before_the_queue(server):
    with disk(server.output / "locked", "ro"):
        said = refusal_of(server, combine(server, filename_prefix="locked/deep/clip"))
    assert "locked may not be changed. Choose another folder" in said


def test_jobs_that_cannot_be_kept_are_refused_before_a_model_is_read(server):
    workflow = server.main_job()
    workflow["35"]["inputs"]["seed"] = 77
    with disk(server.output / JOBS, "ro"):
        said = error_of(server.run(workflow))
    assert "cannot be written" in said and "Choose another job folder." in said


@pytest.mark.parametrize("widgets", [{}, {"format": "copy"}], ids=["encoded", "copied"])
def test_a_full_disk_is_named_by_video_combine_and_nothing_is_left(server, widgets):
    with disk(server.output / "full", "size=8k") as full:
        said = error_of(server.run(combine(server, filename_prefix="full/clip", **widgets)))
        assert list(full.iterdir()) == []
    assert "the disk is full. Free some space or choose another folder" in said


def test_a_disk_that_fills_up_during_a_run_keeps_what_is_finished(server):
    campaign_server.write_clip(server.base / "filling" / "filling.mp4", (48, 32), FRAMES)
    workflow = campaign_server.job_of(64)
    workflow["33"]["inputs"]["path"] = str(server.base / "filling" / "filling.mp4")
    workflow["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    with disk(server.output / JOBS, "size=4m") as jobs:
        prompt = server.post("/prompt", {"prompt": workflow})[1]["prompt_id"]
        wait_for_kept(jobs)
        filler = fill(jobs)
        entry = server.wait(prompt)
        if entry["status"]["status_str"] == "success":
            pytest.skip("it was faster than the disk was filled")
        said = error_of(entry)
        assert "Make room" in said or "the disk is full" in said
        kept = frames_kept(jobs)
        assert KEPT <= kept < FRAMES
        filler.unlink()
        report = report_of(server.run(workflow))
        assert f"{FRAMES} frames in all. {kept} frames of an earlier run were kept." in report
        assert media.count_frames(next(jobs.glob("filling_*/result.mp4"))) == FRAMES


def wait_for_kept(jobs: Path) -> None:
    until = time.monotonic() + RUN_SECONDS
    while not frames_kept(jobs) and time.monotonic() < until:
        time.sleep(0.02)


def frames_kept(jobs: Path) -> int:
    manifest = next(jobs.glob("filling_*/job.json"), None)
    return sum(one["frames"] for one in json.loads(manifest.read_text())["stretches"]) if manifest else 0
