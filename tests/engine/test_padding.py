"""Padding continues the picture, fits the network, and comes off again without a trace."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from seedvr2_anywhere.engine.errors import BadFrames, BadSize
from seedvr2_anywhere.engine.padding import Border, Geometry, crop, mirror_frames, missing_frames, pad, plan_geometry

HEIGHTS = [(720, 752), (1080, 1104), (2160, 2192), (1088, 1120), (1072, 1104), (1, 32), (2, 32), (8, 32), (9, 48)]
WIDTHS = [(1920, 1920), (1440, 1440), (1922, 1952), (1930, 1968), (1, 32), (16, 16)]


@pytest.mark.parametrize(("height", "padded"), HEIGHTS)
def test_rows_are_at_least_eight_mirrored_and_sixteen_black(height, padded):
    geometry = plan_geometry((5, 5), (height, 16))
    assert geometry.padded == (padded, 16)
    assert geometry.bottom == Border(padded - 16 - height, 16)
    assert 8 <= geometry.bottom.mirrored < 24


@pytest.mark.parametrize(("width", "padded"), WIDTHS)
def test_columns_are_padded_only_where_they_must(width, padded):
    assert plan_geometry((5, 5), (720, width)).padded == (752, padded)


def test_black_can_be_left_out():
    assert plan_geometry((5, 5), (720, 1000), black=0).padded == (736, 1008)


@pytest.mark.parametrize("black", [-16, 8])
def test_black_that_breaks_the_multiple_is_refused(black):
    with pytest.raises(BadSize, match="multiple of 16"):
        plan_geometry((5, 5), (720, 1280), black)


@pytest.mark.parametrize("target", [(1, 1), (2, 2), (2, 30), (15, 17), (16, 16), (50, 64)])
def test_the_cut_undoes_the_padding_exactly(target):
    frames = torch.rand(2, *target, 3, generator=torch.Generator().manual_seed(0))
    geometry = plan_geometry((4, 4), target)
    padded = pad(frames, geometry)
    assert padded.shape == (2, *geometry.padded, 3)
    assert padded.shape[1] % 16 == padded.shape[2] % 16 == 0
    assert crop(padded, geometry).equal(frames)


def test_the_border_is_the_mirror_image_then_black():
    frames = torch.rand(1, 40, 50, 3, generator=torch.Generator().manual_seed(0))
    padded = pad(frames, plan_geometry((4, 4), (40, 50)))
    mirrored = F.pad(frames.permute(0, 3, 1, 2), (0, 14, 0, 8), mode="reflect").permute(0, 2, 3, 1)
    assert padded[:, :48, :64].equal(mirrored)
    assert not padded[:, 48:].any() and not padded[:, :, 64:].any()
    assert padded.shape == (1, 64, 80, 3)


def test_a_picture_smaller_than_its_border_goes_back_and_forth():
    column = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    rows = pad(column, Geometry((3, 1), (3, 1), Border(7, 0), Border())).flatten()
    assert rows.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3, 0.2, 0.1, 0.2])


@pytest.mark.parametrize("stage", [pad, crop])
def test_frames_of_another_size_are_refused(stage):
    with pytest.raises(BadSize, match="expected"):
        stage(torch.zeros(1, 10, 10, 3), plan_geometry((5, 5), (20, 20)))
    with pytest.raises(BadFrames, match="channels last"):
        stage(torch.zeros(1, 3, 20, 20), plan_geometry((5, 5), (20, 20)))


MISSING = [(1, 0), (2, 3), (3, 2), (4, 1), (5, 0), (6, 3), (9, 0), (10, 3), (16, 1), (17, 0), (2400, 1)]


@pytest.mark.parametrize(("count", "missing"), MISSING)
def test_shots_are_filled_to_four_m_plus_one(count, missing):
    assert missing_frames(count) == missing
    assert (count + missing) % 4 == 1


ENDS = [(1, 3, [0, 0, 0]), (2, 3, [0, 1, 0]), (3, 2, [1, 0]), (4, 1, [2]), (4, 3, [2, 1, 0]), (4, 0, [])]


@pytest.mark.parametrize(("given", "missing", "added"), ENDS)
def test_the_end_of_a_shot_runs_backwards(given, missing, added):
    last = torch.arange(given, dtype=torch.float32).view(given, 1, 1, 1).expand(given, 2, 2, 3)
    assert mirror_frames(last, missing)[:, 0, 0, 0].tolist() == added


def test_four_last_frames_end_a_shot_like_the_whole():
    shot = torch.rand(10, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    assert mirror_frames(shot[-4:], 3).equal(mirror_frames(shot, 3))


def test_a_shot_without_frames_is_refused():
    with pytest.raises(BadSize, match="without frames"):
        mirror_frames(torch.zeros(0, 2, 2, 3), 3)


def test_smaller_results_are_known_as_such():
    assert plan_geometry((1080, 1920), (720, 1280)).shrinks
    assert not plan_geometry((480, 640), (1080, 1440)).shrinks
