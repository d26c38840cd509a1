"""Every cut is found, none is invented, and the way frames arrive does not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seedvr2_anywhere.benchmarks.footage import footage, read_footage
from seedvr2_anywhere.engine.errors import BadFrames
from seedvr2_anywhere.engine.shots import LOOK_AHEAD, ShotFinder, shot_starts
from seedvr2_anywhere.tests.engine.clips import (
    as_bytes,
    drawings,
    fade,
    flash,
    gradient,
    lightning,
    moving_box,
    pan,
    static,
    still,
    texture,
)

KINDS = [
    pan(1, 26, step=4),
    still(2, 15),
    gradient(3, 20),
    moving_box(4, 31),
    fade(pan(5, 24, step=1), -20, 25),  # dark throughout
    drawings(6, 24, held=3),
]


def test_cuts_between_clips_of_six_kinds_are_found():
    joined = as_bytes(*KINDS)
    expected = np.cumsum([len(clip) for clip in KINDS])[:-1].tolist()
    assert shot_starts([joined]) == expected


def black(frames: int) -> np.ndarray:
    return np.zeros_like(still(0, frames))


UNCUT = {
    "flash of two frames": flash(pan(7, 40, step=1), 18, 2),
    "flash of one frame on a moving box": flash(moving_box(8, 40), 20, 1),
    "three flashes, one after another": flash(flash(flash(still(9, 60), 20, 1), 24, 2), 30, 3),
    "lightning": lightning(pan(10, 50, step=2), 22),
    "dark frames": flash(still(11, 40), 15, 3, level=-300),
    "fast pan": pan(12, 30, step=14),
    "faster pan": pan(13, 20, step=24),
    "diagonal pan": pan(14, 24, step=9, rows=5),
    "pan that starts suddenly": np.concatenate([np.repeat(pan(15, 40, 8)[:1], 15, 0), pan(15, 40, 8)]),
    "fade to black": fade(pan(16, 40, step=1), 15, 12),
    "fade from black": fade(pan(17, 40, step=1), 5, 12)[::-1],
    "fade to white": fade(still(18, 40), 10, 20, to=255),
    "fade to black and back": np.concatenate([fade(still(19, 30), 8, 10), fade(still(19, 30), 8, 10)[::-1]]),
    "static": static(20, 30),
    "held drawings": drawings(21, 48, held=3),
    "held drawings on twos": drawings(22, 48, held=2),
    "turning gradient": gradient(23, 60),
    "dark and grainy": fade(still(24, 30), -50, 55) + np.random.default_rng(0).normal(0, 6, (30, 90, 160, 3)),
    "one picture for ever": np.repeat(texture(25)[None], 40, 0),
    "nothing at all": black(30),
}


@pytest.mark.parametrize("name", UNCUT)
def test_no_cut_is_invented(name):
    assert shot_starts([as_bytes(UNCUT[name])]) == []


def shots_of(*lengths: int, first: int = 30) -> list[np.ndarray]:
    return [still(first + number, length) for number, length in enumerate(lengths)]


CUT = {
    "shots of one, two and three frames": (shots_of(20, 1, 2, 3, 20), [20, 21, 23, 26]),
    "a frame of something else": ([still(40, 20), still(41, 1), still(40, 20)], [20, 21]),
    "two frames of something else": ([still(40, 20), still(41, 2), still(40, 20)], [20, 22]),
    "at the second and the last frame": (shots_of(1, 20, 1), [1, 21]),
    "two frames in all": (shots_of(1, 1), [1]),
    "two dark shots of equal mean": ([still(50, 20) * 0.1, still(51, 20) * 0.1], [20]),
    "two pale shots": ([215 + still(52, 20) * 0.15, 215 + still(53, 20) * 0.15], [20]),
    "two fast pans": ([pan(54, 20, step=12), pan(55, 20, step=12)], [20]),
    "between static and a picture": ([static(56, 20), still(57, 20)], [20]),
    "a blended frame at the cut": ([still(58, 20), (still(58, 1) + still(59, 1)) / 2, still(59, 20)], [20]),
    "a flash on a cut": ([still(60, 20), black(2) + 255, still(61, 20)], [22]),
    "a fade through black": ([fade(still(62, 30), 10, 10), fade(still(63, 30), 10, 10)[::-1]], [40]),
    "a long black gap between fades": ([fade(still(64, 60), 5, 10), fade(still(65, 30), 10, 10)[::-1]], [70]),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_each_cut_is_found_at_its_frame(name):
    clips, expected = CUT[name]
    found = shot_starts([as_bytes(*clips)])
    slack = 2 if "fade" in name else 0  # where the last black frame gives way is a matter of rounding
    assert len(found) == len(expected), f"{found}, expected {expected}"
    assert np.abs(np.subtract(found, expected)).max() <= slack, f"{found}, expected {expected}"


@pytest.mark.parametrize("push", [1, 2, 5, 13, 64, 1000])
def test_the_result_does_not_depend_on_how_frames_arrive(push):
    joined = as_bytes(*KINDS[:3], *shots_of(1, 2, 9), flash(pan(7, 30, step=1), 9, 2))
    whole, finder, found = shot_starts([joined]), ShotFinder(), []
    for start in range(0, len(joined), push):
        found += finder.push(joined[start : start + push])
        arrived = min(start + push, len(joined))
        assert arrived - finder.settled <= max(LOOK_AHEAD, 1), "the verdict on a frame is overdue"
        assert [each for each in whole if each < finder.settled] == found, "settled too early"
    assert found + finder.finish() == whole
    assert finder.settled == len(joined)


def test_bytes_and_floats_numpy_and_torch_agree():
    joined = as_bytes(*KINDS[1:4])
    expected = shot_starts([joined])
    assert expected
    assert shot_starts([torch.from_numpy(joined)]) == expected
    assert shot_starts([joined.astype(np.float32) / 255]) == expected
    assert shot_starts([torch.from_numpy(joined).double() / 255]) == expected


FOOTAGE = [
    "video_wan2_2_14B_t2v-1",  # a face
    "text_to_video_wan-1",  # a fox that runs
    "api_bytedance_text_to_video-1",  # a skier on snow
    "api_hailuo_minimax_i2v-1",  # a cartoon
    "video_wan2.1_fun_camera_v1.1_14B-1",  # a dark room
    "video_hunyuan_video_1.5_720p_t2v-1",  # a city from above
]


@pytest.mark.skipif(len(footage()) < 100, reason="the template packages with animated pictures are not installed")
def test_cuts_between_moving_footage_are_found_and_none_within():
    clips = [read_footage(name, frames=30) for name in FOOTAGE]
    size = min(clip.shape[1] for clip in clips), min(clip.shape[2] for clip in clips)
    joined = np.concatenate([clip[:, : size[0], : size[1]] for clip in clips])
    assert shot_starts([joined]) == np.cumsum([len(clip) for clip in clips])[:-1].tolist()


BAD = [np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 4), np.uint8), np.zeros((4, 8, 8, 3), np.int64)]


@pytest.mark.parametrize("frames", BAD, ids=["three axes", "four channels", "integers"])
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(BadFrames, match="expected"):
        ShotFinder().push(frames)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (35, 640), (720, 5)])
def test_frames_of_any_size_are_taken(size):
    frames = np.zeros((15, *size, 3), np.uint8)
    assert shot_starts([frames, frames[:0]]) == []
