"""The service, a small clip, and a run that is put together in one line."""

from __future__ import annotations

import dataclasses
import importlib.util
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud.client import Client
from seedvr2_anywhere.cloud.errors import Incomplete, Interrupted, NotSubmitted
from seedvr2_anywhere.cloud.job import Doors, Job
from seedvr2_anywhere.cloud.journal import Journal
from seedvr2_anywhere.cloud.money import Budget
from seedvr2_anywhere.cloud.run import run_hosted
from seedvr2_anywhere.cloud.schema import Settings
from seedvr2_anywhere.cloud.stitch import stitched
from seedvr2_anywhere.cloud.token import Token
from seedvr2_anywhere.tests.cloud import scenarios

_FILE = Path(__file__).resolve().parent / "server.py"
SPEED = 200  # waits are this much shorter than real ones


def _module():
    name = "seedvr2_test_runcomfy"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _FILE)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def servers():
    return _module()


@pytest.fixture
def service(servers):
    with servers.running() as running:
        yield running


class Count(int):
    """How many paid POSTs arrived; one that is found equal to what a test expects is noted in `asserted`."""

    asserted: list[int]

    def __eq__(self, other: object) -> bool:
        is_equal = int.__eq__(self, other)
        if is_equal is True:
            self.asserted.append(int(self))
        return is_equal

    __hash__ = int.__hash__


class Desk:
    """A user's machine in front of the service: clip, folder, journal, token; `run()` is one press of Run."""

    def __init__(self, service, servers, folder: Path):
        self.service, self.servers, self.folder = service, servers, folder
        self.frames = np.random.default_rng(3).integers(0, 200, (100, 4, 6, 3), dtype=np.uint8)
        self.token = Token(servers.TOKEN, "the test")
        self.updates: list = []
        self.asserted: list[int] = []
        self.waits: list[float] = []
        self.cuts = 0
        self.stop_when = lambda: False
        self.post_grace_s = 3.0
        self.storage = None
        self.beside = None
        self.connect = socket.create_connection
        self.free_space = lambda folder: 1 << 50
        self.now = time.time
        self.clock = lambda: time.monotonic() * SPEED
        self.patience = net.Timeouts(connect_s=2, read_s=3.0, block_s=3.0)  # a busy machine is slow
        self.job = Job(
            source_key="clip",
            frames=len(self.frames),
            rate=24.0,
            settings=Settings(new_resolution=1080, seed=1245),
            folder=folder / "job",
            budget=Budget(spend_limit_usd=100.0, max_requests=100),
        )

    def clip_of(self, count: int) -> None:
        self.frames = np.random.default_rng(count).integers(0, 200, (count, 4, 6, 3), dtype=np.uint8)
        self.job = dataclasses.replace(self.job, frames=count, source_key=f"clip of {count}")

    def run(self, **changes):
        """Press Run; returns the stitched frames, or raises what the run raises."""
        journal = Journal(self.folder / "journal.db")
        try:
            self.finished = run_hosted(dataclasses.replace(self.job, **changes), self.doors(journal), "", self.beside)
        finally:
            journal.close()
        return self.stitch()

    def stitch(self) -> np.ndarray:
        files = dict(self.finished.parts)

        def frames(segment):
            yield self.servers.toy_frames(files[segment].read_bytes())

        return np.concatenate(list(stitched(tuple(files), frames)))

    def doors(self, journal: Journal) -> Doors:
        rules = net.Rules.for_base(self.service.base)
        client = Client(
            self.service.base,
            self.token,
            net.guarded_session(rules, connect=self.connect),
            pause=time.sleep,
            submit_patience=self.patience,
            patience=self.patience,
            cancel_patience=self.patience,
        )
        world = net.World(lambda s: time.sleep(s / SPEED), lambda f: self.free_space(f), lambda: 0.5, self.patience)
        return Doors(
            client=client,
            journal=journal,
            downloads=net.guarded_session(net.Rules(loopback=rules.loopback)),
            cut=self.cut,
            verify=self.verify,
            storage=self.storage,
            is_interrupted=lambda: self.stop_when(),
            report=self.updates.append,
            clock=lambda: self.clock(),
            now=lambda: self.now(),
            wait=lambda stop, seconds: self.wait(stop, seconds),
            post_grace_s=self.post_grace_s,
            world=world,
        )

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return stop.wait(seconds / SPEED)

    def fake_time(self) -> list[float]:
        """From now on waits take no time and move the clock, the returned one-element list."""
        clock = [1000.0]

        def wait(stop, seconds):
            self.waits.append(seconds)
            clock[0] += seconds
            return stop.is_set()

        self.clock, self.wait = (lambda: clock[0]), wait
        return clock

    def fails(self, kind, *parts: str, **changes) -> str:
        """Press Run, expect its first cause to be of a kind and its message to hold the parts; returns the message."""
        with pytest.raises((Incomplete, NotSubmitted, Interrupted)) as caught:
            self.run(**changes)
        error = caught.value
        cause = error.causes[0] if isinstance(error, Incomplete) else error
        assert type(cause) is kind, repr(error)
        for part in parts:
            assert part in str(error), str(error)
        assert self.token.secret not in str(error)
        return str(error)

    def stop_at(self, text: str) -> None:
        """Press Stop as soon as the run tells something with this text in it."""
        self.stop_when = lambda: any(text in update.text for update in self.updates)

    @property
    def paid(self) -> int:
        """Submissions the service accepted."""
        return len(self.service.requests)

    def short_id(self) -> str:
        return self.records()[-1].short_id

    def cut(self, segment) -> bytes:
        self.cuts += 1
        frames = self.frames[segment.start : segment.stop]
        padding = np.repeat(frames[-1:], segment.sent_frames - len(frames), axis=0)
        return self.servers.toy_clip(np.concatenate([frames, padding]))

    def verify(self, path: Path, segment) -> str | None:
        try:
            count = len(self.servers.toy_frames(path.read_bytes()))
        except ValueError as error:
            return str(error)
        return None if count >= segment.sent_frames else f"{count} frames came back, {segment.sent_frames} were sent"

    def records(self):
        return Journal(self.folder / "journal.db").records()

    def has_journal(self) -> bool:
        """False before the first run came as far as to make one."""
        try:
            return self.records() is not None
        except NotSubmitted:
            return False

    def states(self) -> list[str]:
        return [record.state for record in self.records()]

    def told(self) -> str:
        return "\n".join(update.text for update in self.updates)

    @property
    def posts(self) -> Count:
        """Paid POSTs that arrived, accepted or not."""
        count = Count(len(self.service.posts))
        count.asserted = self.asserted
        return count

    def expected(self) -> np.ndarray:
        """What an undisturbed run gives, computed without the service."""
        from seedvr2_anywhere.cloud.plan import plan_segments

        parts = {}
        for segment in plan_segments(self.job.frames, self.job.overlap, self.job.shots):
            upscaled = self.servers.toy_upscale(self.cut(segment), {"33_frame_load_cap": segment.sent_frames})
            parts[segment] = self.servers.toy_frames(upscaled)
        return np.concatenate(list(stitched(tuple(parts), lambda segment: iter([parts[segment]]))))


@pytest.fixture
def desk(service, servers, tmp_path, request):
    """A desk whose paid POSTs are counted; the test of a scenario must have asserted how many there were in the end."""
    made = Desk(service, servers, tmp_path)
    yield made
    count = len(service.posts)
    request.node.user_properties.append((scenarios.POSTS, count))
    if scenarios.numbers_in(request.node.name):
        assert made.asserted[-1:] == [count], f"{count} paid POSTs, and the test asserted {made.asserted}"
