"""Every frame is covered, by as few requests as possible, cut where it shows least."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.plan import plan_segments


def fewest_by_search(frames: int, overlap: int, cuts: list[int]) -> int:
    """The smallest number of segments, by trying every way: the reference for small clips."""
    reached, count = {0}, 1
    while not any(start + 160 >= frames for start in reached):
        following = set()
        for start in reached:
            following |= {end - overlap for end in range(start + overlap + 1, start + 161)}
            following |= {cut for cut in cuts if start < cut <= start + 160}
        reached, count = following, count + 1
    return count


CLIPS = some.integers(1, 2000).flatmap(
    lambda frames: some.tuples(
        some.just(frames), some.integers(0, 32), some.lists(some.integers(1, max(frames - 1, 1)), max_size=30)
    )
)


@settings(max_examples=300, deadline=None)
@given(CLIPS)
def test_segments_cover_the_clip_once_and_share_exactly_their_fades(clip):
    frames, overlap, cuts = clip
    segments = plan_segments(frames, overlap, cuts)
    assert (segments[0].start, segments[-1].stop) == (0, frames)
    assert [segment.index for segment in segments] == list(range(len(segments)))
    for before, after in pairwise(segments):
        assert before.stop - after.start == after.fade
        assert after.fade == overlap or after.start in cuts
        assert before.frames >= before.fade + after.fade, "a frame would be blended out of three"
    assert all(segment.frames <= 160 for segment in segments)
    assert all(32 <= segment.sent_frames <= 160 for segment in segments)
    assert frames < 32 or all(segment.frames >= 32 for segment in segments)


@settings(max_examples=40, deadline=None)
@given(some.integers(1, 700), some.integers(0, 32), some.lists(some.integers(1, 699), max_size=12))
def test_there_is_no_way_with_fewer_requests(frames, overlap, cuts):
    cuts = [cut for cut in cuts if cut < frames]
    assert len(plan_segments(frames, overlap, cuts)) == fewest_by_search(frames, overlap, cuts)


@pytest.mark.parametrize(
    ("frames", "overlap", "cuts", "starts"),
    [
        (160, 16, [], [0]),
        (161, 16, [], [0, 72]),
        (480, 16, [], [0, 116, 232, 348]),
        (300, 0, [140], [0, 140]),
        (300, 16, [140, 141, 10, 290], [0, 141]),
        (300, 16, [10], [0, 142]),
        (320, 16, [160], [0, 160]),
        (1, 0, [], [0]),
    ],
)
def test_cuts_are_even_and_at_a_shot_only_where_that_costs_no_request(frames, overlap, cuts, starts):
    assert [segment.start for segment in plan_segments(frames, overlap, cuts)] == starts


@pytest.mark.parametrize(("frames", "overlap"), [(480, 16), (300, 20), (1440, 16), (10_000, 32)])
def test_the_number_of_requests_is_the_one_of_the_formula(frames, overlap):
    assert len(plan_segments(frames, overlap)) == math.ceil((frames - overlap) / (160 - overlap))


@pytest.mark.parametrize(("frames", "overlap"), [(0, 16), (-5, 0), (100, -1), (100, 33)])
def test_a_clip_without_frames_or_a_wild_overlap_is_refused(frames, overlap):
    with pytest.raises(errors.OutsideLimits):
        plan_segments(frames, overlap)
