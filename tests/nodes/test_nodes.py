"""The nodes in the real ComfyUI: what users see stays, the main job runs, mistakes are named before work starts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import error_of, refusal_of

SNAPSHOT = Path(__file__).with_name("object_info.json")
IDS = ("SeedVR2Anywhere.LoadVideo", "SeedVR2Anywhere.Upscale", "SeedVR2Anywhere.VideoCombine")
ALL_IDS = (*IDS, "SeedVR2Anywhere.Compare")
FRAMES = 24


@pytest.fixture(scope="module")
def result(server):
    """The main job, run once."""
    return server.run(server.main_job())


def schema_of(info: dict) -> dict:
    """What a node shows, without what depends on this machine's files and devices."""
    for option in info["input"].get("required", {}).get("backend", [None, {"options": []}])[1]["options"]:
        if option["key"] == "local":
            option["inputs"]["required"]["device"][1]["options"] = []
    if "video" in info["input"]["required"]:
        info["input"]["required"]["video"][1]["options"] = []
    return {key: value for key, value in info.items() if key != "python_module"}


def widgets_in(inputs: dict) -> list[tuple[str, dict]]:
    """(name, options) of all inputs, those behind a choice included."""
    found = [(name, one[1]) for kind in ("required", "optional") for name, one in inputs.get(kind, {}).items()]
    nested = [option for _, one in found for option in one.get("options", []) if isinstance(option, dict)]
    return found + [inner for option in nested for inner in widgets_in(option["inputs"])]


def test_names_order_types_and_defaults_of_all_widgets_stay(server):
    found = {name: schema_of(server.get(f"/object_info/{name}")[name]) for name in ALL_IDS}
    assert json.dumps(found, indent=1) == json.dumps(json.loads(SNAPSHOT.read_text(encoding="utf-8")), indent=1)


@pytest.mark.parametrize("name", IDS)
def test_tooltips_are_there_and_short(server, name):
    widgets = widgets_in(server.get(f"/object_info/{name}")[name]["input"])
    assert len(widgets) >= 13
    assert [key for key, one in widgets if not 1 < len(one.get("tooltip", "").split()) <= 15] == []


def test_the_main_job_keeps_frames_rate_and_sound(server, result):
    assert result["status"]["status_str"] == "success", result["status"]
    shown = result["outputs"]["34"]["images"][0]
    info = media.probe(server.output / shown["subfolder"] / shown["filename"])
    source = media.probe(server.input / "clip.mp4")
    assert shown["filename"].startswith("clip_upscaled")
    assert info.size == (72, 48)
    assert info.rate == source.rate
    assert media.count_frames(info.path) == FRAMES
    assert [one.codec for one in info.audio] == ["aac"]
    assert abs(info.duration - source.duration) < 1e-3
    assert "SeedVR2Anywhere.Upscale" in info.workflow["prompt"]


def test_a_second_run_computes_nothing(server, result):
    again = server.main_job()
    again["34"]["inputs"] |= {"filename_prefix": "second", "format": "copy"}
    again["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    again["33"]["inputs"]["path"] = str(server.input / "clip.mp4")  # the same file by another way: not ComfyUI's cache
    entry = server.run(again)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert "Reused, nothing computed or paid." in json.dumps(entry["outputs"]["36"])
    assert len(list(server.output.glob("second_*.mp4"))) == 1


def test_frames_cut_by_a_cap_are_counted(server):
    workflow = {"33": server.main_job()["33"], "36": {"class_type": "PreviewAny", "inputs": {"source": ["33", 3]}}}
    workflow["33"]["inputs"]["frame_load_cap"] = 5
    assert "Loading 5 of 24 frames; set frame_load_cap 0 for all." in json.dumps(server.run(workflow)["outputs"]["36"])


@pytest.mark.parametrize("name, suffix", [("WebP", ".webp"), ("MKV (FFV1)", ".mkv"), ("PNG sequence", "")])
def test_images_alone_are_saved_at_the_rate_typed(server, name, suffix):
    workflow = images_job(server, frame_rate=8.0, format=name, filename_prefix=f"images_{suffix[1:]}")
    if name == "MKV (FFV1)":
        workflow["34"]["inputs"]["format.bit_depth"] = "auto"
    if name == "WebP":
        workflow["34"]["inputs"] |= {"format.quality": "high", "format.crf": -1, "format.loop_count": 0}
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    saved = next(server.output.glob(f"images_{suffix[1:]}_*{suffix}"))
    assert sum(len(batch[1]) for batch in media.read(saved)) == 3
    if suffix:
        assert media.probe(saved).rate == 8
    assert entry["outputs"]["34"]["images"]


def images_job(server, **widgets) -> dict:
    """Three different pictures, restored in memory, into a file."""
    workflow = server.main_job()
    workflow["33"]["inputs"]["frame_load_cap"] = 3
    workflow["1"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["33", 0]}}
    workflow["35"]["inputs"] |= {"source": ["1", 0]}
    combine = workflow["34"]["inputs"]
    del combine["video"]
    for key in ("format.quality", "format.crf", "format.encoder"):
        del combine[key]
    combine |= {"images": ["35", 0], **widgets}
    return workflow


def test_images_without_a_rate_are_refused_before_the_queue(server):
    said = refusal_of(server, images_job(server, format="PNG sequence"))
    assert "An IMAGE has no frame rate. Type one (Wan 2.2 14B: 16) or connect the source to video." in said


def test_a_wrong_wire_is_refused_before_the_queue(server):
    workflow = server.main_job()
    workflow["34"]["inputs"]["images"] = ["33", 0]
    assert "images takes IMAGE, but VIDEO is connected." in refusal_of(server, workflow)


@pytest.mark.parametrize(
    "giver, taker, said",
    [
        ("EmptyLatentImage", ("35", "source"), "source is dict, expected VIDEO or IMAGE"),
        ("EmptyImage", ("34", "video"), "video is Tensor, expected VIDEO"),
    ],
)
def test_a_wrong_wire_that_only_shows_in_the_run_is_named(server, giver, taker, said):
    """What comes out of a node that answers in kind is known only when it runs."""
    workflow = server.main_job()
    sizes = {"width": 32, "height": 32, "batch_size": 1} | ({"color": 0} if giver == "EmptyImage" else {})
    workflow["1"] = {"class_type": giver, "inputs": sizes}
    workflow["35"]["inputs"]["source"] = ["1", 0]
    assert taker[1] in workflow[taker[0]]["inputs"]
    assert said in error_of(server.run(workflow))


def test_a_missing_clip_is_refused_before_the_queue(server):
    workflow = server.main_job()
    workflow["33"]["inputs"]["path"] = "/nowhere/clip.mp4"
    assert "/nowhere/clip.mp4 does not exist" in refusal_of(server, workflow)


def test_an_estimate_saves_nothing(server, result):
    workflow = server.main_job()
    workflow["35"]["inputs"]["run"] = "estimate only"
    workflow["34"]["inputs"]["filename_prefix"] = "estimate"
    workflow["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    entry = server.run(workflow)
    report = entry["outputs"]["36"]["text"][0]
    assert "48 × 32 → 72 × 48, 24 frames; " in report
    assert re.search(r"peak [\d.]+ [MG]iB of main memory", report)
    assert re.search(r"Takes .+ (s|min) here; up to [\d.]+ GB on disk", report)
    assert list(server.output.glob("estimate*")) == []


def test_a_preview_is_the_middle_of_the_clip(server):
    workflow = server.main_job()
    workflow["35"]["inputs"] |= {"run": "preview", "preview_seconds": 0.5}
    workflow["34"]["inputs"]["filename_prefix"] = "preview"
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert media.count_frames(next(server.output.glob("preview_*.mp4"))) == FRAMES // 2


def test_core_nodes_take_and_give_our_videos(server):
    """Load Video → Trim Video → Get Video Components → Create Video → Upscale → Save Video."""
    workflow = {"33": server.main_job()["33"], "35": server.main_job()["35"]}
    workflow["33"]["inputs"]["skip_first_frames"] = 4
    workflow["1"] = {"class_type": "Video Slice", "inputs": {"video": ["33", 0], "start_time": 0.25, "duration": 0.25,
                                                             "strict_duration": False}}  # fmt: skip
    workflow["2"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
    workflow["3"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}}
    workflow["35"]["inputs"]["source"] = ["3", 0]
    widgets = {"filename_prefix": "core", "format": "mp4", "codec": "h264", "codec.encoding": "auto"}
    workflow["4"] = {"class_type": "SaveVideo", "inputs": {"video": ["35", 0], **widgets}}
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    saved = media.probe(next(server.output.glob("core_*.mp4")))
    assert (saved.size, saved.rate, media.count_frames(saved.path)) == ((72, 48), 24, 6)
    assert len(saved.audio) == 1
