"""The life of one segment: known already? affordable? cut, intended, sent, followed, fetched, verified.

Submissions happen one after the other, in order; following and fetching happens on a thread per segment in flight.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import net
from .answers import QUEUED
from .client import Clip
from .errors import (
    BadInput,
    CancelledRemotely,
    CloudError,
    Failed,
    Interrupted,
    Lost,
    NotSubmitted,
    OutcomeUnknown,
    StillRunning,
    Undecodable,
)
from .fetch import Errand, fetch_result
from .follow import Look, follow
from .job import Run
from .journal import CANCELLED, DAY_S, DONE, FAILED, INTENDED, LOST, NOT_SUBMITTED, SUBMITTED, UNKNOWN, Record
from .money import Spending, expected_usd, refuse_beyond
from .plan import Segment
from .schema import MOST_DATA_BYTES, MOST_VIDEO_BYTES, complete

UNDECODABLE = "its file could not be decoded"  # as the journal says it
OTHERS_POLL_S = 0.5  # between looks at a request that another run is just sending


def work_through(run: Run) -> None:
    """Bring every segment to a file or a failure; after the first failure nothing more is paid for."""
    slots = threading.Semaphore(run.job.in_flight)
    followers: list[threading.Thread] = []
    for segment in run.segments:
        record = _settled(run, segment, slots)
        if record is None:
            continue
        with run.lock:
            run.followed[segment.index] = record.remote_id or ""
        thread = threading.Thread(target=_finish, args=(run, segment, record, slots), name="segment", daemon=True)
        followers.append(thread)
        thread.start()
    for thread in followers:
        thread.join()


def _settled(run: Run, segment: Segment, slots: threading.Semaphore) -> Record | None:
    """The record to follow, with a slot taken for it; None when there is nothing (more) to do for this segment."""
    taken = False
    try:
        found = _known(run, segment)
        if found and _is_good(run, segment, found):  # whatever the journal was still able to say of it
            _keep(run, segment, _file_of(run, found))
            if found.state == SUBMITTED:
                _put_down(run, found, state=DONE, output=_file_of(run, found).name)
            run.tell(segment, "reused, nothing paid", "done")
            return None
        taken = slots.acquire(blocking=False)
        # while others are at RunComfy the next clip is made: nobody waits for it then
        ready = _cut(run, segment) if not taken and found is None else None
        taken = taken or _take(run, slots)
        if run.stop.is_set() or (found is None and run.failures):
            return None
        record = _attached(run, segment, found) if found else _submitted(run, segment, ready)
        taken = False
        return record
    except Interrupted:
        return None
    except Exception as error:
        _fail(run, segment, error)
        return None
    finally:
        if taken:
            slots.release()


def _known(run: Run, segment: Segment) -> Record | None:
    """The open record of a segment, waiting while another run is just sending it.

    Raises OutcomeUnknown for one whose answer was lost, unless its result is here.
    """
    journal, key = run.doors.journal, run.key(segment)
    found = journal.find(key)
    while found and found.state == INTENDED:
        run.tell(segment, "is just being submitted by another run, waiting")
        run.pause(OTHERS_POLL_S)
        found = journal.find(key)
    if not found or found.state not in (UNKNOWN, LOST) or _is_good(run, segment, found):
        return found
    if run.job.resubmit and journal.replace(key, run.job.resubmit):
        return None
    if found.state == LOST:
        return found  # looking for it once more costs nothing
    raise OutcomeUnknown(_blocked_text(found))


def _blocked_text(found: Record) -> str:
    """Why a segment is not paid again by itself, for a record that stands in the way."""
    if found.state == UNKNOWN:
        return f"An earlier request for it was sent and never answered. {_consent_text(found)}"
    return f"{found.message or 'Its result is gone.'} {_consent_text(found)}"


def _consent_text(found: Record) -> str:
    charged = "It may be running and charged" if found.state == UNKNOWN else "It was accepted and may have been charged"
    return (
        f"{charged}, and is not paid again by itself. Look at your generations on RunComfy; to pay for it once more, "
        f"type {found.short_id} into resubmit and run again."
    )


def _attached(run: Run, segment: Segment, found: Record) -> Record:
    if not found.remote_id:  # its result was here once, and there is nothing to ask RunComfy about
        raise OutcomeUnknown(_blocked_text(_put_down(run, found, state=UNKNOWN)))
    run.tell(segment, f"picked up request {found.remote_id}, nothing paid again", "submitted")
    return _put_down(run, found, state=SUBMITTED) if found.state == DONE else found


def _submitted(run: Run, segment: Segment, ready: bytes | None) -> Record:
    """Pay for a segment: limits, clip (unless it is ready), then each way of handing it over until one is taken."""
    expected = _affordable(run, segment)
    refusals: list[str] = []
    for clip in _clips(run, segment, ready, refusals):
        try:
            return _handed_over(run, segment, clip, expected)
        except BadInput as error:
            refusals.append(str(error))
    raise BadInput(
        f"{' '.join(refusals)} Not submitted, not charged. Give Load Video a public link to the clip, "
        "configure storage in the settings, or choose the backend local."
    )


def _handed_over(run: Run, segment: Segment, clip: Clip, expected: float | None) -> Record:
    """Journal first, then the POST."""
    journal = run.doors.journal
    label = f"{segment.index + 1} of {len(run.segments)}"
    record = journal.new_record(run.client.token.account, run.key(segment), run.id, label, expected)
    standing = journal.intend(record, run.doors.now() - DAY_S, lambda day_usd: _allow(run, day_usd, expected))
    if standing.id != record.id:  # another process was faster
        found = _known(run, segment)
        if found is None:
            raise NotSubmitted("Another run took this segment and gave it up. Run again.")
        return _attached(run, segment, found)
    try:
        run.tell(segment, "submitting")
        request_id = _post(run, segment, record, clip)
        run.tell(segment, f"submitted as {request_id}", "submitted")
        return _put_down(run, record, state=SUBMITTED, remote_id=request_id)
    finally:
        journal.finish(record.id)


def _post(run: Run, segment: Segment, record: Record, clip: Clip) -> str:
    run.posting.set()
    try:
        request_id = run.client.submit(complete(run.values, segment.sent_frames), clip)
    except (NotSubmitted, Interrupted, net.Cancelled) as error:
        _put_down(run, record, state=NOT_SUBMITTED, message=str(error))
        raise Interrupted(str(error)) if isinstance(error, net.Cancelled) else error from None
    except BaseException as error:
        unknown = _put_down(run, record, state=UNKNOWN, message=str(error))
        _paid(run, segment, record)
        raise OutcomeUnknown(f"{error} {_consent_text(unknown)}") from None
    finally:
        run.posting.clear()
    _paid(run, segment, record)
    return request_id


def _paid(run: Run, segment: Segment, record: Record) -> None:
    with run.lock:
        run.costs[segment.index] = None
        run.expected[segment.index] = record.price_usd


def _affordable(run: Run, segment: Segment) -> float | None:
    """The expected price of the next request; raises OutsideLimits when a limit stands in the way."""
    rate = int(run.values["34_frame_rate"])
    if not run.is_price_asked:
        run.price, run.is_price_asked = run.client.price(), True
    expected = expected_usd(run.price, segment, rate)
    if expected is None:
        expected = _learned(run)
    _allow(run, run.doors.journal.spent_usd(run.doors.now() - DAY_S), expected)
    return expected


def _allow(run: Run, day_usd: float, expected: float | None) -> None:
    """Raise OutsideLimits when one more request would break a limit, `day_usd` being what all runs of a day spent."""
    with run.lock:
        spent = [
            cost if cost is not None else run.expected[index] or expected or 0.0 for index, cost in run.costs.items()
        ]
    refuse_beyond(run.job.budget, Spending(sum(spent), day_usd, len(spent)), expected)


def _learned(run: Run) -> float | None:
    """Without a published price: the highest cost reported in this run, once its first request has ended."""
    while True:
        with run.lock:
            reported = [cost for cost in run.costs.values() if cost is not None]
            is_waiting = any(index in run.followed and index not in run.ended for index in run.costs)
        if reported or not is_waiting:
            return max(reported, default=None)
        run.pause(OTHERS_POLL_S)


def _clips(run: Run, segment: Segment, data: bytes | None, refusals: list[str]) -> Iterator[Clip]:
    """The clip in each way it can be handed over, made only when asked for; why a way is closed goes to `refusals`."""
    for way in run.job.ways:
        if way == "address":
            if run.job.address and len(run.segments) == 1:
                yield Clip(address=run.job.address)
            continue
        if way == "storage" and run.doors.storage is None:
            continue
        data = _cut(run, segment) if data is None else data
        most = MOST_DATA_BYTES if way == "data" else MOST_VIDEO_BYTES
        if len(data) > most:
            refusals.append(
                f"Segment {segment.index + 1} has {len(data) / 1e6:.1f} MB, at most {most / 1e6:.1f} MB can be sent "
                f"{'in the request' if way == 'data' else 'through storage'}."
            )
        elif way == "data":
            yield Clip(data=data)
        elif run.doors.storage:
            run.tell(segment, "putting the clip on your storage")
            yield Clip(address=run.doors.storage.put(data, _storage_name(run, segment)))


def _storage_name(run: Run, segment: Segment) -> str:
    return f"{run.key(segment)[:24]}.mp4"


def _cut(run: Run, segment: Segment) -> bytes:
    run.tell(segment, "preparing")
    data = run.doors.cut(segment)
    if run.stop.is_set() or run.failures:  # cutting takes its time, and another segment may have failed meanwhile
        raise Interrupted("Stopped before anything was sent.")
    return data


def _take(run: Run, slots: threading.Semaphore) -> bool:
    while not slots.acquire(timeout=0.05):
        if run.stop.is_set():
            raise Interrupted("Stopped.")
    return True


def _finish(run: Run, segment: Segment, record: Record, slots: threading.Semaphore) -> None:
    try:
        _keep(run, segment, _followed(run, segment, record))
        run.tell(segment, "done", "done")
    except (Interrupted, net.Cancelled):
        _say_goodbye(run, segment, record)
    except Exception as error:
        _fail(run, segment, error)
    finally:
        with run.lock:
            run.ended.add(segment.index)
        slots.release()


def _followed(run: Run, segment: Segment, record: Record) -> Path:
    """Wait for a submitted request, fetch and verify its result, and write each step into the journal."""
    request_id = record.remote_id or ""
    submitted = (*([run.job.address] if run.job.address else []), _storage_name(run, segment))

    def tell(look: Look) -> None:
        run.tell(segment, _look_text(look), "queued" if look.state == QUEUED else "running")

    try:
        is_fresh = record.run == run.id
        result = follow(
            run.client, request_id, submitted, run.doors.clock, tell,
            lambda cost_usd: _note_cost(run, segment, record, cost_usd), is_fresh, run.job.patience,
        )  # fmt: skip
        run.tell(segment, "fetching the result", "fetching")
        errand = Errand(
            request_id=request_id,
            target=_file_of(run, record),
            ask_again=lambda: run.client.result(request_id, submitted),
            verify=lambda path: run.doors.verify(path, segment),
            pause=run.pause,
            cancelled=run.stop.is_set,
            most_bytes=run.job.most_result_bytes,
            world=run.doors.world,
        )
        path = fetch_result(result, errand, run.doors.downloads)
    except (Failed, CancelledRemotely, Lost) as error:
        ends = {Failed: FAILED, CancelledRemotely: CANCELLED, Lost: LOST}
        ended = _put_down(run, record, state=ends[type(error)], message=str(error))
        raise Lost(f"{error} {_consent_text(ended)}") if isinstance(error, Lost) else error from None
    _put_down(run, record, state=DONE, remote_id=request_id, output=path.name)
    return path


def _put_down(run: Run, record: Record, **changes: str | float | None) -> Record:
    """Write into the journal what became of a request; when that fails, the run goes on with what it knows."""
    try:
        return run.doors.journal.update(record.id, **changes)
    except NotSubmitted as error:
        run.notes.append(
            f"request {record.remote_id or record.short_id}: {changes} could not be written down ({error})"
        )
        return replace(record, **changes)  # type: ignore[arg-type]


def _note_cost(run: Run, segment: Segment, record: Record, cost_usd: float) -> None:
    _put_down(run, record, cost_usd=cost_usd)
    with run.lock:
        if segment.index in run.costs:
            run.costs[segment.index] = cost_usd


def _look_text(look: Look) -> str:
    minutes, seconds = divmod(int(look.elapsed_s), 60)
    place = f", place {look.queue_position} in the queue" if look.queue_position is not None else ""
    trouble = f", connection trouble, the request is safe ({look.trouble})" if look.trouble else ""
    return f"{look.state or 'waiting'}{place}, {minutes}:{seconds:02d}{trouble}"


def _say_goodbye(run: Run, segment: Segment, record: Record) -> None:
    """Cancel a request at a stop, as far as that goes, and put down truthfully what became of it."""
    request_id = record.remote_id or ""
    try:
        outcome = run.client.cancel(request_id)
        result = run.client.result(request_id)
    except (CloudError, net.NetError):
        return  # the run itself says that nothing was confirmed
    final = result.state.word
    if result.cost_usd is not None:
        _note_cost(run, segment, record, result.cost_usd)
    if final == "cancelled":
        _put_down(run, record, state=CANCELLED, message="cancelled by the user")
        charge = "no charge was" if not result.cost_usd else f"${result.cost_usd:.2f} were"
        text = f"cancelled while queued; {charge} reported."
    elif outcome in ("cancelled", "canceled") and final != "running":
        text = "RunComfy took the cancellation but has not confirmed it yet. Run looks at it again."
    elif final == "succeeded":
        text = "finished already and is paid. Run fetches it."
    else:
        text = "is already running and cannot be cancelled; it may be charged. Run picks it up."
    with run.lock:
        run.farewells[segment.index] = f"Request {request_id} (segment {segment.index + 1}): {text}"


def _keep(run: Run, segment: Segment, path: Path) -> None:
    with run.lock:
        run.files[segment.index] = path


def _fail(run: Run, segment: Segment, error: Exception) -> None:
    with run.lock:
        run.failures[segment.index] = error
    run.tell(segment, f"failed: {error}", "failed")


def give_back(run: Run, segment: Segment, error: Undecodable) -> None:
    """Throw a result away that looked good and cannot be decoded, and fail its segment.

    The next run fetches it again, which costs nothing. When that did not help, only the user may pay anew.
    """
    with run.lock:
        path = run.files.pop(segment.index)
    with contextlib.suppress(OSError):
        path.unlink()
    found = run.doors.journal.find(run.key(segment))
    if found is None:
        return _fail(run, segment, error)
    if found.message == UNDECODABLE:
        ended = _put_down(run, found, state=LOST)
        return _fail(run, segment, Lost(f"{error} It was fetched twice. {_consent_text(ended)}"))
    _put_down(run, found, state=SUBMITTED, message=UNDECODABLE)
    again = f"{error} It is paid and was thrown away here; run again to fetch it once more, nothing is paid twice."
    return _fail(run, segment, StillRunning(again))


def _file_of(run: Run, record: Record) -> Path:
    # named after the record, so that no file of the user's and no result of another request is ever met
    return run.job.folder / f"segment-{record.id[:12]}.mp4"


def _is_good(run: Run, segment: Segment, record: Record) -> bool:
    path = _file_of(run, record)
    return path.is_file() and run.doors.verify(path, segment) is None
