"""Two servers on one job folder: one works at a time, and what a killed one said was kept, the other goes on from."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import RUN_SECONDS, error_of, report_of
from seedvr2_anywhere.tools import campaign_server, comfyui

FRAMES, KEPT = 90, campaign_server.SHOT  # of three shots, and of the first


@pytest.fixture(scope="module")
def other(server, tmp_path_factory):
    """A second ComfyUI with folders of its own but the first one's jobs; it may write no workflows into files."""
    base = tmp_path_factory.mktemp("other")
    campaign_server.write_clip(base / "input" / "twice.mp4", (48, 32), FRAMES)
    shutil.copyfile(base / "input" / "twice.mp4", server.input / "twice.mp4")
    variables = {"SEEDVR2_JOBS": str(server.output / "seedvr2_jobs")}
    with comfyui.running(base, "--disable-metadata", threads=1, variables=variables) as found:
        yield found


def job() -> dict:
    """Three shots on the tiny model, with the report shown."""
    found = campaign_server.job_of(64)
    found["33"]["inputs"]["video"] = "twice.mp4"
    found["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    return found


def job_folder(server):
    return next((server.output / "seedvr2_jobs").glob("twice_*"), None)


def frames_kept(server) -> int:
    manifest = folder / "job.json" if (folder := job_folder(server)) else None
    if manifest is None or not manifest.exists():
        return 0
    return sum(one["frames"] for one in json.loads(manifest.read_text())["stretches"])


def test_no_workflow_is_written_by_a_server_that_forbids_it(other, server):
    saved = {}
    for one in (other, server):
        prompt = {"33": job()["33"], "34": job()["34"]}
        prompt["34"]["inputs"] |= {"video": ["33", 0], "filename_prefix": "plain"}
        graph = {"extra_pnginfo": {"workflow": {"nodes": []}}}
        status, queued = one.post("/prompt", {"prompt": prompt, "extra_data": graph})
        assert status == 200, queued
        until = time.monotonic() + RUN_SECONDS
        while one.history(queued["prompt_id"]) is None and time.monotonic() < until:
            time.sleep(0.1)
        saved[one is server] = set(media.probe(next(one.output.glob("plain_*.mp4"))).workflow)
    assert saved == {True: {"prompt", "workflow"}, False: set()}


def test_one_server_works_and_after_its_death_the_other_goes_on_to_the_same_result(server, other):
    assert other.post("/prompt", {"prompt": job()})[0] == 200
    until = time.monotonic() + RUN_SECONDS
    while frames_kept(server) < KEPT and time.monotonic() < until:
        time.sleep(0.05)
    other.process.send_signal(signal.SIGSTOP)  # however slow this machine is, it has not finished
    kept = frames_kept(server)
    assert KEPT <= kept < FRAMES
    said = error_of(server.run(job()))
    assert "is being worked on by another process. Wait for it, or stop it there." in said

    other.process.kill()
    other.process.wait()
    kept = frames_kept(server)
    assert f"{kept} frames of an earlier run were kept." in report_of(server.run(job()))
    found = campaign_server.digest_of(job_folder(server) / "result.mp4")
    shutil.rmtree(job_folder(server))
    assert f"{FRAMES} frames restored." in report_of(server.run(job()))
    assert campaign_server.digest_of(job_folder(server) / "result.mp4") == found
