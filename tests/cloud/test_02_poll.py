"""Scenarios 13 to 24: while a request runs, nothing but /result ends the waiting, and nothing is paid again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.follow import Patience
from seedvr2_anywhere.cloud.journal import Journal
from seedvr2_anywhere.cloud.token import Token

PAGE = b"<html>gateway</html>"


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("endpoint", ["status", "result"])
@pytest.mark.parametrize(
    "name",
    [
        "500",
        "502",
        "429",
        "408",
        "reset",
        "timeout",
        "empty",
        "truncated",
        "page",
        "list",
        "redirect",
        "huge",
        "deep",
    ],
)
def test_13_24_trouble_while_polling_is_waited_out(desk, servers, endpoint, name):
    faults = {
        "500": servers.answer(500, {"error_code": 500001}),
        "502": servers.answer(502, PAGE),
        "429": servers.answer(429, {}, Retry_After="3"),
        "408": servers.answer(408, {}),
        "reset": servers.dropped,
        "timeout": servers.late(1.6),
        "empty": servers.answer(200, b""),
        "truncated": servers.short_body,
        "page": servers.answer(200, PAGE),
        "list": servers.answer(200, b"[1, 2]"),
        "redirect": servers.redirected("http://10.0.0.1/"),
        "huge": servers.answer(200, b'{"a": "' + b"x" * (5 << 20) + b'"}'),
        "deep": servers.answer(200, nested(100_000)),
    }
    desk.patience = net.Timeouts(2, 1, 1)
    desk.service.plan(endpoint, *[faults[name]] * (1 if name == "timeout" else 3))
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_13_the_user_hears_that_the_request_is_safe(desk, servers):
    desk.service.plan("status", *[servers.answer(500, {})] * 3)
    desk.run()
    # the trouble is named, so that one this machine adds by itself is not taken for the service's
    assert desk.told().count("connection trouble, the request is safe (RunComfy is in trouble. HTTP 500.)") == 3
    assert desk.posts == 1


def test_13_trouble_without_end_leaves_the_request_to_the_next_run(desk, servers):
    clock = desk.fake_time()
    desk.service.plan("status", *[servers.dropped] * 500)
    desk.fails(errors.StillRunning, "req-0001", "is safe")
    assert 900 <= clock[0] - 1000 <= 960
    desk.service.faults.clear()
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize(("status", "body"), [(401, {}), (400, {"error_code": 400004})])
def test_14_a_rotated_token_stops_the_polling_and_the_new_one_resumes(desk, servers, status, body):
    desk.service.plan("status", servers.normal, servers.answer(status, body))
    desk.service.timeline = ["in_progress", "in_progress", "completed"]
    desk.fails(errors.StillRunning, "req-0001", "token")
    desk.service.tokens = {"new-token-0123456789": "alice"}
    desk.token = Token("new-token-0123456789", "the test")
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_15_a_fresh_request_may_be_unknown_for_some_minutes(desk, servers):
    desk.fake_time()
    desk.service.plan("status", *[servers.answer(404, {"error_code": 404001})] * 10)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_15_a_request_that_is_gone_is_lost_never_done_and_never_paid_again_by_itself(desk, servers):
    desk.fake_time()
    desk.service.plan("status", *[servers.answer(404, {"error_code": 404001})] * 100)
    desk.fails(errors.Lost, "req-0001", "expired or deleted")
    desk.fails(errors.Lost, desk.short_id())
    assert (desk.posts, desk.states()) == (1, ["lost"])
    desk.service.faults.clear()
    desk.run(resubmit=desk.short_id())
    assert desk.posts == 2


def test_15_an_old_request_is_looked_for_three_times(desk, servers):
    desk.fake_time()
    desk.service.timeline = ["in_progress"]
    desk.fails(errors.StillRunning, patience=Patience(running_s=10))
    desk.service.requests.clear()
    before = desk.service.count("status")
    desk.fails(errors.Lost)
    assert desk.service.count("status") - before == 3
    assert (desk.posts, desk.states()) == (1, ["lost"])


def test_16_a_request_of_another_account_is_explained_and_kept(desk):
    desk.fake_time()
    desk.service.timeline = ["in_progress"]
    desk.fails(errors.StillRunning, patience=Patience(running_s=10))
    desk.service.tokens["bobs-token-0123456789"] = "bob"
    alice, desk.token = desk.token, Token("bobs-token-0123456789", "the test")
    desk.fails(errors.OtherAccount, "another RunComfy account")
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    assert desk.records()[0].account == alice.account
    desk.token = alice
    desk.service.only().timeline = ["completed"]
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"message": "CUDA out of memory"}, "CUDA out of memory"),
        ("node 35 failed", "node 35 failed"),
        ([{"msg": "bad frame"}], "bad frame"),
        ({"code": 7}, "No reason was given"),
        (None, "No reason was given"),
        ("x" * 5000, "x" * 300 + "…"),
    ],
)
def test_17_completed_is_not_success_and_the_reason_is_shown(desk, servers, error, shown):
    desk.service.plan("status", servers.answer(200, {"status": "completed"}))
    desk.service.plan("result", servers.answer(200, {"status": "failed", "error": error}))
    message = desk.fails(errors.Failed, "req-0001", shown)
    assert len(message) < 700
    assert (desk.posts, desk.states(), desk.service.count("download")) == (1, ["failed"], 0)


def test_17_what_a_failed_request_cost_is_kept_and_counts_with_the_one_that_replaces_it(desk, servers):
    desk.service.plan("result", servers.answer(200, {"status": "failed", "error": "no reason", "cost": 0.2}))
    desk.fails(errors.Failed)
    desk.run()
    assert (desk.posts, desk.states()) == (2, ["failed", "done"])
    assert [record.cost_usd for record in desk.records()] == [0.2, 0.25]
    journal = Journal(desk.folder / "journal.db")
    assert journal.reported_usd() == {record.run: record.cost_usd for record in desk.records()}
    assert journal.spent_usd(0) == 0.45


def test_18_completed_with_a_result_still_in_progress_is_waited_for(desk, servers):
    desk.service.plan("result", *[servers.answer(200, {"status": "in_progress"})] * 4)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize(
    "raw", ["IN_QUEUE", " In_Progress ", "queued", "starting", "reticulating", "", None, 7, {}, "failed?"]
)
@pytest.mark.parametrize("endpoint", ["status", "result"])
def test_19_any_word_for_a_state_is_understood_or_waited_out(desk, servers, raw, endpoint):
    desk.service.plan(endpoint, *[servers.answer(200, {"status": raw})] * 3, servers.answer(200, {}))
    if endpoint == "status":
        desk.service.plan("result", *[servers.answer(200, {"status": "in_progress"})] * 4)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_19_an_unknown_word_is_shown(desk, servers):
    desk.service.plan("status", servers.answer(200, {"status": "reticulating"}))
    desk.service.plan("result", servers.answer(200, {"status": "reticulating"}))
    desk.run()
    assert "unknown state reticulating" in desk.told()
    assert desk.posts == 1


@pytest.mark.parametrize("word", ["cancelled", "canceled", "CANCELLED"])
def test_20_a_request_cancelled_on_the_page_ends_and_is_not_retried(desk, servers, word):
    desk.service.timeline = ["in_progress", word]
    desk.service.cost = 0.1
    desk.fails(errors.CancelledRemotely, "cancelled on RunComfy", "$0.10")
    assert (desk.posts, desk.states(), desk.records()[0].cost_usd) == (1, ["cancelled"], 0.1)


def test_21_a_long_queue_costs_no_patience_and_shows_the_place(desk):
    clock = desk.fake_time()
    desk.service.timeline = [f"in_queue:{place}" for place in [37, 36, "", *[12] * 280, 1]] + [
        "in_progress",
        "completed",
    ]
    desk.run(patience=Patience(running_s=60))
    assert clock[0] - 1000 > 45 * 60
    assert "place 37 in the queue" in desk.told()
    assert "place 12 in the queue, 45:" in desk.told()
    polls = [wait for wait in desk.waits if wait > 0.5]
    assert (polls[0], max(polls)) == (2.0, 10.0)
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_21_the_end_of_a_running_request_is_seen_soon(desk):
    desk.fake_time()
    desk.service.timeline = ["in_progress"] * 40 + ["completed"]
    desk.run()
    polls = [wait for wait in desk.waits if wait > 0.5]
    assert (len(polls), polls[0], max(polls)) == (40, 2.0, 3.0)
    assert desk.posts == 1


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_22_a_changed_wall_clock_changes_nothing(desk, jump):
    desk.service.timeline = ["in_progress"] * 5 + ["completed"]
    moments = iter(range(10**6))
    real = desk.now
    desk.now = lambda: real() + (jump if next(moments) % 2 else 0)
    desk.run(patience=Patience(running_s=600, trouble_s=60))
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_22_after_a_sleep_the_server_is_asked_before_time_is_judged(desk, servers):
    clock = desk.fake_time()

    def fall_asleep(call):
        clock[0] += 1200
        return False

    desk.service.timeline = ["in_progress"] * 3 + ["completed"]
    desk.service.plan("status", servers.normal, servers.normal, servers.normal, fall_asleep)
    desk.run(patience=Patience(running_s=600))
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_23_a_timeout_cancels_nothing_and_the_next_run_picks_up(desk):
    desk.fake_time()
    desk.service.timeline = ["in_progress"]
    desk.fails(errors.StillRunning, "req-0001", "not cancelled")
    assert (desk.posts, desk.service.count("cancel"), desk.states()) == (1, 0, ["submitted"])
    desk.service.only().timeline = ["completed"]
    assert np.array_equal(desk.run(), desk.expected())
    assert "picked up request req-0001, nothing paid again" in desk.told()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_24_an_answer_that_repeats_a_large_request_is_read(desk):
    desk.patience = net.Timeouts(2, 20, 20)
    desk.cut = lambda segment: desk.servers.toy_clip(np.zeros((segment.sent_frames, 200, 300, 3), np.uint8))
    desk.run(frames=100)
    assert len(desk.service.posts[0]["33_video"]) > 20_000_000
    assert (desk.posts, desk.states(), desk.told().count("trouble")) == (1, ["done"], 0)


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1, "0.5", True, None, [1], 1e9])
def test_24_a_cost_that_is_no_amount_is_not_reported(desk, cost):
    desk.service.cost = cost
    desk.run()
    assert desk.finished.cost_usd is None
    assert (desk.posts, desk.records()[0].cost_usd) == (1, None)


def test_24_a_reported_cost_is_kept_and_told(desk):
    desk.service.cost = 0.4
    desk.run()
    assert (desk.finished.cost_usd, desk.records()[0].cost_usd) == (0.4, 0.4)
    assert desk.posts == 1


def test_other_settings_are_another_job(desk):
    desk.run()
    desk.run(settings=dataclasses.replace(desk.job.settings, seed=7))
    assert desk.posts == 2
