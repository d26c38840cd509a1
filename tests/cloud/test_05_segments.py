"""Scenarios 43 to 48: many segments, money, and secrets."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
import traceback

import numpy as np
import pytest
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.job import Job
from seedvr2_anywhere.cloud.journal import Journal
from seedvr2_anywhere.cloud.money import Budget
from seedvr2_anywhere.cloud.run import estimate

HANG_S = 20


@pytest.mark.parametrize("fault", ["no credit", "fails", "cancelled"])
def test_43_a_failure_in_the_middle_keeps_the_rest_and_only_the_rest_is_paid_later(desk, servers, fault):
    desk.clip_of(1300)
    desk.job = dataclasses.replace(desk.job, in_flight=1)
    if fault == "no credit":
        desk.service.plan("submit", *[servers.normal] * 6, servers.answer(402, {}))
    else:
        ends = {"fails": {"status": "failed"}, "cancelled": {"status": "cancelled"}}
        desk.service.plan("result", *[servers.normal] * 6, servers.answer(200, ends[fault]))
    kind = {"no credit": errors.NoBalance, "fails": errors.Failed, "cancelled": errors.CancelledRemotely}[fault]
    desk.fails(kind, "Segment 7 of 9", "6 of 9 segments are kept")
    assert desk.posts == 7
    assert desk.states()[:6] == ["done"] * 6
    assert np.array_equal(desk.run(), desk.expected())
    assert desk.posts == 7 + 3
    assert desk.finished.posts == 3


def test_43_what_is_in_flight_when_another_fails_is_finished(desk, servers):
    desk.clip_of(480)
    desk.job = dataclasses.replace(desk.job, in_flight=3)
    desk.service.timeline = ["in_progress"] * 5 + ["completed"]
    desk.service.plan("submit", servers.normal, servers.normal, servers.answer(402, {}))
    desk.fails(errors.NoBalance, "2 of 4 segments are kept")
    assert desk.posts == 3
    assert desk.states() == ["done", "done", "not submitted"]


def test_43_requests_of_an_earlier_run_are_picked_up_even_behind_a_failure(desk, servers):
    desk.clip_of(480)
    desk.run()
    journal = Journal(desk.folder / "journal.db")
    second, third = desk.records()[1:3]
    journal.update(second.id, state="unknown")
    journal.update(third.id, state="submitted")
    for one in (second, third):
        (desk.job.folder / one.output).unlink()
    desk.fails(errors.OutcomeUnknown, "Segment 2 of 4", "3 of 4 segments are kept")
    assert (desk.posts, desk.states()) == (4, ["done", "unknown", "done", "done"])


def test_44_the_next_clip_is_made_while_the_one_before_is_at_runcomfy(desk):
    desk.clip_of(300)
    made, plain_cut, plain_verify = threading.Event(), desk.cut, desk.verify

    def cut(segment):
        if segment.index == 1:
            made.set()
        return plain_cut(segment)

    def verify(path, segment):
        assert segment.index or made.wait(HANG_S), "the second clip was not begun before the first came back"
        return plain_verify(path, segment)

    desk.cut, desk.verify = cut, verify
    assert np.array_equal(desk.run(in_flight=1), desk.expected())
    assert (desk.posts, desk.paid) == (2, 2)


def test_44_segments_that_finish_out_of_order_are_joined_in_order(desk):
    desk.clip_of(480)
    desk.job = dataclasses.replace(desk.job, in_flight=4)
    desk.wait = lambda stop, seconds: stop.wait(0.01)
    lengths = iter([150, 1, 80, 40])
    accept = desk.service.accept

    def accept_slowly(values, account):
        request = accept(values, account)
        request.timeline = ["in_progress"] * next(lengths) + ["completed"]
        return request

    desk.service.accept = accept_slowly
    assert np.array_equal(desk.run(), desk.expected())
    done = [update.segment for update in desk.updates if update.text == "done"]
    assert done != sorted(done), "they were meant to finish out of order"
    assert desk.posts == 4


def test_44_a_run_that_cannot_tell_how_far_it_is_pays_for_nothing_more(desk):
    desk.clip_of(480)
    desk.service.timeline = ["in_progress"]
    told = []

    def report(update):
        told.append(update)
        if "submitted as" in update.text:
            raise OSError("nobody listens")

    desk.updates = type("Broken", (list,), {"append": lambda self, update: report(update)})()
    with pytest.raises(OSError, match="nobody listens"):
        desk.run(in_flight=1)
    end = time.monotonic() + HANG_S
    while any(thread.name in ("runcomfy", "segment") for thread in threading.enumerate()):
        assert time.monotonic() < end, "its threads go on"
        time.sleep(0.01)
    assert (desk.posts, desk.states()) == (1, ["submitted"])


@pytest.mark.parametrize("in_flight", [1, 3])
def test_44_submissions_come_in_order_and_no_more_than_allowed_are_in_flight(desk, in_flight):
    desk.clip_of(1000)
    desk.wait = lambda stop, seconds: stop.wait(0.01)
    desk.service.timeline = ["in_progress"] * 20 + ["completed"]
    open_at_once = []
    accept = desk.service.accept

    def accept_and_count(values, account):
        running = sum(request.looks < 21 for request in desk.service.requests.values())
        open_at_once.append(running + 1)
        return accept(values, account)

    desk.service.accept = accept_and_count
    assert np.array_equal(desk.run(in_flight=in_flight), desk.expected())
    assert max(open_at_once) == in_flight
    firsts = [int(desk.servers.toy_frames(desk.cut(segment)).sum()) for segment, _ in desk.finished.parts]
    assert len(firsts) == desk.posts == 7


NO_PRICES = [None, {}, {"base_price_usd": None}, {"base_price_usd": math.nan}, {"base_price_usd": -1},
             {"base_price_usd": "0.5"}, {"base_price_usd": True}, {"base_price_usd": 0}, {"base_price_usd": 0.5},
             {"base_price_usd": 0.5, "price_unit": 5}, {"base_price_usd": 0.5, "price_unit": "megapixel"}]  # fmt: skip


@pytest.mark.parametrize("price", NO_PRICES, ids=str)
def test_45_an_unknown_price_goes_on_request_by_request_and_is_never_shown_as_free(desk, price):
    desk.clip_of(480)
    unit = (
        {} if price is None or "price_unit" in price or price == {"base_price_usd": 0.5} else {"price_unit": "output"}
    )
    desk.service.price = None if price is None else {**price, **unit}
    desk.service.cost = None
    desk.job = dataclasses.replace(desk.job, budget=Budget(spend_limit_usd=5, max_requests=2))
    desk.fails(errors.OutsideLimits, "max_requests is 2", "2 of 4 segments are kept")
    assert desk.posts == 2
    text = estimate(desk.job, desk.doors(Journal(desk.folder / "journal.db")).client)
    assert "4 requests" in text
    assert "not published" in text
    assert "free" not in text
    assert "$0" not in text.replace("$0.5", "")


def test_45_a_reported_cost_takes_the_place_of_an_unknown_price(desk):
    desk.clip_of(480)
    desk.service.price, desk.service.cost = None, 0.3
    budget = Budget(spend_limit_usd=0.7, max_requests=1)
    desk.job = dataclasses.replace(desk.job, budget=budget, in_flight=4)
    desk.fails(errors.OutsideLimits, "$0.30", "spend_limit_usd 0.7")
    assert desk.posts == 2
    desk.run(budget=Budget(spend_limit_usd=10, max_requests=1))
    assert desk.posts == 4


@pytest.mark.parametrize("fault", ["500", "hangs", "page", "reset"])
def test_45_a_price_that_cannot_be_asked_blocks_nothing_for_long(desk, servers, fault):
    faults = {
        "500": servers.answer(500, {}),
        "hangs": servers.late(5),
        "page": servers.answer(200, b"<html>"),
        "reset": servers.dropped,
    }
    desk.service.plan("price", faults[fault])
    desk.run()
    assert desk.posts == 1


def test_45_only_the_four_documented_calls_are_needed(desk, servers):
    desk.service.is_bare = True
    desk.clip_of(480)
    assert np.array_equal(desk.run(), desk.expected())
    assert desk.posts == 4
    assert {name for name, _, _ in desk.service.calls} <= {*servers.DOCUMENTED, "price", "download"}


@pytest.mark.parametrize(("limit", "posts"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.6, 2), (0.75, 3), (1.0, 4)])
def test_46_the_spending_limit_stops_before_the_post_that_would_exceed_it(desk, limit, posts):
    desk.clip_of(480)
    desk.job = dataclasses.replace(desk.job, budget=Budget(spend_limit_usd=limit))
    if posts < 4:
        desk.fails(errors.OutsideLimits, f"spend_limit_usd {limit:g}")
    else:
        desk.run()
    assert desk.posts == posts


def test_46_the_limit_of_a_day_holds_over_all_runs_and_ends_with_the_day(desk):
    budget = Budget(spend_limit_usd=10, day_limit_usd=0.5)
    desk.job = dataclasses.replace(desk.job, budget=budget)
    desk.run(source_key="one")
    desk.run(source_key="two")
    desk.fails(errors.OutsideLimits, "$0.50 were spent in 24 hours", source_key="three")
    assert desk.posts == 2
    real = desk.now
    desk.now = lambda: real() + 86_500
    desk.run(source_key="three")
    assert desk.posts == 3


def test_46_two_runs_at_once_do_not_pass_the_limit_of_a_day_together(desk):
    desk.job = dataclasses.replace(desk.job, budget=Budget(spend_limit_usd=10, day_limit_usd=0.3))
    both, plain_cut, outcomes = threading.Barrier(2), desk.cut, []

    def cut(segment):
        both.wait(HANG_S)  # by now each has seen that nothing was spent yet
        return plain_cut(segment)

    def run(key):
        try:
            outcomes.append(desk.run(source_key=key).shape)
        except errors.Incomplete as error:
            outcomes.append(type(error.causes[0]))

    desk.cut = cut
    threads = [threading.Thread(target=run, args=(key,)) for key in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [(100, 8, 12, 3), errors.OutsideLimits]
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_the_default_limit_is_finite():
    assert Budget().spend_limit_usd == 2.0
    assert Budget().max_requests == 1
    assert Job.__dataclass_fields__["budget"].default == Budget()


def test_46_an_unknown_price_with_a_limit_of_nothing_submits_nothing(desk):
    desk.service.price = None
    desk.fails(errors.OutsideLimits, "limit is 0", budget=Budget(spend_limit_usd=0, max_requests=9))
    assert desk.posts == 0


def test_an_estimate_submits_nothing_and_names_what_is_translated(desk):
    desk.clip_of(480)
    client = desk.doors(Journal(desk.folder / "journal.db")).client
    text = estimate(desk.job, client)
    assert "4 requests, about $1.00 ($0.25 per output)" in text
    assert "cfg_scale 1 → 1.01" in text
    desk.service.price = {"base_price_usd": 0.01, "price_unit": "second"}
    assert f"about ${0.01 * 528 / 24:.2f}" in estimate(desk.job, client)
    assert "price not published" in estimate(desk.job, None)
    assert desk.posts == 0


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY"])
def test_47_a_proxy_in_the_way_is_named_and_nothing_is_submitted(desk, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    if variable == "HTTP_PROXY":
        desk.run()  # loopback is reached directly
        assert desk.posts == 1
        return
    desk.service.base = "https://model-api.example/v1"
    desk.fails(errors.NotSubmitted, "proxy")
    assert (desk.posts, desk.states()) == (0, ["not submitted"])


def test_47_a_certificate_that_cannot_be_verified_submits_nothing(desk):
    desk.service.base = desk.service.base.replace("http://", "https://")
    desk.fails(errors.NotSubmitted, "encrypted connection failed")
    assert desk.posts == 0


def test_48_the_token_is_in_no_file_log_message_or_traceback(desk, servers, caplog):
    caplog.set_level(logging.DEBUG)
    echo = {"message": f"bad token {desk.token.secret}", "error_code": 400004}
    said = []
    ended = {"status": "failed", "error": {"message": "x" * 290 + desk.token.secret}}  # cut off in the middle of it
    for faults in ([servers.answer(400, echo)], [servers.answer(500, echo)], [servers.normal] * 2, []):
        desk.service.plan("submit", *faults)
        desk.service.plan("result", *([] if faults else [servers.answer(200, ended)]))
        desk.service.plan("status", servers.answer(500, echo), servers.dropped)
        try:
            desk.run(source_key=f"clip {len(said)}")
            said.append(repr(desk.finished))
        except errors.CloudError as error:
            said.append("".join(traceback.format_exception(error)) + repr(error))
    said += [repr(desk.updates), caplog.text, repr(desk.token), str(desk.token), repr(desk.records())]
    said.append(repr(desk.doors(Journal(desk.folder / "other.db")).client))
    secret = desk.token.secret
    assert all(secret not in text for text in said)
    assert secret[:6] not in "".join(said)
    for path in desk.folder.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    assert desk.posts == 4
