"""Scenarios 1 to 12: whatever happens to a submission, nothing is paid twice and nobody is told a comfortable lie."""

from __future__ import annotations

import dataclasses
import email.utils
import shutil
import socket
import threading
import time

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.journal import Journal
from seedvr2_anywhere.cloud.reach import client_for
from seedvr2_anywhere.cloud.token import Token, find_token

PAGE = b"<html>" + b"very long page " * 100 + b"</html>"


def test_00_an_undisturbed_run_pays_once_and_a_second_run_nothing(desk):
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.finished.posts, desk.finished.cost_usd) == (1, 1, 0.25)
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.finished.posts) == (1, 0)
    assert "reused, nothing paid" in desk.told()


def test_01_a_lost_answer_is_never_paid_again_by_itself_but_once_by_consent(desk, servers):
    desk.service.plan("submit", servers.accepted_then_dropped)
    message = desk.fails(errors.OutcomeUnknown, "may be running and charged", "type")
    assert desk.short_id() in message
    assert (desk.posts, desk.states()) == (1, ["unknown"])
    desk.fails(errors.OutcomeUnknown, desk.short_id())
    desk.fails(errors.OutcomeUnknown, resubmit="abcdef")
    assert desk.posts == 1
    consent = desk.short_id()
    assert np.array_equal(desk.run(resubmit=consent), desk.expected())
    assert (desk.posts, desk.states()) == (2, ["replaced", "done"])
    desk.run(resubmit=consent)
    assert desk.posts == 2


def test_01_one_consent_pays_for_one_request_only(desk, servers):
    desk.service.plan("submit", servers.accepted_then_dropped, servers.accepted_then_dropped)
    desk.fails(errors.OutcomeUnknown)
    consent = desk.short_id()
    desk.fails(errors.OutcomeUnknown, resubmit=consent)
    assert desk.posts == 2
    desk.fails(errors.OutcomeUnknown, resubmit=consent)
    assert (desk.posts, desk.states()) == (2, ["replaced", "unknown"])


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_02_a_refused_connection_is_retried_and_then_not_submitted(desk, failures):
    refusals = [ConnectionRefusedError("nobody")] * failures

    def connect(*arguments):
        is_submission = desk.service.count("price") == 1  # the price is asked first
        if refusals and is_submission:
            raise refusals.pop()
        return socket.create_connection(*arguments)

    desk.connect = connect
    if failures < 3:
        desk.run()
        assert (desk.posts, desk.states()) == (1, ["done"])
    else:
        desk.fails(errors.NotSubmitted, "Not submitted, not charged")
        assert (desk.posts, desk.states()) == (0, ["not submitted"])
        desk.run()
        assert desk.posts == 1


def test_02_a_name_that_does_not_resolve_is_not_submitted(desk):
    desk.service.base = "https://no-such-host.invalid/v1"
    desk.fails(errors.NotSubmitted, "could not be resolved")
    assert (desk.posts, desk.states()) == (0, ["not submitted"])


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 302, 307])
def test_03_an_ambiguous_answer_is_not_repeated_and_its_page_not_shown(desk, servers, status):
    desk.service.plan("submit", servers.accepted_but(status, PAGE))
    message = desk.fails(errors.OutcomeUnknown, str(status))
    assert "very long page" not in message
    assert (desk.posts, desk.states()) == (1, ["unknown"])


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ("7", 7),
        ("86400", 150),
        (None, 10),
        ("nonsense", 10),
        (lambda: email.utils.formatdate(time.time() + 60, usegmt=True), 60),
    ],
    ids=["seconds", "absurd", "absent", "nonsense", "date"],
)
def test_04_being_turned_away_is_waited_out_as_asked(desk, servers, header, waited):
    value = header() if callable(header) else header
    desk.service.plan("submit", servers.answer(429, {}, **({"Retry_After": value} if value else {})))
    desk.run()
    assert (desk.posts, desk.paid, desk.states()) == (2, 1, ["done"])
    assert any(waited - 2 <= wait <= waited for wait in desk.waits)


def test_04_being_turned_away_for_ever_ends_as_not_submitted(desk, servers):
    desk.service.plan("submit", *[servers.answer(429, {"message": "slow down"})] * 9)
    desk.fails(errors.NotSubmitted, "slow down")
    assert (desk.posts, desk.paid, desk.states()) == (5, 0, ["not submitted"])


def test_04_the_wait_ends_at_once_on_stop(desk, servers):
    desk.service.plan("submit", servers.answer(429, {}, Retry_After="150"))
    desk.wait = lambda stop, seconds: stop.wait(seconds)
    desk.stop_at("submitting")
    start = time.monotonic()
    desk.fails(errors.Interrupted)
    assert time.monotonic() - start < 2
    assert (desk.posts, desk.paid, desk.states()) == (1, 0, ["not submitted"])


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error_code": 400002, "message": "InsufficientResources"}, errors.NoBalance),
        (402, {}, errors.NoBalance),
        (200, {"error_code": "10001", "error_message": "no funds"}, errors.NoBalance),
        (400, {"error_code": 400004}, errors.BadToken),
        (401, b"<html>", errors.BadToken),
        (403, {"error_code": 403003}, errors.BadToken),
    ],
)
def test_05_06_no_credit_or_a_bad_token_stops_the_rest_and_keeps_what_is_done(desk, servers, status, body, kind):
    desk.clip_of(480)
    desk.service.plan("submit", servers.normal, servers.answer(status, body))
    message = desk.fails(kind, "1 of 4 segments are kept")
    assert (desk.posts, desk.paid) == (2, 1)
    assert desk.states() == ["done", "not submitted"]
    assert ("too little credit" in message) == (kind is errors.NoBalance)
    assert ("the test" in message) == (kind is errors.BadToken), "the source of the token is named"
    desk.run()
    assert (desk.posts, desk.paid) == (5, 4)


def test_07_a_refused_field_is_named_as_our_widget(desk, servers):
    detail = [{"loc": ["body", "35_cfg_scale"], "msg": "ensure this value is at most 2", "type": "x"}]
    desk.service.plan("submit", servers.answer(422, {"detail": detail}))
    desk.fails(errors.BadInput, "cfg_scale: ensure this value is at most 2")
    assert (desk.posts, desk.paid, desk.states()) == (1, 0, ["not submitted"])


def test_08_too_large_a_body_names_its_size(desk, servers):
    desk.service.plan("submit", servers.answer(413, PAGE))
    desk.fails(errors.BadInput, "bytes were sent", "HTTP 413")
    assert (desk.posts, desk.paid, desk.states()) == (1, 0, ["not submitted"])


def test_08_a_reset_while_the_body_is_on_its_way_is_not_submitted(desk, servers):
    desk.cut = lambda segment: bytes(20 << 20)
    desk.service.plan("submit", *[servers.dropped_unread] * 3)
    desk.fails(errors.NotSubmitted, "Not submitted, not charged")
    assert (desk.posts, desk.paid, desk.states()) == (0, 0, ["not submitted"])


def test_08_too_large_a_segment_is_refused_before_it_is_sent(desk):
    desk.cut = lambda segment: bytes(40 << 20)
    desk.fails(errors.BadInput, "41.9 MB", "public link", "not charged")
    assert (desk.posts, desk.states()) == (0, [])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request_id": "../../x"},
        {"request_id": "a\nb"},
        {"request_id": 17},
        {"request_id": "x" * 200},
        b"[]",
        b"",
        b"<html>",
    ],
    ids=["nothing", "traversal", "newline", "number", "long", "list", "empty", "html"],
)
def test_09_an_answer_without_a_usable_id_is_an_unknown_outcome(desk, servers, body):
    desk.service.plan("submit", servers.accepted_but(200, body))
    desk.fails(errors.OutcomeUnknown)
    assert (desk.posts, desk.states()) == (1, ["unknown"])


def test_09_an_answer_cut_short_is_an_unknown_outcome(desk, servers):
    def cut(call):
        call.submit_normally()
        return servers.short_body(call)

    desk.service.plan("submit", cut)
    desk.fails(errors.OutcomeUnknown)
    assert (desk.posts, desk.states()) == (1, ["unknown"])


def test_09_a_timeout_after_sending_is_an_unknown_outcome(desk, servers):
    desk.patience = net.Timeouts(2, 1, 1)
    desk.service.plan("submit", servers.late(1.6))
    desk.fails(errors.OutcomeUnknown, "no answer in time")
    assert (desk.posts, desk.states()) == (1, ["unknown"])


def test_09_a_request_that_has_an_id_is_followed_whatever_else_the_answer_says(desk, servers):
    def odd(call):
        request = call.submit_normally()
        return call.reply(200, {"request_id": request.id, "error_code": 400001, "message": "hm"})

    desk.service.plan("submit", odd)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_09_an_error_code_of_zero_is_no_error(desk, servers):
    desk.service.plan("status", servers.answer(200, {"status": "completed", "error_code": 0}))
    desk.run()
    assert (desk.posts, desk.states(), "trouble" in desk.told()) == (1, ["done"], False)


def test_10_a_wrong_token_reaches_no_other_place_than_the_header(desk):
    desk.token = Token("wrong-token-0123456789", "the environment variable X")
    desk.fails(errors.BadToken, "X")
    assert (desk.posts, desk.paid) == (0, 0)


@pytest.mark.parametrize(
    ("around", "posts"),
    [(("", "\n"), 1), (("  ", "\r\n"), 1), (("two ", ""), 0), (("ünï", ""), 0), (("x" * 10_000, ""), 0)],
)
def test_10_white_space_around_a_token_goes_and_any_other_wrong_letter_stays_at_home(desk, around, posts):
    file = desk.folder / "saved"
    file.write_text(desk.token.secret.join(around), encoding="utf-8")
    if posts:
        desk.token = find_token({}, file, desk.folder)
        desk.run()
        sent = {headers["authorization"] for endpoint, _, headers in desk.service.calls if endpoint != "download"}
        assert sent == {f"Bearer {desk.servers.TOKEN}"}
    else:
        with pytest.raises(errors.OutsideLimits) as caught:
            client_for({"RUNCOMFY_MODEL_API_BASE": desk.service.base}, file, desk.folder)
        assert desk.token.secret not in str(caught.value)
        assert desk.service.calls == []
    assert desk.posts == posts


def test_11_the_same_job_queued_twice_at_once_is_paid_once(desk, servers):
    desk.service.plan("submit", servers.late(0.4))
    desk.service.timeline = ["in_progress"] * 3 + ["completed"]
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(desk.run().shape)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [(100, 8, 12, 3)] * 3
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_11_a_run_that_is_overtaken_while_it_cuts_its_clip_pays_nothing(desk):
    cut = desk.cut

    def overtaken(segment):
        desk.cut = cut
        desk.run()
        return cut(segment)

    desk.cut = overtaken
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_12_without_a_writable_journal_nothing_is_submitted(desk):
    (desk.folder / "journal.db").mkdir()
    desk.fails(errors.NotSubmitted, "journal")
    assert desk.posts == 0


def test_12_a_journal_that_fails_on_the_way_forbids_the_post(desk, monkeypatch):
    def full(*_):
        raise errors.NotSubmitted("The journal of paid requests cannot be used (database or disk is full).")

    monkeypatch.setattr(Journal, "intend", full)
    desk.fails(errors.NotSubmitted, "disk is full")
    assert desk.posts == 0


def test_12_a_disk_that_fills_after_the_post_costs_no_result(desk, monkeypatch):
    def full(self, id, **changes):
        raise errors.NotSubmitted("database or disk is full")

    monkeypatch.setattr(Journal, "update", full)
    assert np.array_equal(desk.run(), desk.expected())
    assert any("could not be written down" in note for note in desk.finished.notes)
    monkeypatch.undo()
    assert np.array_equal(desk.run(), desk.expected())  # the journal knows of no answer, but the result is here
    assert (desk.posts, desk.states()) == (1, ["unknown"])
    shutil.rmtree(desk.job.folder)
    desk.fails(errors.OutcomeUnknown, desk.short_id())
    assert desk.posts == 1


def test_12_a_request_without_an_id_in_the_journal_is_left_to_the_user(desk):
    desk.run()
    Journal(desk.folder / "journal.db").update(desk.records()[0].id, state="submitted", remote_id=None)
    shutil.rmtree(desk.job.folder)
    desk.fails(errors.OutcomeUnknown, desk.short_id())
    assert (desk.posts, desk.states()) == (1, ["unknown"])
    desk.run(resubmit=desk.short_id())
    assert (desk.posts, desk.states()) == (2, ["replaced", "done"])


@pytest.mark.parametrize("damage", ["garbage", "truncated", "other table"])
def test_12_a_damaged_journal_is_set_aside_and_the_run_goes_on(desk, damage):
    path = desk.folder / "journal.db"
    if damage == "garbage":
        path.write_bytes(b"this is no database" * 1000)
    else:
        desk.run()
        desk.job = dataclasses.replace(desk.job, source_key="another clip")
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:5000])
        else:
            import sqlite3

            with sqlite3.connect(path) as db:
                db.execute("ALTER TABLE requests RENAME COLUMN remote_id TO other")
    before = desk.posts
    desk.run()
    assert desk.posts == before + 1
    assert any("damaged" in note for note in desk.finished.notes)
    assert [path.name for path in desk.folder.glob("journal.db.damaged-*")]
