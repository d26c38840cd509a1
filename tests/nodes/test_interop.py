"""Core's video nodes before and after ours: colours within 3 of 255, the frames that were meant."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import PYAV, report_of
from seedvr2_anywhere.tools.environment import OLD_PYAV

COLOURS = np.array([[230, 40, 40], [40, 200, 60], [50, 60, 220], [240, 240, 240], [20, 20, 20], [128, 100, 160]])
SIDE, FRAMES, TOLERANCE = 32, 12, 3  # pixels of a patch
FORMAT = {"filename_prefix": "interop", "format": "mp4", "codec": "h264", "codec.encoding": "auto"}


@pytest.fixture(scope="module")
def card(server):
    """Six patches; their brightness counts the frames."""
    patches = COLOURS.reshape(2, 3, 3).repeat(SIDE, 0).repeat(SIDE, 1)
    frames = np.stack([np.clip(patches - number, 0, 255) for number in range(FRAMES)]).astype(np.uint8)
    tone = np.sin(np.arange(24000) / 20).astype(np.float32)[None] * 0.3
    media.write(server.input / "card.mp4", [(frames, np.arange(FRAMES))], time_base=1 / media.snap_rate(24),
                sound=media.Sound(samples=media.Samples(tone, 48000)))  # fmt: skip
    return "card.mp4"


def ours(server, card: str, **widgets) -> dict:
    node = server.main_job()["33"]
    node["inputs"] |= {"video": card} | widgets
    return node


def combine(server, **inputs) -> dict:
    node = server.main_job()["34"]
    del node["inputs"]["video"]
    node["inputs"] |= {"filename_prefix": "interop"} | inputs
    return node


def shown(value: list) -> dict:
    return {"class_type": "PreviewAny", "inputs": {"source": value}}


def newest(server) -> np.ndarray:
    """The frames of the file written last."""
    path = max(server.output.glob("interop*"), key=lambda one: one.stat().st_mtime_ns)
    return np.concatenate([batch[0] for batch in media.read(path)])


def check(frames: np.ndarray, first: int, count: int) -> None:
    """Patches as in the card, from frame `first` on."""
    assert len(frames) == count
    for number, frame in enumerate(frames, start=first):
        middles = frame[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE].reshape(-1, 3).astype(int)
        assert np.abs(middles - np.clip(COLOURS - number, 0, 255)).max() <= TOLERANCE


def run(server, workflow: dict) -> None:
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]


def test_the_server_has_the_pyav_that_was_asked_for(server):
    libraries = {Path(line.split()[-1]).parent for line in maps_of(server) if "/av.libs/" in line}
    assert {OLD_PYAV.resolve() in path.parents for path in libraries} == {os.environ.get(PYAV) == "oldest"}


def maps_of(server) -> list[str]:
    """The files in a process's memory (Linux)."""
    path = Path(f"/proc/{server.process.pid}/maps")
    if not path.exists():
        pytest.skip("this system does not tell which libraries a process uses")
    return path.read_text().splitlines()


def test_our_clip_through_cores_trim_and_save(server, card):
    slice_ = {"video": ["1", 0], "start_time": 0.25, "duration": 0.125, "strict_duration": False}
    run(server, {
        "1": ours(server, card),
        "2": {"class_type": "Video Slice", "inputs": slice_},
        "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], **FORMAT}},
    })  # fmt: skip
    check(newest(server), 6, 3)


def test_our_selection_saved_by_core(server, card):
    run(server, {
        "1": ours(server, card, skip_first_frames=2, select_every_nth=1, frame_load_cap=5),
        "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], **FORMAT}},
    })  # fmt: skip
    check(newest(server), 2, 5)


def test_cores_clip_and_its_trim_saved_by_us(server, card):
    slice_ = {"video": ["1", 0], "start_time": 0.25, "duration": 0.125, "strict_duration": False}
    run(server, {
        "1": {"class_type": "LoadVideo", "inputs": {"file": card}},
        "2": {"class_type": "Video Slice", "inputs": slice_},
        "3": combine(server, video=["2", 0]),
    })  # fmt: skip
    check(newest(server), 6, 3)


def test_components_of_our_clip_made_a_video_by_core_and_saved_by_us(server, card):
    parts = {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}
    entry = server.run({
        "1": ours(server, card),
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "CreateVideo", "inputs": parts},
        "4": combine(server, video=["3", 0]),
        "36": shown(["2", 2]),
    })  # fmt: skip
    assert report_of(entry) == "24.0"
    check(newest(server), 0, FRAMES)


def test_our_file_read_again_by_core(server, card):
    run(server, {
        "1": ours(server, card),
        "2": combine(server, video=["1", 0]),
        "3": {"class_type": "GetVideoComponents", "inputs": {"video": ["2", 0]}},
        "4": {"class_type": "CreateVideo", "inputs": {"images": ["3", 0], "audio": ["3", 1], "fps": ["3", 2]}},
        "5": {"class_type": "SaveVideo", "inputs": {"video": ["4", 0], **FORMAT}},
    })  # fmt: skip
    check(newest(server), 0, FRAMES)
