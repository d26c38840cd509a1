"""Hosted jobs in the list of jobs, through the routes the page uses: what they cost in all."""

from __future__ import annotations

import itertools

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
