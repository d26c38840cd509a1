"""A clip through RunComfy: segments submitted in order, several in flight, each result kept as soon as it is good.

The thread that calls `run_hosted` alone asks whether the user stopped and alone reports; the work happens on threads
that know only this run's own stop event. Every request is in the journal before it is sent, so whatever ends a run,
the next one with the same input and settings takes up each request where it is, and pays only for what was never sent.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from .. import net
from .beside import Arriving
from .client import Client
from .errors import CloudError, Incomplete, Interrupted, OutsideLimits, Undecodable
from .job import Doors, Finished, Job, Run, Update
from .journal import Journal
from .money import estimate_text
from .plan import Segment, plan_segments
from .schema import complete, translate
from .segment_work import give_back, work_through

ASK_EVERY_S = 0.1  # how often the user's stop is looked for
MOST_NAMED = 4  # finished parts named in a message
CANCEL_GRACE_S = 6.0  # for the cancel calls after it


def run_hosted(job: Job, doors: Doors, run_id: str = "", beside: Callable[[Arriving], None] | None = None) -> Finished:
    """Do the whole job; returns when every segment has a verified file in `job.folder`.

    The journal puts the requests made here under `run_id`, or an id of its own making. `beside` runs on a thread of
    its own and uses the results as they come; its failure is the run's, but what is under way is still fetched.

    Raises OutsideLimits before anything is sent, Incomplete when some segment failed (the others are kept),
    Interrupted on stop, with a truthful word on every request.
    """
    segments = plan_segments(job.frames, job.overlap, job.shots)
    values, notes = translate(job.settings, job.rate)
    for segment in segments:
        complete(values, segment.sent_frames)
    _check_address(job, doors)
    doors.journal.open()
    run = Run(job, doors, doors.client, segments, values)
    run.id = run_id or run.id
    run.client = _bound(doors.client, run)
    works = [_work, *([partial(_use, beside)] if beside else [])]
    threads = [threading.Thread(target=_guarded, args=(work, run), name="runcomfy", daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        _watch(run, threads)
    except BaseException:
        run.stop.set()  # whoever asked for the run does not watch it any more: it must not go on paying
        raise
    return _concluded(run, (*notes, *_padding_notes(segments), *_journal_notes(doors.journal)))


def estimate(job: Job, client: Client | None) -> str:
    """What the job would take, without submitting anything; without a client the price is not asked for."""
    segments = plan_segments(job.frames, job.overlap, job.shots)
    values, notes = translate(job.settings, job.rate)
    price = client.price() if client else None
    text = estimate_text(segments, price, int(values["34_frame_rate"]))
    return " ".join([f"RunComfy would take {text}", *(f"Translated: {note}." for note in notes)])


def _check_address(job: Job, doors: Doors) -> None:
    if job.address is None:
        return
    rules = net.Rules(loopback=doors.downloads.rules.loopback, ports=net.ALL_PORTS)
    try:
        net.check_fetchable(job.address, rules)
    except net.Refused as error:
        raise OutsideLimits(f"RunComfy could not fetch the clip's link. {error} Nothing was sent.") from None


def _bound(client: Client, run: Run) -> Client:
    return replace(client, pause=run.pause, cancelled=run.stop.is_set)


def _guarded(work: Callable[[Run], None], run: Run) -> None:
    try:
        work(run)
    except Exception as error:
        with run.lock:
            run.failures.setdefault(len(run.segments), error)


def _work(run: Run) -> None:
    try:
        work_through(run)
    finally:
        run.over.set()


def _use(beside: Callable[[Arriving], None], run: Run) -> None:
    try:
        beside(Arriving(run))
    except Interrupted:
        pass  # because the run was, or a segment failed: they have their own words for it
    except Undecodable as error:
        give_back(run, run.segments[error.segment], error)


def _watch(run: Run, threads: Sequence[threading.Thread]) -> None:
    """Report until the work ends; on a stop give it its bounded time to say goodbye."""
    while working := [thread for thread in threads if thread.is_alive()]:
        working[0].join(ASK_EVERY_S)
        _drain(run)
        if not run.stop.is_set() and run.doors.is_interrupted():
            run.stop.set()
            run.doors.report(Update(0, len(run.segments), "Stopping", len(run.files), "stopping"))
            grace = CANCEL_GRACE_S + (run.doors.post_grace_s - CANCEL_GRACE_S if run.posting.is_set() else 0.0)
            end = time.monotonic() + grace
            for thread in working:
                thread.join(max(0.0, end - time.monotonic()))
            break
    _drain(run)


def _drain(run: Run) -> None:
    while True:
        try:
            call = run.calls.get_nowait()
        except queue.Empty:
            return
        call()


def _concluded(run: Run, notes: tuple[str, ...]) -> Finished:
    with run.lock:
        files, failures = dict(run.files), dict(run.failures)
        posts = len(run.costs)
    unforeseen = next((error for error in failures.values() if not isinstance(error, CloudError)), None)
    if unforeseen:
        raise unforeseen
    if run.stop.is_set():
        raise Interrupted(_farewell(run, files))
    if failures or len(files) < len(run.segments):
        raise Incomplete(_unfinished(run, files, failures), _causes(failures))
    parts = tuple((segment, files[segment.index]) for segment in run.segments)
    return Finished(parts, (*notes, *run.notes), posts, run.cost_usd)


def _causes(failures: Mapping[int, Exception]) -> tuple[CloudError, ...]:
    return tuple(error for _, error in sorted(failures.items()) if isinstance(error, CloudError))


def _unfinished(run: Run, files: Mapping[int, Path], failures: Mapping[int, Exception]) -> str:
    count = len(run.segments)
    reasons = [
        f"Segment {index + 1} of {count}: {error}" if index < count else str(error)
        for index, error in sorted(failures.items())
    ]
    return " ".join([*reasons, *_kept_texts(run, files)])


def _kept_texts(run: Run, files: Mapping[int, Path]) -> list[str]:
    """What there is already, and where it can be watched."""
    if not files:
        return []
    parts = [f"{path.name} (frames {run.segments[index].start}–{run.segments[index].stop - 1})"
             for index, path in sorted(files.items())]  # fmt: skip
    named = ", ".join(parts[:MOST_NAMED]) + (" and so on" if len(parts) > MOST_NAMED else "")
    return [
        f"{len(files)} of {len(run.segments)} segments are kept; Run continues with the rest. "
        f"As RunComfy made them, they can be played already: in {run.job.folder}, {named}."
    ]


def _farewell(run: Run, files: Mapping[int, Path]) -> str:
    frames = sum(segment.frames - segment.fade for segment in run.segments if segment.index in files)
    lines = [f"Stopped. {frames} of {run.job.frames} frames are kept; Run continues."]
    for index, request_id in sorted(run.followed.items()):
        if index not in files:
            late = f"Request {request_id}: cancelling was not confirmed; it may run on and be charged. Run picks it up."
            lines.append(run.farewells.get(index, late))
    if run.posting.is_set():
        lines.append("One request was just being sent and has not been answered: it may be running and charged.")
    return " ".join(lines)


def _padding_notes(segments: Sequence[Segment]) -> list[str]:
    return [
        f"segment {segment.index + 1}: {segment.frames} frames filled up to {segment.sent_frames} for RunComfy, "
        "cut back afterwards"
        for segment in segments
        if segment.sent_frames > segment.frames
    ]


def _journal_notes(journal: Journal) -> list[str]:
    if journal.set_aside is None:
        return []
    return [f"the journal was damaged and is kept as {journal.set_aside.name}; earlier requests are not known any more"]
