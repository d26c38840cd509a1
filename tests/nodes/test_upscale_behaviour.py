"""What SeedVR2 Upscale promises beside the picture: sizes refused early, items one by one, results made again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.real_server import error_of, refusal_of, report_of, upscale_only

HDR_LIGHT = 0.02  # of the PQ code: the mean of a clip whose colours follow the source

RGBA = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 2, "color": 0x806040}},
    "2": {"class_type": "SolidMask", "inputs": {"value": 0.25, "width": 32, "height": 32}},
    "3": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["2", 0]}},
}


def write_frames(path, frames: np.ndarray) -> None:
    media.write(path, [(frames, np.arange(len(frames)))], time_base=1 / media.snap_rate(24))


@pytest.mark.parametrize(
    "widgets, said",
    [
        ({"new_resolution": 8192}, "at most 8192 on the long side"),
        ({"new_resolution": 8194}, "new_resolution is 8194; expected 16 to 8192"),
        ({"max_long_side": -2}, "max_long_side is -2; expected 0 to 16384"),
        ({"size_by": "diagonal"}, "size_by is 'diagonal'; expected one of short side"),
    ],
)
def test_a_size_that_no_source_allows_is_refused_before_the_queue(server, widgets, said):
    assert said in refusal_of(server, upscale_only(server, **widgets))


def test_a_limit_of_the_long_side_makes_a_large_wish_possible(server):
    report = report_of(server.run(upscale_only(server, new_resolution=8192, max_long_side=64, run="estimate only")))
    assert "48 × 32 → 64 × 42" in report


def test_a_size_that_this_source_does_not_allow_is_refused_before_work(server):
    said = error_of(server.run(upscale_only(server, size_by="height", new_resolution=8000)))
    assert "at most 8192 on the long side" in said


def test_a_result_smaller_than_the_source_is_said(server):
    report = report_of(server.run(upscale_only(server, new_resolution=16, run="estimate only")))
    assert "the result is smaller than the source" in report


def test_an_estimate_downloads_nothing_and_says_what_a_run_would(server):
    workflow = upscale_only(server, run="estimate only", **{"backend.model": "seedvr2_3b_fp16.safetensors"})
    report = report_of(server.run(workflow))
    assert "48 × 32 → 72 × 48" in report
    assert "A run downloads seedvr2_3b_fp16.safetensors (6.8 GB) and ema_vae_fp16.safetensors (0.5 GB) first" in report


def test_a_list_of_videos_runs_item_by_item(server):
    folder = server.input / "two"
    folder.mkdir()
    for name, value in (("a.mp4", 60), ("b.mp4", 180)):
        write_frames(folder / name, np.full((5, 32, 32, 3), value, np.uint8))
    workflow = server.main_job()
    workflow["33"] = {"class_type": "LoadVideoDataSetFromFolder", "inputs": {"folder": "two"}}
    workflow["35"]["inputs"]["new_resolution"] = 32
    workflow["34"]["inputs"]["filename_prefix"] = "items/%source%"
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert sorted(path.name for path in (server.output / "items").iterdir()) == ["a_00001_.mp4", "b_00001_.mp4"]


def test_a_deleted_result_is_made_again_and_then_stays(server):
    workflow = upscale_only(server, seed=5)
    assert "24 frames restored." in report_of(server.run(workflow))
    assert server.run(workflow)["outputs"]["36"]
    before = set((server.output / "seedvr2_jobs").iterdir())
    job = max(before, key=lambda path: path.stat().st_mtime if path.is_dir() else 0)
    shutil.rmtree(job)
    assert "24 frames restored." in report_of(server.run(workflow))
    assert job.is_dir()
    ran = [part[1].get("nodes", []) for part in server.run(workflow)["status"]["messages"] if "cached" in part[0]]
    assert "35" in ran[0]


def test_images_keep_their_opacity(server):
    workflow = upscale_only(server, source=["3", 0], new_resolution=32) | RGBA
    del workflow["33"]
    workflow["4"] = {"class_type": "SplitImageWithAlpha", "inputs": {"image": ["35", 0]}}
    workflow["5"] = {"class_type": "MaskToImage", "inputs": {"mask": ["4", 1]}}
    workflow["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "opacity"}}
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert "2 images restored." in report_of(entry)
    (frame,), _ = next(iter(media.read(next(server.output.glob("opacity*.png")))))
    assert abs(int(frame.astype(int).mean()) - 255 * 0.25) <= 1


@pytest.mark.parametrize(
    "frames, size, widgets, said",
    [
        (1, (32, 32), {}, "1 frame"),
        (3, (2, 2), {"new_resolution": 16}, "2 × 2 → 16 × 16"),
        (3, (32, 32), {"batch_size": 7}, "batch_size 7 works as 9"),
        (3, (32, 32), {"batch_size": 1}, "frames one by one"),
    ],
)
def test_unusual_clips_and_windows_work(server, frames, size, widgets, said):
    name = f"unusual_{frames}_{size[0]}_{widgets.get('batch_size', 0)}.mp4"
    write_frames(server.input / name, np.full((frames, *size, 3), 90, np.uint8))
    workflow = upscale_only(server, **({"new_resolution": 32} | widgets))
    workflow["33"]["inputs"] |= {"video": name, "frame_load_cap": 99}
    report = report_of(server.run(workflow))
    assert said in report
    assert report.count("works as") <= 1, "said twice"
    assert f"{frames} frames restored." in report or "1 frame" in report


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100], ids=["empty", "not a video"])
def test_a_clip_that_cannot_be_read_is_refused_before_the_queue(server, content):
    name = f"broken_{len(content)}.mp4"
    (server.input / name).write_bytes(content)
    workflow = upscale_only(server)
    workflow["33"]["inputs"]["video"] = name
    assert name in refusal_of(server, workflow)


def test_hdr_goes_through_restored_and_tagged(server):
    """PQ in, PQ out: Load Video (keep) → Upscale → Video Combine in 10 bits."""
    levels = np.linspace(8000, 40000, 48 * 64 * 3).reshape(1, 48, 64, 3).astype(np.uint16).repeat(5, 0)
    colour = media.Colour(matrix="bt2020", range="limited", transfer="pq", primaries="bt2020")
    media.write(server.input / "graded.mp4", [(levels, np.arange(5))], time_base=1 / media.snap_rate(24),
                encoding=media.Encoding("MP4 H.265", bit_depth=10), picture=media.Picture(colour=colour))  # fmt: skip
    workflow = server.main_job()
    workflow["33"]["inputs"] |= {"video": "graded.mp4", "hdr": "keep"}
    workflow["35"]["inputs"]["new_resolution"] = 96
    del workflow["34"]["inputs"]["format.crf"], workflow["34"]["inputs"]["format.encoder"]
    workflow["34"]["inputs"] |= {"format": "MP4 (H.265)", "format.bit_depth": "auto", "format.crf": -1,
                                 "format.encoder": "cpu", "filename_prefix": "graded"}  # fmt: skip
    workflow["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    assert "HDR kept" in report_of(server.run(workflow))
    saved = media.probe(next(server.output.glob("graded_*.mp4")))
    assert (saved.colour.transfer, saved.bit_depth, saved.size) == ("pq", 10, (128, 96))
    found = np.concatenate([batch[0] for batch in media.read(saved.path)]).mean(axis=(1, 2, 3)) / 65535
    assert np.abs(found - levels.mean() / 65535).max() < HDR_LIGHT, "another light than the source's"
