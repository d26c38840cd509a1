"""Clips, weights and selections that are not what they should be: named in words, or worked with as they are meant."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes.comfy_toys import write_weights
from seedvr2_anywhere.tests.nodes.real_server import error_of, report_of, upscale_only


def jobs_of(server) -> set[str]:
    return {path.parent.name for path in (server.output / "seedvr2_jobs").glob("*/job.json")}


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "not weights": lambda data: b"hello" * 100,
    "empty": lambda data: b"",
}


@pytest.mark.comfy
@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_weights_are_named_before_anything_is_computed(server, case):
    folder = server.base / "models" / "SEEDVR2"
    folder.mkdir(exist_ok=True)
    before = jobs_of(server)
    path = write_weights(folder / "seedvr2_damaged.safetensors")
    try:
        path.write_bytes(DAMAGE[case](path.read_bytes()))
        said = error_of(server.run(upscale_only(server, **{"backend.model": path.name, "seed": len(case)})))
    finally:
        path.unlink()
    assert "seedvr2_damaged" in said
    assert jobs_of(server) == before, "a job was begun"


def test_a_model_that_is_not_there_is_refused_before_the_queue(server):
    status, answer = server.post("/prompt", {"prompt": upscale_only(server, **{"backend.model": "gone.safetensors"})})
    assert status == 400
    assert "gone.safetensors" in str(answer["node_errors"])


@pytest.mark.parametrize("widgets", [{"skip_first_frames": 500}, {"start_time": 100.0}])
def test_a_selection_without_frames_says_so(server, widgets):
    workflow = upscale_only(server)
    workflow["33"]["inputs"] |= widgets
    said = error_of(server.run(workflow))
    assert "no frames" in said.lower() or "no frame" in said.lower(), said


@pytest.mark.parametrize(("choice", "size", "aspect"), [("square", (96, 32), 1), ("keep", (48, 32), Fraction(2))])
def test_pixels_that_are_not_square_become_so_or_stay_so(server, choice, size, aspect):
    frames = np.tile(np.arange(48, dtype=np.uint8)[None, None, :, None], (3, 32, 1, 3)) * 4
    media.write(server.input / "wide_pixels.mp4", [(frames, np.arange(3))], time_base=1 / media.snap_rate(24),
                picture=media.Picture(sample_aspect=Fraction(2)))  # fmt: skip
    workflow = upscale_only(server, new_resolution=32)
    workflow["33"]["inputs"] |= {"video": "wide_pixels.mp4", "pixel_aspect": choice}
    workflow["34"] = server.main_job()["34"]
    workflow["34"]["inputs"]["filename_prefix"] = f"pixels_{choice}"
    report_of(server.run(workflow))
    saved = media.probe(next(server.output.glob(f"pixels_{choice}_*.mp4")))
    assert (saved.size, saved.sample_aspect) == (size, aspect)
