"""The RunComfy backend in the real ComfyUI, against a service that answers the documented calls."""

from __future__ import annotations

import copy
import json
import stat

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.apart import run_apart
from seedvr2_anywhere.tests.nodes.hosted_desk import (
    EXAMPLE,
    LONG,
    RATE,
    SECONDS,
    WORKFLOW,
    error_of,
    report_of,
    run_watched,
    runcomfy,
    saved,
    stamps,
    states_of,
)

ANSWERS = ("/history", "/queue", "/object_info/SeedVR2Anywhere.Upscale", "/seedvr2/settings", "/seedvr2/runs",
           "/seedvr2/jobs", "/system_stats", "/internal/logs")  # fmt: skip


def test_the_hosted_workflow_runs_against_the_four_documented_calls_and_is_not_paid_twice(desk):
    desk.service.is_bare = True
    plain = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    entry = desk.run(copy.deepcopy(plain))
    sent = {name: value for name, value in desk.service.posts[0].items() if name != "33_video"}
    assert sent == {"35_new_resolution": 1080, "33_frame_load_cap": 32, "34_frame_rate": 24, "35_seed": 1245,
                    "35_cfg_scale": 1.01, "35_batch_size": 1}  # fmt: skip
    made, source = saved(desk, entry), media.probe(desk.comfy.input / EXAMPLE)
    assert (made.size, made.rate, len(made.audio)) == ((1440, 1080), RATE, 1)
    assert stamps(made.path) == stamps(source.path)
    plain["33"]["inputs"]["path"] = str(desk.comfy.input / EXAMPLE)  # the same by another way: not ComfyUI's own cache
    plain["34"]["inputs"]["filename_prefix"] = "again"
    plain["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    assert "Reused, nothing computed or paid." in report_of(desk.run(plain))
    assert len(desk.service.posts) == 1


def test_another_colour_is_made_of_the_same_paid_result(desk):
    first = desk.workflow(size_by="scale", seed=2)
    desk.run(first)
    report = report_of(desk.run(desk.workflow(size_by="scale", seed=2, color_correction="none", strength=0.5)))
    assert "nothing paid" in report
    assert len(desk.service.posts) == 1


def test_the_page_hears_of_every_segment_and_the_server_answers_all_the_while(desk):
    desk.service.timeline = ["in_queue:3", "in_progress", "completed"]
    workflow = desk.workflow(size_by="scale", backend__max_requests=4)
    workflow["33"]["inputs"] |= {"video": LONG, "frame_load_cap": 0}
    desk.comfy.get("/loop_probe")
    told, waits, _ = run_apart(run_watched(desk, workflow))
    held = held_s(desk, told)
    assert told[-1] == {"end": "execution_success"}
    statuses = [status for status in told if status.get("segments")]
    assert [(one["first"], one["last"]) for one in statuses[0]["segments"]] == [(0, 89), (90, 199)]  # cut at the shot
    seen = {state for states in states_of(told) for state in states}
    assert seen >= {"waiting", "submitted", "queued", "running", "done"}
    assert any("place 3 in the queue" in one["text"] for status in statuses for one in status["segments"])
    assert (statuses[-1]["state"], statuses[-1]["cost_usd"]) == ("done", 0.5)
    assert {one["request"] for one in statuses[-1]["segments"]} <= set(desk.service.requests)
    assert len(desk.service.posts) == 2
    assert waits, "the queue was asked for meanwhile"
    # looks are two seconds apart: a run that waited on the event loop would hold it as long
    assert len(held) > 100
    assert np.percentile(held, 99) < 0.05, "seconds"
    assert max(held) < 1, "seconds"


def held_s(desk, told: list[dict]) -> list[float]:
    """Seconds the event loop was late by the server's own doing, beat by beat, from the run's first word to its last.

    What follows is ComfyUI's own collection of garbage.
    """
    running = [status["at"] for status in told if status.get("state") == "running"]
    beats = desk.comfy.get("/loop_probe")
    return [max(0.0, late - (queued or 0.0)) for at, late, queued in beats if running[0] <= at <= running[-1]]


def test_a_stop_is_acknowledged_comes_back_in_time_and_the_next_run_picks_the_request_up(desk):
    desk.service.timeline = ["in_progress"]
    desk.service.plan("cancel", runcomfy().late(3))
    workflow = desk.workflow(size_by="scale", seed=9)
    told, _, seconds = run_apart(
        run_watched(desk, workflow, lambda status: any(one["state"] == "running" for one in status["segments"]))
    )
    assert told[-1] == {"end": "execution_interrupted"}
    assert seconds < 15
    acknowledged = next(status["at"] for status in told if status.get("stage") == "Stopping")
    assert told[-2]["at"] - acknowledged > 2, "told at once, not when RunComfy has answered"
    last = [status for status in told if "state" in status][-1]
    assert last["state"] == "stopped"
    assert "0 of 12 frames are kept; Run continues." in last["text"]
    assert "already running and cannot be cancelled; it may be charged. Run picks it up." in last["text"]
    for request in desk.service.requests.values():
        request.timeline = ["completed"]
    assert "nothing paid" in report_of(desk.run(workflow))
    assert len(desk.service.posts) == 1


@pytest.mark.parametrize("widgets, said", [
    ({"new_resolution": 2160}, "new_resolution is 2160; RunComfy takes a whole number from 720 to 1440"),
    ({"cfg_scale": 5.0}, "cfg_scale is 5.0"),
    ({"batch_size": 5}, "batch_size is 5"),
    ({"seed": 77, "backend__spend_limit_usd": 0.1}, "above spend_limit_usd 0.1"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(desk, widgets, said):
    entry = desk.comfy.run(desk.workflow(**widgets), SECONDS)
    assert said in error_of(entry)
    assert desk.service.posts == []


def test_an_estimate_submits_nothing_and_shows_the_price_when_there_is_one(desk):
    workflow = desk.workflow(run="estimate only", seed=3)
    workflow["33"]["inputs"] |= {"video": LONG, "frame_load_cap": 0}
    del workflow["34"]
    assert "2 requests, about $0.50 ($0.25 per output)" in report_of(desk.run(workflow))
    desk.service.is_bare = True
    workflow["35"]["inputs"]["seed"] = 4
    assert "2 requests; price not published." in report_of(desk.run(workflow))
    assert desk.service.posts == []


def test_a_failure_says_what_is_known_and_is_told_to_the_page(desk):
    desk.service.plan("submit", runcomfy().answer(400, {"error_code": 400002, "message": "Insufficient balance"}))
    told, _, _ = run_apart(run_watched(desk, desk.workflow(size_by="scale", seed=11)))
    last = [status for status in told if "state" in status][-1]
    assert (last["state"], told[-1]["end"]) == ("failed", "execution_error")
    assert "Not submitted, not charged. Add credit" in last["text"]


def test_auto_without_a_graphics_card_sends_nothing_unless_the_setting_allows_it(desk):
    workflow = desk.auto(size_by="scale", seed=21)
    said = error_of(desk.comfy.run(workflow, SECONDS))
    assert "no graphics card" in said and "64 × 48 → 128 × 96" in said, said
    assert (desk.service.posts, desk.service.calls) == ([], [])
    desk.settings(auto_may_pay=True, max_requests=1)
    try:
        assert "1 of 1 segments paid" in report_of(desk.run(workflow))
    finally:
        desk.settings(auto_may_pay=False)
    assert len(desk.service.posts) == 1


def test_the_token_is_in_no_file_log_or_answer_but_the_one_it_was_saved_in(desk):
    found = [path for path in desk.comfy.base.rglob("*") if path.is_file() and desk.token.encode() in path.read_bytes()]
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in found] == [("runcomfy_token", 0o600)]
    found[0].unlink()
    jobs = [f"/seedvr2/jobs/{job['name']}/prompt" for job in desk.comfy.get("/seedvr2/jobs")["jobs"]]
    for path in (*ANSWERS, *jobs):
        assert desk.token not in json.dumps(desk.comfy.get(path)), path
