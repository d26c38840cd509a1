"""Work beside a run gets each result as it comes, ends with the run, and loses and pays for nothing when it fails."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.stitch import stitched

FRAMES = 480  # four segments
PATIENCE_S = 30


@pytest.fixture
def joining(desk):
    """A desk with four segments whose results are joined beside the run."""
    desk.clip_of(FRAMES)
    desk.job = dataclasses.replace(desk.job, in_flight=2)
    made = Joining(desk)
    desk.beside = made.join
    return made


class Joining:
    """What a node does with the results, in small; `before(segment)` is called when a segment's turn has come."""

    def __init__(self, desk):
        self.desk, self.frames, self.taken = desk, None, []
        self.before = lambda segment: None
        self.is_over = threading.Event()
        self.thread = ""

    def join(self, arriving) -> None:
        self.thread, self.arriving = threading.current_thread().name, arriving

        def frames(segment):
            self.before(segment)
            data = arriving.file(segment).read_bytes()
            self.taken.append(segment.index)
            try:
                found = self.desk.servers.toy_frames(data)
            except ValueError as error:
                raise errors.Undecodable(f"Segment {segment.index + 1}: {error}", segment.index) from None
            for frame in found:
                arriving.check()
                yield frame[None]

        try:
            self.frames = np.concatenate(list(stitched(arriving.segments, frames)))
        finally:
            self.is_over.set()


def hold(desk, *numbers: int, state: str = "in_progress") -> None:
    """These requests, counted from 1, stay in a state until `release`."""
    accept = desk.service.accept

    def held(values, account):
        request = accept(values, account)
        if int(request.id[-4:]) in numbers:
            request.timeline = [state]
        return request

    desk.service.accept = held


def release(desk) -> None:
    for request in desk.service.requests.values():
        request.timeline = ["completed"]


def wait_for(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_first_results_are_taken_while_a_later_one_is_still_at_the_service(desk, joining):
    hold(desk, 3)

    def before(segment):
        if segment.index == 2:  # the first two are taken: only now may the third end
            assert joining.taken == [0, 1]
            release(desk)

    joining.before = before
    desk.run()
    assert joining.taken == [0, 1, 2, 3]
    assert np.array_equal(joining.frames, desk.expected())
    assert desk.posts == 4


def test_time_spent_waiting_for_a_result_is_not_counted_as_work(desk, joining):
    hold(desk, 1)
    threading.Timer(1.0, release, [desk]).start()
    desk.run()
    assert joining.arriving.waited_s > 0.3
    assert time.monotonic() - joining.arriving.clock() == pytest.approx(joining.arriving.waited_s, abs=0.1)


@pytest.mark.parametrize("fault", ["fails", "no credit"])
def test_a_later_segment_that_fails_ends_the_work_beside_the_run(desk, joining, servers, fault):
    if fault == "fails":
        desk.service.plan("result", servers.normal, servers.normal, servers.answer(200, {"status": "failed"}))
        kind = errors.Failed
    else:
        desk.service.plan("submit", servers.normal, servers.normal, servers.answer(402, {}))
        kind = errors.NoBalance
    desk.fails(kind, "segments are kept")
    assert joining.is_over.is_set()
    assert joining.frames is None
    kept = desk.states().count("done")
    desk.run()
    assert np.array_equal(joining.frames, desk.expected())
    assert desk.finished.posts == 4 - kept


def test_a_stop_while_joining_ends_both_and_cancels_what_is_queued(desk, joining):
    hold(desk, 2, state="in_queue")
    desk.job = dataclasses.replace(desk.job, in_flight=1)
    desk.stop_when = lambda: joining.taken == [0] and "queued" in {update.phase for update in desk.updates}
    message = desk.fails(errors.Interrupted, "frames are kept; Run continues.", "cancelled while queued")
    assert "req-0002" in message
    assert joining.is_over.wait(PATIENCE_S)
    assert joining.frames is None
    desk.stop_when = lambda: False
    desk.run()
    assert np.array_equal(joining.frames, desk.expected())
    assert (desk.posts, desk.finished.posts) == (5, 3)  # the cancelled one anew, and two that were never sent


def test_a_failure_beside_the_run_lets_requests_come_home_and_pays_for_no_more(desk, joining):
    hold(desk, 2)
    desk.job = dataclasses.replace(desk.job, in_flight=1)

    def before(segment):
        if segment.index == 1:
            wait_for(lambda: len(desk.service.requests) == 2)
            threading.Timer(0.3, release, [desk]).start()
            raise OSError("no space left")

    joining.before = before
    with pytest.raises(OSError, match="no space left"):
        desk.run()
    assert (desk.posts, desk.states()) == (2, ["done", "done"])
    joining.before = lambda segment: None
    desk.run()
    assert np.array_equal(joining.frames, desk.expected())
    assert (desk.posts, desk.finished.posts) == (4, 2)


def test_a_result_that_cannot_be_decoded_is_fetched_again_and_paid_anew_only_by_consent(desk, joining):
    """Good by all that is looked at before, and broken where its frames are needed."""
    spoiled = [2]  # segments, by index, whose results are broken

    def check(segment):
        if segment.index in spoiled:
            path = joining.arriving.file(segment)
            path.write_bytes(path.read_bytes()[:-5])

    joining.before = check
    message = desk.fails(errors.StillRunning, "Segment 3 of 4", "nothing is paid twice", "3 of 4 segments are kept")
    assert "resubmit" not in message
    assert (desk.posts, sorted(desk.states())) == (4, ["done", "done", "done", "submitted"])
    third = next(record for record in desk.records() if record.state == "submitted")
    assert not (desk.job.folder / f"segment-{third.id[:12]}.mp4").exists()
    text = desk.fails(errors.Lost, "It was fetched twice.", f"type {third.short_id} into resubmit")
    assert "may have been charged" in text
    assert desk.posts == 4
    spoiled.clear()  # looking once more costs nothing, and now it is whole
    desk.run()
    assert np.array_equal(joining.frames, desk.expected())
    assert (desk.posts, desk.states()) == (4, ["done"] * 4)
