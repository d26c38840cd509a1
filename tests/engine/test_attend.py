"""A stop is answered while something else works that cannot look for it: planning, loading, reading, finishing."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
from safetensors.torch import save_file
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.engine.ahead import Worker
from seedvr2_anywhere.engine.attend import attended
from seedvr2_anywhere.engine.network import load_network

PATIENCE_S = 60  # a hang, not a slow machine


class Stop(BaseException):
    """Like ComfyUI's interrupt, no Exception."""


class Look:
    """A check that raises at one of its calls, from 1."""

    def __init__(self, last: int) -> None:
        self.last, self.calls = last, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls >= self.last:
            raise Stop


def test_the_work_answers_or_raises_as_if_it_were_done_here():
    assert attended(lambda: 42, lambda: None) == 42
    with pytest.raises(TimeoutError, match="the work's own"):
        attended(_fail, lambda: None)


def _fail():
    raise TimeoutError("the work's own")


def test_a_stop_does_not_wait_for_the_work():
    release = threading.Event()
    try:
        with pytest.raises(Stop):
            attended(lambda: release.wait(PATIENCE_S), Look(3))
    finally:
        release.set()


def test_loading_looks_between_tensors_and_stops_there(tmp_path):
    weights = make_weights()
    save_file(weights, tmp_path / "toy.safetensors")
    look = Look(1 << 30)
    load_network(tmp_path / "toy.safetensors", check=look)
    assert look.calls >= len(weights) - 2, "the two texts are small"
    for at in (1, look.calls // 2, look.calls):
        stopping = Look(at)
        with pytest.raises(Stop):
            load_network(tmp_path / "toy.safetensors", check=stopping)
        assert stopping.calls == at


@pytest.mark.parametrize("place", ["full queue", "end of the items"])
def test_a_stop_does_not_wait_for_what_is_queued(place):
    done, slow = [], threading.Event()

    def consume(items):
        for item in items:
            done.append(item)
            slow.wait(2)

    look = Look(2)
    with pytest.raises(Stop), Worker[int](consume, depth=4, check=look) as worker:
        for item in range(20 if place == "full queue" else 4):
            worker.put(item)
    assert len(done) <= 3, "what was queued has been worked through"


def test_what_is_queued_is_still_done_when_that_takes_a_moment_only():
    done = []

    def consume(items):
        done.extend(items)

    with pytest.raises(Stop), Worker[int](consume, depth=4) as worker:
        for item in range(3):
            worker.put(item)
        raise Stop
    assert done == [0, 1, 2]


def test_a_reader_looks_while_frames_are_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    media.write(path, [(np.zeros((9, 32, 32, 3), np.uint8), np.arange(9))], time_base=1 / media.snap_rate(24))
    release = threading.Event()

    def stuck(*_arguments):
        release.wait(PATIENCE_S)

    monkeypatch.setattr(sys.modules[media.Reader.__module__], "_produce", stuck)
    reader = media.read(path, check=Look(3))
    start = time.monotonic()
    with pytest.raises(Stop):
        next(reader)
    release.set()
    assert time.monotonic() - start < PATIENCE_S / 2
    reader.close()
