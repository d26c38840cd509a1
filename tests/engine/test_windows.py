"""Windows of a shot: they cover it, blend where they meet, and do not depend on how latents arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seedvr2_anywhere.engine.windows import (
    PICTURES,
    Stitcher,
    Window,
    WindowFeed,
    Windowing,
    fading_weights,
    mix,
    plan_windows,
    windowing_for,
    windowing_of,
)
from seedvr2_anywhere.models.errors import BadInput

# latents in the shot, full window, shared → spans
PLANS = [
    (21, 6, 2, [(0, 6), (4, 10), (8, 14), (12, 18), (16, 21)]),
    (1, 6, 2, [(0, 1)]),
    (2, 6, 2, [(0, 2)]),
    (6, 6, 2, [(0, 6)]),
    (7, 6, 2, [(0, 5), (3, 7)]),
    (11, 6, 2, [(0, 5), (3, 8), (6, 11)]),
    (12, 4, 0, [(0, 4), (4, 8), (8, 12)]),
    (9, 4, 0, [(0, 3), (3, 6), (6, 9)]),
    (4, 1, 0, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    (5, 2, 1, [(0, 2), (1, 3), (2, 4), (3, 5)]),
    (0, 6, 2, []),
]


@pytest.mark.parametrize(("latents", "length", "shared", "spans"), PLANS)
def test_plans_are_the_expected_ones(latents, length, shared, spans):
    windows = plan_windows(latents, Windowing(length, shared))
    assert [(window.start, window.stop) for window in windows] == spans


windowings = st.integers(1, 40).map(windowing_of)


@given(st.integers(1, 400), windowings)
@settings(max_examples=200, deadline=None)
def test_windows_cover_a_shot_and_neighbours_share_what_was_asked(latents, windowing):
    windows = plan_windows(latents, windowing)
    assert windows[0].start == 0
    assert windows[-1].stop == latents
    assert windows[0].shared_before == windows[-1].shared_after == 0
    for before, after in pairwise(windows):
        assert before.stop - after.start == before.shared_after == after.shared_before == windowing.shared
    for before, _, after in zip(windows, windows[1:], windows[2:], strict=False):
        assert before.stop <= after.start, "a latent lies in three windows"
    lengths = [window.length for window in windows]
    assert max(lengths) <= windowing.length
    assert max(lengths[-3:]) - min(lengths[-3:]) <= 1 or lengths[-3] == windowing.length
    if len(windows) > 1 and windowing.length >= 6:
        assert min(lengths) >= 5 or latents < 9, "a short window loses attention across latents"


@given(st.integers(1, 200), windowings, st.lists(st.integers(1, 17), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_the_plan_does_not_depend_on_how_latents_arrive(latents, windowing, pushes):
    feed, windows, arrived, turn = WindowFeed(windowing), [], 0, 0
    while arrived < latents:
        count = min(pushes[turn % len(pushes)], latents - arrived)
        arrived, turn = arrived + count, turn + 1
        certain = feed.arrive(count)
        assert all(window.start + windowing.look_ahead <= arrived for window in certain)
        windows += certain
    assert tuple(windows + feed.end()) == plan_windows(latents, windowing)


BATCHES = [
    (1, Windowing(PICTURES, 0), 1, False),
    (2, Windowing(2, 1), 5, True),
    (5, Windowing(2, 1), 5, False),
    (7, Windowing(3, 1), 9, True),
    (13, Windowing(4, 1), 13, False),
    (17, Windowing(5, 2), 17, False),
    (21, Windowing(6, 2), 21, False),
    (1024, Windowing(257, 2), 1025, True),
]


@pytest.mark.parametrize(("batch_size", "windowing", "frames", "remarked"), BATCHES)
def test_batch_size_becomes_a_window_and_rounding_is_said(batch_size, windowing, frames, remarked):
    found, remark = windowing_for(batch_size)
    assert (found, found.frames) == (windowing, frames)
    assert (remark is not None) == remarked
    assert remark is None or (str(batch_size) in remark and str(frames) in remark)


@pytest.mark.parametrize("shared", [1, 2, 3, 8])
def test_weights_fade_between_one_and_zero_and_add_up(shared):
    weights = fading_weights(shared)
    assert all(0 < weight < 1 for weight in weights)
    assert weights == sorted(weights, reverse=True)
    assert [a + b for a, b in zip(weights, reversed(weights), strict=True)] == pytest.approx([1.0] * shared)
    same = torch.randn(1, 16, shared, 4, 6)
    torch.testing.assert_close(mix(same, same), same, rtol=0, atol=0)


def test_two_shared_latents_are_mixed_three_to_one():
    assert fading_weights(2) == pytest.approx([0.75, 0.25])


def stitch(latents: int, windowing: Windowing, answer) -> torch.Tensor:
    stitcher = Stitcher()
    return torch.cat([stitcher.push(window, answer(window)) for window in plan_windows(latents, windowing)], dim=2)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 12])
@pytest.mark.parametrize("latents", [1, 2, 7, 20, 43])
def test_answers_that_agree_are_stitched_without_a_trace(latents, length):
    whole = torch.randn(1, 16, latents, 2, 4)
    stitched = stitch(latents, windowing_of(length), lambda window: whole[:, :, window.start : window.stop])
    assert stitched.equal(whole)


@given(st.integers(1, 60), windowings)
@settings(max_examples=60, deadline=None)
def test_each_latent_is_a_convex_mixture_of_the_windows_that_hold_it(latents, windowing):
    windows = plan_windows(latents, windowing)
    numbers = {window: float(number) for number, window in enumerate(windows)}
    stitched = stitch(latents, windowing, lambda w: torch.full((1, 1, w.length, 1, 1), numbers[w])).flatten().tolist()
    for latent, value in enumerate(stitched):
        holders = [numbers[window] for window in windows if window.start <= latent < window.stop]
        assert min(holders) <= value <= max(holders)
        assert len(holders) == 1 or min(holders) < value < max(holders)
    assert stitched == sorted(stitched), "the later window takes over step by step"


def test_a_mixture_is_exact():
    first, second = torch.randn(1, 16, 6, 2, 2), torch.randn(1, 16, 5, 2, 2)
    stitcher = Stitcher()
    head = stitcher.push(Window(0, 6, 0, 2), first)
    tail = stitcher.push(Window(4, 9, 2, 0), second)
    assert head.equal(first[:, :, :4])
    torch.testing.assert_close(tail[:, :, 0], 0.75 * first[:, :, 4] + 0.25 * second[:, :, 0])
    torch.testing.assert_close(tail[:, :, 1], 0.25 * first[:, :, 5] + 0.75 * second[:, :, 1])
    assert tail[:, :, 2:].equal(second[:, :, 2:])


@pytest.mark.parametrize("windowing", [Windowing(0, 0), Windowing(3, 2), Windowing(4, -1), Windowing(2, 2)])
def test_windows_that_would_lie_three_deep_are_refused(windowing):
    with pytest.raises(BadInput, match="expected a length"):
        plan_windows(9, windowing)


@pytest.mark.parametrize("batch_size", [0, -4])
def test_a_batch_of_nothing_is_refused(batch_size):
    with pytest.raises(BadInput, match="batch_size"):
        windowing_for(batch_size)


def test_an_answer_of_the_wrong_length_is_refused():
    with pytest.raises(BadInput, match="3 latents for a window of 4"):
        Stitcher().push(Window(0, 4, 0, 0), torch.zeros(1, 16, 3, 2, 2))
