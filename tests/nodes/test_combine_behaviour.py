"""What Video Combine promises: rates, sound, names, copies, previews and metadata."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import error_of

GRADED = {"format.quality": "high", "format.crf": -1}
CODED = GRADED | {"format.bit_depth": "auto", "format.encoder": "cpu"}


def combine(server, clip: str = "clip.mp4", load: dict | None = None, **widgets) -> dict:
    """Load Video → Video Combine; format widgets of another format are dropped."""
    workflow = server.main_job()
    del workflow["35"]
    workflow["33"]["inputs"] |= {"video": clip} | (load or {})
    inputs = workflow["34"]["inputs"] | {"video": ["33", 0]}
    if "format" in widgets:
        inputs = {name: value for name, value in inputs.items() if not name.startswith("format.")}
    workflow["34"]["inputs"] = inputs | widgets
    return workflow


def write_frames(path, frames: np.ndarray) -> None:
    media.write(path, [(frames, np.arange(len(frames)))], time_base=1 / media.snap_rate(24))


def saved(server, entry: dict):
    """The file of a finished run, as path and description."""
    assert entry["status"]["status_str"] == "success", entry["status"]
    shown = entry["outputs"]["37"]["text"][0]
    return media.probe(shown)


def run(server, workflow: dict):
    workflow["37"] = {"class_type": "PreviewAny", "inputs": {"source": ["34", 1]}}
    return server.run(workflow)


def test_images_with_video_take_its_sound_and_last_as_long(server):
    workflow = combine(server, filename_prefix="together")
    workflow["1"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 60, "color": 99}}
    workflow["34"]["inputs"]["images"] = ["1", 0]
    info = saved(server, run(server, workflow))
    assert (info.size, info.rate, media.count_frames(info.path)) == ((64, 48), 60, 60)
    assert len(info.audio) == 1


def test_pingpong_plays_forward_then_backward(server):
    workflow = combine(server, filename_prefix="there_and_back", frame_rate=8.0, pingpong=True, format="MKV (FFV1)",
                       **{"format.bit_depth": "auto"})  # fmt: skip
    workflow["1"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["33", 0]}}
    workflow["33"]["inputs"]["frame_load_cap"] = 4
    del workflow["34"]["inputs"]["video"]
    workflow["34"]["inputs"]["images"] = ["1", 0]
    info = saved(server, run(server, workflow))
    frames = np.concatenate([batch[0] for batch in media.read(info.path)])
    assert len(frames) == 6
    assert (frames[4] == frames[2]).all() and (frames[5] == frames[1]).all()


def test_names_come_from_source_model_seed_size_and_day(server):
    workflow = server.main_job()
    prefix = "named/%source%-%model%-%seed%-%width%x%height%-%date%"
    workflow["34"]["inputs"]["filename_prefix"] = prefix
    info = saved(server, run(server, workflow))
    assert re.fullmatch(rf"clip-[\w.]+-1245-72x48-{time.strftime('%Y-%m-%d')}_00001_\.mp4", info.path.name)
    assert info.path.parent == server.output / "named"


def test_copy_is_the_file_itself_and_refused_for_a_part(server):
    info = saved(server, run(server, combine(server, format="copy", filename_prefix="copied")))
    assert info.path.read_bytes() == (server.input / "clip.mp4").read_bytes()
    part = combine(server, load={"frame_load_cap": 3}, format="copy", filename_prefix="copied")
    assert "copy saves a video file as it is" in error_of(server.run(part))


@pytest.mark.parametrize(
    "name, widgets, shown",
    [
        ("MP4 (H.264)", GRADED | {"format.encoder": "cpu"}, (r"kind_\d+_\.mp4", "output")),
        ("MP4 (H.265)", CODED, (r"seedvr2_preview_\d+_\.mp4", "temp")),
        ("MOV (ProRes)", {"format.profile": "hq"}, (r"seedvr2_preview_\d+_\.mp4", "temp")),
        ("GIF", {"format.loop_count": 0}, (r"kind_\d+_\.gif", "output")),
    ],
)
def test_what_a_browser_cannot_play_is_shown_as_a_smaller_copy(server, name, widgets, shown):
    write_frames(server.input / "wide.mp4", np.full((3, 64, 96, 3), 77, np.uint8))
    entry = run(server, combine(server, "wide.mp4", format=name, filename_prefix="kind", **widgets))
    saved(server, entry)
    picture = entry["outputs"]["34"]["images"][0]
    assert re.fullmatch(shown[0], picture["filename"])
    assert picture["type"] == shown[1]
    if picture["type"] == "temp":
        proxy = media.probe(server.base / "temp" / picture["subfolder"] / picture["filename"])
        assert (proxy.codec, proxy.bit_depth) == ("h264", 8)


def test_a_preview_only_leaves_nothing_in_output(server):
    entry = run(server, combine(server, save_output=False, filename_prefix="unsaved"))
    assert saved(server, entry).path.is_relative_to(server.base / "temp")
    assert list(server.output.glob("unsaved*")) == []


def test_hdr_is_kept_where_it_is_wished_and_where_ten_bits_hold_it(server):
    clip = server.input / "hdr.mp4"
    levels = np.linspace(0, 40000, 64 * 64 * 3).reshape(1, 64, 64, 3).astype(np.uint16).repeat(3, 0)
    colour = media.Colour(matrix="bt2020", range="limited", transfer="pq", primaries="bt2020")
    media.write(clip, [(levels, np.arange(3))], time_base=1 / media.snap_rate(24),
                encoding=media.Encoding("MP4 H.265", bit_depth=10), picture=media.Picture(colour=colour))  # fmt: skip
    kept = combine(server, "hdr.mp4", {"hdr": "keep"}, format="MP4 (H.265)", filename_prefix="hdr", **CODED)
    info = saved(server, run(server, kept))
    assert (info.colour.transfer, info.bit_depth) == ("pq", 10)
    shown = combine(server, "hdr.mp4", format="MP4 (H.265)", filename_prefix="sdr", **CODED)
    assert saved(server, run(server, shown)).colour.transfer == "sdr"
