"""Where a cropped result lies in the picture it should be, and that a result of another shape is none."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.cloud.geometry import Placement, hosted_size, place


@pytest.mark.parametrize(
    ("source", "short_side", "full"),
    [
        ((854, 480), 1080, (1921, 1080)),
        ((480, 854), 1080, (1080, 1921)),
        ((640, 480), 720, (960, 720)),
        ((480, 640), 720, (720, 960)),
        ((512, 512), 1080, (1080, 1080)),
    ],
)
def test_the_short_side_is_as_asked_and_the_shape_kept(source, short_side, full):
    assert hosted_size(source, short_side) == full


@pytest.mark.parametrize(
    ("source", "short_side", "result", "placement"),
    [
        ((854, 480), 1080, (1920, 1072), Placement(1921, 1080, 0, 4, 1920, 1072)),
        ((480, 854), 1080, (1072, 1920), Placement(1080, 1921, 4, 0, 1072, 1920)),
        ((640, 480), 720, (960, 720), Placement(960, 720, 0, 0, 960, 720)),
        ((854, 480), 1080, (1088, 608), Placement(1088, 608, 0, 0, 1088, 608)),
        ((854, 480), 1080, (1920, 1080), Placement(1921, 1080, 0, 0, 1920, 1080)),
        ((854, 480), 1080, (1072, 1920), None),
        ((854, 480), 1080, (1920, 900), None),
        ((854, 480), 1080, (0, 0), None),
    ],
)
def test_a_result_is_placed_by_the_size_it_came_in(source, short_side, result, placement):
    assert place(source, short_side, result) == placement


def test_a_placement_always_lies_inside_its_picture():
    for width in range(300, 2000, 37):
        for height in range(300, 2000, 41):
            for short_side in (720, 1080, 1438):
                full = hosted_size((width, height), short_side)
                found = place((width, height), short_side, (full[0] // 16 * 16, full[1] // 16 * 16))
                assert found
                assert found.left + found.width <= found.full_width == full[0]
                assert found.top + found.height <= found.full_height == full[1]
