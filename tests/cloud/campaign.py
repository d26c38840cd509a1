"""Random runs against a service that fails at every call with some probability, killed and stopped at random points.

`disturbed(seed, folder)` presses Run until the clip is done and returns what happened; `verdict` says what is wrong
with that, nothing being the only good answer. A kill in process leaves files, journal and locks as real death would.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib.util
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FAULT_PROBABILITY = 0.10
KILL_PROBABILITY = 0.5  # of a press of Run
STOP_PROBABILITY = 0.15
MOST_PRESSES = 60


def load(name: str, file: Path):
    """A module by its file, once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


if "seedvr2_anywhere" not in sys.modules:
    load("seedvr2_pack_loader", HERE.parent / "conftest.py")
servers = load("seedvr2_test_runcomfy", HERE / "server.py")
desks = load("seedvr2_test_desks", HERE / "conftest.py")

from seedvr2_anywhere.cloud import errors  # noqa: E402
from seedvr2_anywhere.cloud.journal import Journal  # noqa: E402
from seedvr2_anywhere.cloud.plan import plan_segments  # noqa: E402
from seedvr2_anywhere.cloud.run import run_hosted  # noqa: E402
from seedvr2_anywhere.net import GuardedSession  # noqa: E402


class Killed(BaseException):
    """The process is dead: no thread of it gets any further."""


@dataclasses.dataclass
class Story:
    """What happened until the clip was done."""

    seed: int
    presses: int = 0
    kills: int = 0
    faults: Counter = dataclasses.field(default_factory=Counter)
    consents: Counter = dataclasses.field(default_factory=Counter)  # by segment
    accepted: Counter = dataclasses.field(default_factory=Counter)
    ended: Counter = dataclasses.field(default_factory=Counter)  # failed or cancelled at the service
    is_identical: bool = False
    states: list[str] = dataclasses.field(default_factory=list)


class Fate:
    """Kills the process at the n-th thing it does."""

    def __init__(self, steps: int | None):
        self.steps = steps
        self.lock = threading.Lock()
        self.is_dead = False

    def step(self) -> None:
        with self.lock:
            if self.steps is not None:
                self.steps -= 1
                self.is_dead = self.is_dead or self.steps <= 0
            if self.is_dead:
                raise Killed


class MortalJournal(Journal):
    fate: Fate

    def _connection(self):
        self.fate.step()
        return super()._connection()

    def die(self) -> None:
        """Leave the lock as a dead process leaves it: let go, its file in place."""
        if self._life:
            self._life.close()
            self._life = None


class MortalSession(GuardedSession):
    fate: Fate

    def send(self, *arguments, **settings):
        self.fate.step()
        answer = super().send(*arguments, **settings)
        try:
            self.fate.step()
        except Killed:
            answer.close()
            raise
        return answer


def disturbed(seed: int, folder: Path, frames: int = 300) -> Story:
    """Press Run, through faults, kills and stops, until the clip of `frames` frames is done."""
    rng = random.Random(seed)
    story = Story(seed)
    with servers.running() as service, _quiet_deaths():
        _let_it_fail(service, rng, story)
        desk = desks.Desk(service, servers, folder)
        desk.clip_of(frames)
        desk.patience = dataclasses.replace(desk.patience, read_s=0.4, block_s=0.4)
        service.timeline = ["in_queue:1", "in_progress", "completed"]
        resubmit = ""
        while story.presses < MOST_PRESSES:
            story.presses += 1
            finished = _press(desk, rng, story, resubmit)
            if finished:
                desk.finished = finished
                story.is_identical = bool(np.array_equal(desk.stitch(), desk.expected()))
                break
            resubmit = _consent(desk, rng)
        _count(service, desk, story)
        story.states = desk.states()
    return story


def killed(seed: int, folder: Path, frames: int = 480, presses: int = 5) -> Story:
    """The same with processes of their own and SIGKILL at a random moment, without other faults."""
    rng = random.Random(seed)
    story = Story(seed)
    with servers.running() as service:
        service.timeline = ["in_progress", "in_progress", "completed"]
        desk = desks.Desk(service, servers, folder)
        desk.clip_of(frames)
        command = [
            sys.executable,
            str(HERE / "pressing.py"),
            str(folder),
            service.base,
            desk.job.source_key,
            str(frames),
        ]
        for story.presses in range(1, presses + 1):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait_for_a_sign(process, service)
            time.sleep(rng.uniform(0.0, 0.25))
            story.kills += process.poll() is None
            process.kill()
            process.wait()
        resubmit = ""
        while not story.is_identical and story.presses < MOST_PRESSES:
            story.presses += 1
            with contextlib.suppress(errors.CloudError):
                story.is_identical = bool(np.array_equal(desk.run(resubmit=resubmit), desk.expected()))
            resubmit = _consent(desk, rng)
        _count(service, desk, story)
        story.states = desk.states()
    return story


def _wait_for_a_sign(process, service) -> None:
    """Until the process has made a call, or is through."""
    calls = len(service.calls)
    while process.poll() is None and len(service.calls) == calls:
        time.sleep(0.005)


def verdict(story: Story) -> str | None:
    """What is wrong with a story: a lost result, a double payment, another picture; None when nothing is."""
    if not story.is_identical:
        return f"seed {story.seed}: the result is not there or not the undisturbed one ({story.states})"
    for segment, accepted in story.accepted.items():
        allowed = 1 + story.consents[segment] + story.ended[segment]
        if accepted > allowed:
            return f"seed {story.seed}: segment {segment} was paid {accepted} times, {allowed} allowed"
    return None


def _press(desk, rng: random.Random, story: Story, resubmit: str):
    """One press of Run; None when it ended early in any way."""
    fate = Fate(rng.randint(1, 50) if rng.random() < KILL_PROBABILITY else None)
    journal = MortalJournal(desk.folder / "journal.db")
    journal.fate = fate
    doors = desk.doors(journal)
    for session in (doors.client.session, doors.downloads):
        session.__class__ = MortalSession
        session.fate = fate
    deadline = time.monotonic() + rng.uniform(0.0, 0.4) if rng.random() < STOP_PROBABILITY else None
    stop = lambda: deadline is not None and time.monotonic() > deadline  # noqa: E731
    cut, wait = _mortal(desk.cut, fate), _mortal(desk.wait, fate)
    doors = dataclasses.replace(doors, is_interrupted=stop, cut=cut, wait=wait, post_grace_s=1.0)
    job = dataclasses.replace(desk.job, resubmit=resubmit, in_flight=rng.randint(1, 3))
    try:
        finished = run_hosted(job, doors)
    except (errors.CloudError, Killed):
        finished = None
    _bury(fate, journal)
    story.kills += fate.is_dead
    return None if fate.is_dead else finished


def _bury(fate: Fate, journal: MortalJournal) -> None:
    fate.is_dead = fate.is_dead or (fate.steps is not None and fate.steps <= 0)
    if fate.is_dead:
        end = time.monotonic() + 3
        names = ("runcomfy", "segment")
        while time.monotonic() < end and any(thread.name.startswith(names) for thread in threading.enumerate()):
            time.sleep(0.005)
        journal.die()
    else:
        journal.close()


def _consent(desk, rng: random.Random) -> str:
    """What the user types into resubmit: the id of a request that the journal holds for unknown or lost."""
    if not desk.has_journal():
        return ""
    blocked = [record for record in desk.records() if record.state in ("unknown", "lost", "intended")]
    if not blocked or rng.random() < 0.3:
        return ""
    return blocked[0].short_id


def _let_it_fail(service, rng: random.Random, story: Story) -> None:
    lock = threading.Lock()

    def failing(call) -> bool:
        request = service.requests.get(call.path.split("/")[3]) if call.path.startswith("/v1/requests/") else None
        if request and request.state() == "completed":
            request.final = "failed"
        return False

    kinds = {
        "submit": [servers.accepted_then_dropped, servers.accepted_but(500, {}), servers.answer(500, {}),
                   servers.answer(429, {}, Retry_After="1"), servers.dropped, servers.answer(402, {}),
                   servers.accepted_but(200, {"request_id": "../"}), servers.late(0.2)],
        "status": [servers.answer(500, {}), servers.dropped, servers.short_body, servers.answer(200, b"<html>"),
                   servers.answer(404, {"error_code": 404001}), servers.answer(200, {"status": "huh"}),
                   servers.late(0.6)],
        "result": [servers.answer(503, b""), servers.dropped, servers.answer(200, {"status": "succeeded"}),
                   servers.answer(429, {}, Retry_After="1"), failing],
        "download": [servers.answer(404, b""), servers.dropped, servers.answer(200, b"<html>"),
                     servers.answer(500, b"")],
        "cancel": [servers.answer(500, {}), servers.dropped],
        "price": [servers.answer(500, {}), servers.dropped],
    }  # fmt: skip

    def next_fault(endpoint: str):
        with lock:
            if rng.random() >= FAULT_PROBABILITY:
                return None
            place = rng.randrange(len(kinds[endpoint]))
            story.faults[f"{endpoint} {place}"] += 1
            return kinds[endpoint][place]

    service.next_fault = next_fault


def _count(service, desk, story: Story) -> None:
    segments = plan_segments(desk.job.frames, desk.job.overlap)
    labels = {desk.cut(one): f"{one.index + 1} of {len(segments)}" for one in segments}
    for request in service.requests.values():
        label = labels[base64.b64decode(request.values["33_video"].split(",", 1)[1])]
        story.accepted[label] += 1
        story.ended[label] += request.final == "failed" or request.timeline == ["cancelled"]
    story.consents.update(record.label for record in desk.records() if record.state == "replaced")


def _mortal(action, fate: Fate):
    def mortal(*arguments):
        fate.step()
        return action(*arguments)

    return mortal


@contextlib.contextmanager
def _quiet_deaths() -> Iterator[None]:
    loud = threading.excepthook

    def hook(arguments) -> None:
        if not issubclass(arguments.exc_type, Killed):
            loud(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = loud


def main(count: int, first: int = 0, story_of: str = "disturbed") -> int:
    """Run `count` stories from seed `first` on; print what went wrong and a summary; 1 when anything did."""
    import tempfile

    total: Counter = Counter()
    wrong = []
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            story = {"disturbed": disturbed, "killed": killed}[story_of](seed, Path(folder))
        complaint = verdict(story)
        wrong += [complaint] if complaint else []
        total.update(runs=1, presses=story.presses, kills=story.kills, faults=sum(story.faults.values()))
        total.update(consents=sum(story.consents.values()), paid=sum(story.accepted.values()))
    print(dict(total), *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
