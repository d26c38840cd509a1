"""Joined segments show no seam: every frame once, a difference between two results spread over the shared ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from seedvr2_anywhere.cloud import errors
from seedvr2_anywhere.cloud.plan import plan_segments
from seedvr2_anywhere.cloud.stitch import stitched


def joined(segments, results, batch=7):
    def frames(segment):
        result = results[segment.index]
        yield from (result[start : start + batch] for start in range(0, len(result), batch))

    return np.concatenate(list(stitched(segments, frames)))


@pytest.mark.parametrize("overlap", [0, 1, 2, 16, 32])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equal_results_join_to_exactly_the_clip(overlap, dtype):
    clip = (np.random.default_rng(1).random((700, 2, 3, 3)) * 250).astype(dtype)
    segments = plan_segments(700, overlap, [150, 333])
    found = joined(segments, [clip[segment.start : segment.stop] for segment in segments])
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), clip.astype(float), rtol=1e-6)


@pytest.mark.parametrize("overlap", [1, 2, 16, 32])
def test_a_constant_difference_is_spread_evenly_over_the_shared_frames(overlap):
    segments = plan_segments(300, overlap)
    results = [np.full((segment.frames, 1, 1, 1), 10.0 * segment.index, np.float32) for segment in segments]
    levels = joined(segments, results).ravel()
    assert len(levels) == 300
    steps = np.diff(levels)
    assert steps.max() == pytest.approx(10.0 / (overlap + 1), rel=1e-5)
    assert steps.min() >= -1e-5


def seam_ratio(overlap: int, offset: float) -> float:
    """Largest change of mean brightness at seams, against the largest one inside segments, of a flickering clip."""
    rng = np.random.default_rng(5)
    clip = 0.5 + rng.normal(0, 0.002, (480, 1, 1, 1)) + np.zeros((480, 8, 8, 3))
    segments = plan_segments(480, overlap)
    results = [
        clip[one.start : one.stop] + offset * (-1) ** one.index + rng.normal(0, 0.01, (one.frames, 8, 8, 3))
        for one in segments
    ]
    changes = np.abs(np.diff(joined(segments, results).mean((1, 2, 3))))
    seam = np.zeros(479, bool)
    for one in segments[1:]:
        seam[max(one.start - 1, 0) : one.start + max(one.fade, 1)] = True
    return changes[seam].max() / changes[~seam].max()


def test_seams_flicker_no_more_than_the_clip_itself_and_would_without_the_crossfade():
    assert seam_ratio(16, 0.004) <= 1.1
    assert seam_ratio(0, 0.004) > 1.1


def test_a_result_that_ends_early_is_refused_with_its_segment():
    segments = plan_segments(300, 16)
    results = [np.zeros((segment.frames, 1, 1, 1), np.uint8) for segment in segments]
    results[1] = results[1][:-1]
    with pytest.raises(errors.Lost, match="segment 2 ends after"):
        joined(segments, results)


def test_frames_a_short_clip_was_filled_up_with_are_cut_off():
    segments = plan_segments(5, 16)
    assert len(joined(segments, [np.zeros((32, 1, 1, 1), np.uint8)])) == 5


def test_no_more_than_the_shared_frames_are_held_in_memory():
    segments = plan_segments(480, 16)
    taken = [0]

    def frames(segment):
        for _ in range(segment.frames):
            taken[0] += 1
            yield np.zeros((1, 1, 1, 1), np.uint8)

    ahead = [taken[0] - given for given, _ in enumerate(stitched(segments, frames))]
    shared = sum(segment.fade for segment in segments)
    assert max(ahead) <= shared + 16 + 1
    assert dataclasses.is_dataclass(segments[0])
