"""Hosted jobs in the list of jobs, through the routes the page uses: what they cost, and what is finished of them."""

from __future__ import annotations

import itertools
import json

import numpy as np
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes import hosted_desk as hosted
from seedvr2_anywhere.tests.nodes.apart import run_apart

SEEDS = itertools.count(1200)  # a job of its own for every test
answer = hosted.runcomfy().answer


def job_of(desk, seed: int, **wish: object) -> dict:
    """The one job in the list that was made with a seed."""
    found = [job for job in desk.comfy.get("/seedvr2/jobs")["jobs"] if is_of(desk, job["name"], {"seed": seed, **wish})]
    assert len(found) == 1, found
    return found[0]


def is_of(desk, name: str, widgets: dict) -> bool:
    prompt = desk.comfy.get(f"/seedvr2/jobs/{name}/prompt")
    return widgets.items() <= prompt["prompt"]["35"]["inputs"].items()


def stop_while_running(desk, workflow: dict) -> None:
    told, _, _ = run_apart(hosted.run_watched(desk, workflow, is_running))
    assert told[-1] == {"end": "execution_interrupted"}


def is_running(status: dict) -> bool:
    return any(one["state"] == "running" for one in status["segments"])


def test_a_request_of_a_stopped_run_counts_once_when_a_later_run_fetches_it(desk):
    seed = next(SEEDS)
    desk.service.timeline, desk.service.is_bare = ["in_progress"], True  # no cost is named while it runs
    workflow = desk.workflow(size_by="scale", seed=seed)
    stop_while_running(desk, workflow)
    assert job_of(desk, seed)["cost_usd"] is None
    desk.service.is_bare = False
    for request in desk.service.requests.values():
        request.timeline = ["completed"]
    assert "nothing paid" in hosted.report_of(desk.run(workflow))
    assert job_of(desk, seed)["cost_usd"] == 0.25
    workflow["36"]["inputs"]["preview_markdown"] = "again"  # not ComfyUI's own cache
    desk.run(workflow)
    assert job_of(desk, seed)["cost_usd"] == 0.25
    desk.run(desk.workflow(size_by="scale", seed=seed, color_correction="none"))
    assert job_of(desk, seed, color_correction="none")["cost_usd"] is None  # made of what the first one paid
    assert len(desk.service.posts) == 1


def test_a_run_after_a_failure_adds_to_what_the_job_cost(desk):
    seed = next(SEEDS)
    desk.service.plan("result", answer(200, {"status": "failed", "error": "CUDA out of memory", "cost": 0.2}))
    workflow = desk.workflow(size_by="scale", seed=seed)
    assert "CUDA out of memory" in hosted.error_of(desk.comfy.run(workflow, hosted.SECONDS))
    assert (job_of(desk, seed)["state"], job_of(desk, seed)["cost_usd"]) == ("failed", 0.2)
    desk.run(workflow)
    assert (job_of(desk, seed)["state"], job_of(desk, seed)["cost_usd"]) == ("done", 0.45)
    assert len(desk.service.posts) == 2


def half_finished(desk, seed: int) -> dict:
    """The job of a clip of two shots, 90 and 110 frames, whose second request was refused."""
    desk.service.plan("submit", hosted.runcomfy().normal, answer(402, {}))
    workflow = desk.workflow(size_by="scale", seed=seed, backend__max_requests=4)
    workflow["33"]["inputs"] |= {"video": hosted.LONG, "frame_load_cap": 0}
    assert "1 of 2 segments are kept" in hosted.error_of(desk.comfy.run(workflow, hosted.SECONDS))
    return job_of(desk, seed)


def pictures_of(path) -> np.ndarray:
    with media.read(path) as batches:
        return np.concatenate([batch[0] for batch in batches])


def test_the_finished_part_of_a_hosted_job_is_saved_as_the_whole_would_be(desk):
    seed = next(SEEDS)
    job = half_finished(desk, seed)
    assert (job["state"], job["frames"], job["expected"]) == ("failed", 90, 200)
    status, made = desk.comfy.post(f"/seedvr2/jobs/{job['name']}/save", {})
    assert (status, made["frames"]) == (200, 90)
    part, source = media.probe(desk.comfy.output / made["path"]), desk.comfy.input / hosted.LONG
    assert (part.size, part.rate, len(part.audio)) == ((128, 96), hosted.RATE, 1)
    assert hosted.stamps(part.path) == hosted.stamps(source)[:90]
    assert abs(part.duration - 90 / hosted.RATE) < 0.05, "sound included"
    assert len(desk.service.posts) == 2
    desk.run(desk.comfy.get(f"/seedvr2/jobs/{job['name']}/prompt")["prompt"])
    whole = pictures_of(desk.comfy.output / "seedvr2_jobs" / job["name"] / "result.mp4")
    difference = np.abs(pictures_of(part.path).astype(float) - whole[:90]) / np.iinfo(whole.dtype).max
    assert difference.mean() < 0.001, "both were encoded from the same pictures"
    assert (len(desk.service.posts), len(whole)) == (3, 200)


def test_the_finished_part_of_a_job_whose_clip_is_gone_is_named_as_it_came(desk):
    source, kept = desk.comfy.input / hosted.LONG, desk.comfy.input / "kept.mp4"
    job = half_finished(desk, next(SEEDS))
    source.rename(kept)
    try:
        status, said = desk.comfy.post(f"/seedvr2/jobs/{job['name']}/save", {})
    finally:
        kept.rename(source)
    assert status == 400
    assert "As RunComfy made them, parts can be played: in" in said["error"]
    assert "segment-" in said["error"]


def test_without_its_beginning_nothing_of_a_hosted_job_is_saved(desk):
    job = half_finished(desk, next(SEEDS))
    manifest = desk.comfy.output / "seedvr2_jobs" / job["name"] / "job.json"
    (part,) = json.loads(manifest.read_text())["facts"]["parts"]
    (manifest.parent.parent / part["file"]).unlink()
    status, said = desk.comfy.post(f"/seedvr2/jobs/{job['name']}/save", {})
    assert status == 400
    assert said["error"] == f"The beginning of {job['name']} is not finished yet."


def test_results_of_a_deleted_job_stay_until_their_room_is_needed(desk):
    job = half_finished(desk, next(SEEDS))
    jobs = desk.comfy.output / "seedvr2_jobs"
    (part,) = json.loads((jobs / job["name"] / "job.json").read_text())["facts"]["parts"]
    others = {mark.name for mark in jobs.glob("*/*.joined")}
    assert desk.comfy.post(f"/seedvr2/jobs/{job['name']}/delete", {})[0] == 200
    assert (jobs / part["file"]).is_file()
    assert {mark.name for mark in jobs.glob("*/*.joined")} - others == {f"{(jobs / part['file']).name}.joined"}
