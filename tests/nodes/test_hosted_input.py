"""Awkward clips, tokens and addresses in front of the RunComfy backend, each through the whole node in ComfyUI."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes import hosted_desk as hosted

SEEDS = itertools.count(900)  # a run of its own for every case


def heard(path: Path) -> np.ndarray:
    """The samples of the first track."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def restored(desk, name: str, **clip: object) -> tuple[media.MediaInfo, str, dict]:
    """(saved file, report, the fields that were sent) of a clip in the input folder."""
    workflow = desk.workflow(size_by="short side", new_resolution=720, seed=next(SEEDS), color_correction="wavelet")
    workflow["33"]["inputs"] |= {"video": name, "frame_load_cap": 0, **clip}
    workflow["34"]["inputs"]["frame_rate"] = 0  # the clip's own
    entry = desk.run(workflow)
    (sent,) = desk.service.posts
    return hosted.saved(desk, entry), hosted.report_of(entry), sent


def refused(desk, workflow: dict) -> str:
    """The message of a run that fails before anything is asked of RunComfy."""
    said = hosted.error_of(desk.comfy.run(workflow, hosted.SECONDS))
    assert (desk.service.posts, desk.service.calls) == ([], [])
    assert desk.token not in said
    return said


@pytest.mark.parametrize("count", [1, 5])
def test_images_without_a_rate_are_refused_before_anything_is_sent(desk, count):
    workflow = desk.workflow()
    images = {"width": 64, "height": 64, "batch_size": count, "color": 255}
    workflow["1"] = {"class_type": "EmptyImage", "inputs": images}
    workflow["35"]["inputs"]["source"] = ["1", 0]
    del workflow["34"], workflow["33"]
    assert "images have no frame rate. Connect the clip as VIDEO (Create Video gives images a rate)" in refused(
        desk, workflow
    )


def test_images_with_a_rate_are_a_clip_like_any_other(desk):
    workflow = desk.workflow(size_by="scale", seed=next(SEEDS))
    workflow["1"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 5, "color": 255}}
    workflow["2"] = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 10.0}}
    workflow["35"]["inputs"]["source"] = ["2", 0]
    workflow["34"]["inputs"]["frame_rate"] = 0
    del workflow["33"]
    entry = desk.run(workflow)
    made = hosted.saved(desk, entry)
    assert (made.size, made.rate, media.count_frames(made.path)) == ((128, 96), 10, 5)
    assert "frame_rate 10 → 12" in hosted.report_of(entry)
    assert len(desk.service.posts) == 1


def test_without_a_token_nothing_is_sent(desk):
    desk.comfy.call("DELETE", "/seedvr2/token", {})
    said = refused(desk, desk.workflow(size_by="scale", seed=next(SEEDS)))
    assert "No RunComfy token. Set RUNCOMFY_API_TOKEN" in said


@pytest.mark.parametrize("where", ["environment", "settings"])
def test_a_line_break_at_the_end_of_a_token_goes(desk, where):
    desk.comfy.call("DELETE", "/seedvr2/token", {})
    text = f"{desk.token}\r\n"
    if where == "settings":
        desk.save_token(text)
    with desk.environment(RUNCOMFY_API_TOKEN=text if where == "environment" else None):
        desk.run(desk.workflow(size_by="scale", seed=next(SEEDS)))
    assert {headers["authorization"] for _, path, headers in desk.service.calls if "/v1/" in path} == {
        f"Bearer {desk.token}"
    }
    assert len(desk.service.posts) == 1


def test_a_line_break_inside_a_token_sends_nothing_and_shows_nothing_of_it(desk):
    first, last = "rc-first-half-0123456789", "last-half-0123456789"
    status, answer = desk.comfy.call("PUT", "/seedvr2/token", {"token": f"{first}\n{last}"})
    assert status == 400 and first not in str(answer) and last not in str(answer)
    with desk.environment(RUNCOMFY_API_TOKEN=f"{first}\n{last}"):
        said = refused(desk, desk.workflow(size_by="scale", seed=next(SEEDS)))
    assert "a line break or another character no token has" in said
    assert first not in said and last not in said


def test_a_clip_of_31_frames_is_filled_up_cut_back_and_said_so(desk):
    made, report, sent = restored(desk, hosted.LONG, frame_load_cap=31)
    assert sent["33_frame_load_cap"] == 32
    assert "31 frames filled up to 32 for RunComfy, cut back afterwards" in report
    assert hosted.stamps(made.path) == hosted.stamps(desk.comfy.input / hosted.LONG)[:31]


def test_a_clip_of_50_frames_a_second_keeps_its_frames_times_and_sound(desk):
    source = desk.comfy.input / "fast.mp4"
    hosted.write_clip(source, 40, rate=50)
    made, report, sent = restored(desk, source.name)
    assert (sent["33_frame_load_cap"], sent["34_frame_rate"]) == (40, 30)
    assert "frame_rate 50 → 30 (transport only, true timing is restored here)" in report
    assert (made.rate, made.size) == (50, (960, 720))
    assert hosted.stamps(made.path) == hosted.stamps(source)
    assert np.array_equal(heard(made.path), heard(source))


def test_a_portrait_of_four_to_three_gets_its_exact_size_back(desk):
    source = desk.comfy.input / "portrait.mp4"
    hosted.write_clip(source, 8, size=hosted.SIZE[::-1])
    made, _, sent = restored(desk, source.name)
    assert sent["35_new_resolution"] == 720
    assert made.size == (720, 960)
    assert hosted.stamps(made.path) == hosted.stamps(source)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.7", "169.254.169.254", "[fd00::1]"])
def test_a_link_to_a_private_host_is_refused_as_soon_as_run_is_pressed(desk, host):
    workflow = desk.workflow(size_by="scale", seed=next(SEEDS))
    workflow["33"]["inputs"]["path"] = f"https://{host}/clip.mp4?signature=0123456789"
    with pytest.raises(ValueError, match="is not a public address") as caught:
        desk.run(workflow)
    assert "0123456789" not in str(caught.value)
    assert (desk.service.posts, desk.service.calls) == ([], [])


@pytest.mark.parametrize("base", ["http://10.0.0.1/v1", "http://model-api.example/v1"])
def test_an_api_in_the_open_on_another_host_gets_neither_clip_nor_token(desk, base):
    with desk.environment(RUNCOMFY_MODEL_API_BASE=base):
        said = refused(desk, desk.workflow(size_by="scale", seed=next(SEEDS)))
    assert "RUNCOMFY_MODEL_API_BASE cannot be used." in said
    assert "only https is used" in said and "Nothing was sent." in said
