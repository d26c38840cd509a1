"""How far a run is, as the program around the engine hears it."""

from __future__ import annotations

import torch
from seedvr2_anywhere.engine.host import LEAST_FRAMES, Host, Meter


def test_time_left_is_told_once_the_first_window_does_not_distort_it():
    told, now = [], iter(float(second) for second in range(100, 400, 10))
    meter = Meter(Host(progress=told.append, clock=lambda: next(now)), expected=100, reused=20)
    meter.begin_shot(1)
    for _ in range(10):
        meter.advance(torch.zeros(2, 4, 4, 3))
    assert [state.frames for state in told] == list(range(22, 42, 2))
    early = [state for state in told if state.frames - 20 < LEAST_FRAMES]
    assert early and all(state.seconds_left is None for state in early)
    last = told[-1]
    assert last.frames_per_second == 20 / 100, "frames of this run in the seconds since it began"
    assert last.seconds_left == (100 - 40) / last.frames_per_second
