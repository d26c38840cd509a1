"""Results are joined in ComfyUI while others are still at RunComfy, and nothing half made is left or taken for one."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.apart import run_apart
from seedvr2_anywhere.tests.nodes.hosted_desk import LONG, report_of, run_watched, saved

PATIENCE_S = 60


def two_segments(desk, seed: int) -> dict:
    """200 frames in two shots."""
    workflow = desk.workflow(size_by="scale", seed=seed, backend__max_requests=4)
    workflow["33"]["inputs"] |= {"video": LONG, "frame_load_cap": 0}
    return workflow


@pytest.fixture
def hold_second(desk, monkeypatch):
    """The second request that comes stays in a state."""
    transform = desk.service.transform

    def hold(state: str) -> None:
        def held(data, values):
            if len(desk.service.posts) == 2:
                desk.service.timeline = [state]
            return transform(data, values)

        monkeypatch.setattr(desk.service, "transform", held)

    return hold


def release(desk) -> None:
    desk.service.timeline = ["completed"]
    for request in desk.service.requests.values():
        request.timeline = ["completed"]


def unfinished_files(desk, job: str) -> list[str]:
    """Results in a job's folder, whole or in the making."""
    return [path.name for path in (desk.comfy.output / "seedvr2_jobs" / job).glob("result*")]


def is_first_done(status: dict, state: str) -> bool:
    return [one["state"] for one in status["segments"]] == ["done", state]


def levels(path: Path) -> np.ndarray:
    with media.read(path) as batches:
        return np.concatenate([batch[0].mean((1, 2)) for batch in batches])


def test_the_first_result_is_joined_while_the_second_is_still_running(desk, hold_second):
    hold_second("in_progress")
    seen: list[list[str]] = []

    def watch(status: dict) -> bool:
        if not seen and is_first_done(status, "running"):
            end = time.monotonic() + PATIENCE_S
            while not (found := unfinished_files(desk, status["job"])) and time.monotonic() < end:
                time.sleep(0.05)
            seen.append(found)
            release(desk)
        return False

    workflow = two_segments(desk, 41)
    told, _, _ = run_apart(run_watched(desk, workflow, watch))
    assert told[-1] == {"end": "execution_success"}
    assert seen[0], "nothing was written before the second result came"
    assert "result.mp4" not in seen[0]
    stages = list(dict.fromkeys(status["stage"] for status in told if "stage" in status))
    assert stages[-2:] == ["On RunComfy", "Joining the results"]
    joining = [status["frames"] for status in told if status.get("stage") == "Joining the results"]
    assert joining[-1] == 200
    workflow["36"]["inputs"]["preview_markdown"] = "again"  # not ComfyUI's own cache
    assert len(levels(saved(desk, desk.run(workflow)).path)) == 200
    assert len(desk.service.posts) == 2


def test_a_stop_while_joining_leaves_no_file_and_cancels_what_is_queued(desk, hold_second):
    hold_second("in_queue")
    workflow = two_segments(desk, 42)
    told, _, seconds = run_apart(run_watched(desk, workflow, lambda status: is_first_done(status, "queued")))
    assert told[-1] == {"end": "execution_interrupted"}
    assert seconds < 15
    last = [status for status in told if "state" in status][-1]
    assert last["state"] == "stopped"
    assert "90 of 200 frames are kept; Run continues." in last["text"]
    assert "cancelled while queued" in last["text"]
    assert unfinished_files(desk, last["job"]) == []
    release(desk)
    assert "1 of 2 segments paid" in report_of(desk.run(workflow))
    assert len(desk.service.posts) == 3
