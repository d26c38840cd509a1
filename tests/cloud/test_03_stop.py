"""Scenarios 25 to 32: stopping, being killed, and not being alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.journal import Journal

PRESSING = Path(__file__).resolve().parent / "pressing.py"


def press(desk, name: str = "clip of 100", frames: int = 100) -> subprocess.Popen:
    command = [sys.executable, str(PRESSING), str(desk.folder), desk.service.base, name, str(frames)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_25_a_stop_while_cutting_sends_nothing(desk):
    cut = desk.cut

    def slow_cut(segment):
        desk.stop_when = lambda: True
        time.sleep(0.4)
        return cut(segment)

    desk.cut = slow_cut
    desk.fails(errors.Interrupted, "0 of 100 frames are kept")
    assert (desk.posts, desk.states(), list(desk.folder.glob("job/*"))) == (0, [], [])
    desk.stop_when, desk.cut = (lambda: False), cut
    desk.run()
    assert desk.posts == 1


def test_25_a_stop_during_the_upload_submits_nothing(desk, servers):
    desk.cut = lambda segment: bytes(24 << 20)
    desk.patience = net.Timeouts(2, 20, 20)

    def read_slowly(call):
        for _ in range(100):
            call.rfile.read(100_000)
            time.sleep(0.05)
        return call.drop()

    desk.service.plan("submit", read_slowly)
    desk.stop_at("submitting")
    start = time.monotonic()
    desk.fails(errors.Interrupted)
    assert time.monotonic() - start < 3
    wait_for(lambda: desk.states() == ["not submitted"])
    assert (desk.posts, desk.paid) == (0, 0)


def test_26_a_stop_between_sending_and_answer_waits_for_the_id(desk, servers):
    desk.patience = net.Timeouts(2, 20, 20)
    desk.service.plan("submit", servers.late(0.6))
    desk.service.timeline = ["in_progress"]
    desk.stop_at("submitting")
    desk.fails(errors.Interrupted, "req-0001", "already running", "may be charged")
    assert (desk.posts, desk.states(), desk.service.count("cancel")) == (1, ["submitted"], 1)
    desk.stop_when = lambda: False
    desk.service.only().timeline = ["completed"]
    assert np.array_equal(desk.run(), desk.expected())
    assert desk.posts == 1


def test_26_without_an_answer_in_time_the_truth_is_told_and_nothing_paid_twice(desk, servers):
    desk.service.plan("submit", servers.late(2.0))
    desk.patience = net.Timeouts(1, 4, 4)
    desk.post_grace_s = 0.3
    desk.stop_at("submitting")
    desk.fails(errors.Interrupted, "has not been answered", "may be running and charged")
    desk.stop_when = lambda: False
    assert desk.states() == ["intended"]
    desk.run()
    assert "is just being submitted by another run, waiting" in desk.told()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_27_a_queued_request_is_cancelled_and_the_result_read_once_more(desk):
    desk.service.timeline = ["in_queue:3"]
    desk.stop_at("place 3 in the queue")
    desk.fails(errors.Interrupted, "req-0001", "cancelled while queued")
    assert (desk.posts, desk.states(), desk.service.count("cancel")) == (1, ["cancelled"], 1)
    assert desk.service.calls[-1][0] == "result"
    desk.stop_when = lambda: False
    desk.service.timeline = ["completed"]
    desk.run()
    assert desk.posts == 2, "a cancelled request is made anew when the user runs again"


def test_27_what_a_cancelled_request_cost_is_told_and_kept(desk, servers):
    desk.service.timeline, desk.service.cost = ["in_queue:3"], 0.05
    desk.service.plan("result", servers.answer(200, {"status": "cancelled", "cost": 0.05}))
    desk.stop_at("place 3 in the queue")
    desk.fails(errors.Interrupted, "cancelled while queued; $0.05 were reported.")
    assert (desk.posts, desk.states(), desk.records()[0].cost_usd) == (1, ["cancelled"], 0.05)


def test_27_a_request_that_slipped_into_running_despite_cancelled_is_believed(desk, servers):
    desk.service.timeline = ["in_queue:3"]
    desk.service.plan("cancel", servers.answer(202, {"outcome": "cancelled"}))
    desk.service.plan("result", servers.answer(200, {"status": "in_progress"}))
    desk.stop_at("place 3")
    desk.fails(errors.Interrupted, "already running")
    assert (desk.posts, desk.states()) == (1, ["submitted"])


def test_27_a_cancellation_not_yet_confirmed_is_looked_at_again_before_anything_is_paid(desk, servers):
    desk.service.timeline = ["in_queue:3"]
    desk.service.plan("cancel", servers.answer(202, {"outcome": "cancelled"}))
    desk.stop_at("place 3")
    desk.fails(errors.Interrupted, "has not confirmed it yet")
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.stop_when = lambda: False
    desk.service.only().timeline = ["completed"]
    desk.run()
    assert desk.posts == 1


def test_28_a_running_request_is_left_and_picked_up(desk):
    desk.service.timeline = ["in_progress"]
    desk.stop_at("running")
    start = time.monotonic()
    desk.fails(errors.Interrupted, "cannot be cancelled", "may be charged", "Run picks it up")
    assert time.monotonic() - start < 3
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.stop_when = lambda: False
    desk.service.only().timeline = ["completed"]
    desk.run()
    assert desk.posts == 1


@pytest.mark.parametrize("name", ["500", "hangs", "reset", "page"])
def test_29_a_cancel_that_fails_is_not_confirmed_and_takes_no_time(desk, servers, name):
    fault = {
        "500": servers.answer(500, {}),
        "hangs": servers.late(5),
        "reset": servers.dropped,
        "page": servers.answer(200, b"<html>"),
    }[name]
    desk.service.timeline = ["in_queue:3"]
    desk.service.plan("cancel", fault)
    desk.stop_at("place 3")
    start = time.monotonic()
    desk.fails(errors.Interrupted, "req-0001", "not confirmed", "may run on and be charged")
    assert time.monotonic() - start < 5
    assert (desk.posts, desk.states()) == (1, ["submitted"])


def test_30_a_killed_process_loses_no_request(desk):
    desk.service.timeline = ["in_progress"]
    process = press(desk)
    wait_for(lambda: desk.service.count("status") > 2)
    process.kill()
    process.wait()
    desk.clip_of(100)
    desk.service.only().timeline = ["completed"]
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_30_a_result_that_was_fetched_before_the_end_is_used_as_it_is(desk):
    desk.run()
    Journal(desk.folder / "journal.db").update(desk.records()[0].id, state="submitted", output=None)
    calls = len(desk.service.calls)
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states(), len(desk.service.calls)) == (1, ["done"], calls)


def test_30_a_process_killed_while_submitting_leaves_an_unknown_outcome(desk, servers):
    desk.service.plan("submit", servers.late(5))
    process = press(desk)
    wait_for(lambda: desk.posts == 1)
    process.kill()
    process.wait()
    desk.clip_of(100)
    desk.fails(errors.OutcomeUnknown, "may be running and charged")
    assert (desk.posts, desk.states()) == (1, ["unknown"])


def test_30_a_kill_while_several_segments_are_under_way_repays_none(desk):
    accept = desk.service.accept

    def accept_and_hold(values, account):
        request = accept(values, account)
        request.timeline = ["in_progress"] if len(desk.service.requests) > 1 else ["completed"]
        return request

    desk.service.accept = accept_and_hold
    process = press(desk, "clip of 480", 480)
    wait_for(lambda: desk.has_journal() and [bool(one.remote_id) for one in desk.records()] == [True] * 3)
    process.kill()
    process.wait()
    desk.clip_of(480)
    desk.service.accept = accept
    for request in desk.service.requests.values():
        request.timeline = ["completed"]
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (4, ["done"] * 4)


def test_30_a_kill_while_a_later_segment_is_submitted_leaves_that_one_to_the_user(desk, servers):
    desk.service.plan("submit", servers.normal, servers.normal, servers.late(5))
    process = press(desk, "clip of 480", 480)
    wait_for(lambda: len(desk.service.posts) == 3)
    process.kill()
    process.wait()
    desk.clip_of(480)
    desk.fails(errors.OutcomeUnknown, "Segment 3 of 4", "2 of 4 segments are kept")
    unknown = next(one for one in desk.records() if one.state == "unknown")
    assert np.array_equal(desk.run(resubmit=unknown.short_id), desk.expected())
    assert (desk.posts, sorted(desk.states())) == (5, ["done"] * 4 + ["replaced"])


def test_31_two_processes_share_the_journal_and_the_paid_work(desk, servers):
    desk.service.timeline = ["in_progress", "in_progress", "completed"]
    desk.service.plan("submit", servers.late(0.3))
    processes = [press(desk, name, 480) for name in ("one", "one", "two")]
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in outcomes] == ["(480, 8, 12, 3)"] * 3, outcomes
    assert (desk.posts, desk.states()) == (8, ["done"] * 8)


def test_32_a_stop_is_seen_by_all_runs_at_once(desk):
    desk.service.timeline = ["in_progress"]
    stop = threading.Event()
    desk.stop_when = stop.is_set
    outcomes = []

    def run(key):
        try:
            desk.run(source_key=key)
        except errors.Interrupted as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=run, args=(key,)) for key in ("one", "two")]
    for thread in threads:
        thread.start()
    wait_for(lambda: desk.paid == 2)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    assert (desk.posts, desk.states()) == (2, ["submitted"] * 2)


def test_a_stop_is_acknowledged_within_a_second_whatever_hangs(desk, servers):
    desk.service.timeline = ["in_progress"]
    desk.service.plan("status", *[servers.late(3)] * 5)
    desk.patience = net.Timeouts(1, 10, 10)
    pressed = []

    def stop():
        if desk.service.count("status") and not pressed:
            pressed.append(time.monotonic())
        return bool(pressed)

    desk.stop_when = stop
    seen = []
    desk.updates = type("Seen", (list,), {"append": lambda self, one: seen.append((time.monotonic(), one.text))})()
    desk.fails(errors.Interrupted, "req-0001")
    acknowledged = next(at for at, text in seen if text == "Stopping")
    assert acknowledged - pressed[0] < 1.0
    assert desk.posts == 1


def test_a_stop_in_the_middle_keeps_the_finished_frames(desk):
    desk.clip_of(480)
    desk.job = dataclasses.replace(desk.job, in_flight=1)
    desk.service.timeline = ["in_progress"] * 15 + ["completed"]
    desk.stop_when = lambda: desk.paid >= 3
    desk.fails(errors.Interrupted, "of 480 frames are kept; Run continues")
    desk.stop_when = lambda: False
    assert np.array_equal(desk.run(), desk.expected())
    assert desk.paid == 4
