"""What the node says when RunComfy refuses, fails or is silent, and the ways a clip gets there, in the real ComfyUI."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes import hosted_desk as hosted
from seedvr2_anywhere.tests.nodes.apart import run_apart

DOCUMENT = hosted.ROOT / "docs" / "runcomfy.md"
BEGIN, END = "<!-- said by the node -->\n", "<!-- end -->"
MAY_WRITE = "SEEDVR2_WRITE_DOCS"
NO_LINK = {"detail": [{"loc": ["body", "33_video"], "msg": "must be a URL"}]}
answer = hosted.runcomfy().answer


# case → (endpoint of the service, its answers there), widgets
FAILURES: dict[str, tuple[tuple[str, list[Callable]] | None, dict]] = {
    "token refused": (("submit", [answer(400, {"error_code": 400004, "message": "token expired"})]), {}),
    "no credit": (("submit", [answer(400, {"error_code": 400002, "message": "Insufficient balance"})]), {}),
    "refused by RunComfy, or no way to send the clip": (("submit", [answer(422, NO_LINK)]), {}),
    "setting out of range": (None, {"new_resolution": 2160, "size_by": "short side"}),
    "spending limit": (None, {"backend__spend_limit_usd": 0.1}),
    "answer lost": (("submit", [hosted.runcomfy().accepted_then_dropped]), {}),
    "failed at RunComfy": (("result", [answer(200, {"status": "failed", "error": "CUDA out of memory"})]), {}),
}


def said_by(desk, widgets: dict) -> str:
    """The message of a run that fails."""
    said = hosted.error_of(desk.comfy.run(desk.workflow(**{"size_by": "scale", **widgets}), hosted.SECONDS))
    assert desk.token not in said
    return said


def all_said(desk) -> dict[str, str]:
    """Each case with what the node said."""
    desk.comfy.call("DELETE", "/seedvr2/token", {})
    found = {"no token": said_by(desk, {"seed": 1})}
    desk.save_token()
    for seed, (case, (fault, widgets)) in enumerate(FAILURES.items(), start=50):
        desk.forget()
        if fault:
            desk.service.plan(fault[0], *fault[1])
        found[case] = said_by(desk, {"seed": seed, **widgets})
    desk.forget()
    desk.service.plan("status", *[answer(500, {})] * 2)
    told, _, _ = run_apart(hosted.run_watched(desk, desk.workflow(size_by="scale", seed=80)))
    lines = [one["text"] for status in told for one in status.get("segments", ())]
    found["trouble while waiting (the line of the segment)"] = next(line for line in lines if "trouble" in line)
    desk.forget()
    desk.service.timeline = ["in_progress"]
    told, _, _ = run_apart(hosted.run_watched(desk, desk.workflow(size_by="scale", seed=81), is_running))
    found["stopped while running"] = next(status["text"] for status in reversed(told) if "state" in status)
    return found


def is_running(status: dict) -> bool:
    return any(one["state"] == "running" for one in status["segments"])


def as_example(desk, text: str) -> str:
    """Without what differs from run to run."""
    text = text.strip().replace(desk.service.base, "https://model-api.runcomfy.net/v1")
    text = re.sub(r"http://127\.0\.0\.1:\d+", "https://cdn.example", text)
    text = re.sub(r"req-\d+", "req-0001", re.sub(r"type [0-9a-f]{6} into", "type 410430 into", text))
    return re.sub(r", \d+:\d\d(?=, connection)", ", 0:02", text)


def test_the_document_shows_what_the_node_says_in_the_most_likely_failures(desk):
    rows = [f"| {case} | {as_example(desk, text)} |\n" for case, text in all_said(desk).items()]
    table = "".join(["\n| case | text |\n|---|---|\n", *rows, "\n"])
    document = DOCUMENT.read_text(encoding="utf-8")
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    if os.environ.get(MAY_WRITE):
        document = before + BEGIN + table + END + after
        DOCUMENT.write_text(document, encoding="utf-8")
    assert table in document, table


def test_the_clip_s_own_link_is_passed_through_unchanged(desk, tmp_path):
    hosted.write_clip(tmp_path / "clip.mp4", 40)
    link = desk.service.base.removesuffix("/v1") + "/storage/clip.mp4?signed=%2Fa%3D"
    desk.service.stored["/storage/clip.mp4"] = (tmp_path / "clip.mp4").read_bytes()
    workflow = desk.workflow(size_by="scale", seed=31)
    workflow["33"]["inputs"]["path"] = link
    made = hosted.saved(desk, desk.run(workflow))
    assert [post["33_video"] for post in desk.service.posts] == [link]
    assert (media.count_frames(made.path), made.rate, len(made.audio)) == (40, hosted.RATE, 1)


def test_a_clip_goes_through_the_configured_storage_when_the_request_may_not_carry_it(desk):
    place = desk.service.base.removesuffix("/v1") + "/storage/{name}"
    desk.settings(storage="presigned", storage_put_url=place, storage_get_url=place)
    desk.service.plan("submit", answer(422, NO_LINK))
    try:
        entry = desk.run(desk.workflow(size_by="scale", seed=32))
    finally:
        desk.settings(storage="none")
    first, second = (post["33_video"] for post in desk.service.posts)
    assert first.startswith("data:video/mp4;base64,")
    assert second.startswith(place.removesuffix("{name}")) and len(desk.service.requests) >= 1
    assert media.count_frames(hosted.saved(desk, entry).path) == hosted.FRAMES


def test_after_a_failed_segment_the_message_names_a_file_that_plays(desk):
    desk.service.plan("submit", hosted.runcomfy().normal, answer(400, {"error_code": 400002, "message": "no credit"}))
    workflow = desk.workflow(size_by="scale", seed=33, backend__max_requests=4)
    workflow["33"]["inputs"] |= {"video": hosted.LONG, "frame_load_cap": 0}
    said = hosted.error_of(desk.comfy.run(workflow, hosted.SECONDS))
    assert "1 of 2 segments are kept; Run continues with the rest." in said
    found = re.search(r"played already: in (.+), (segment-\w+\.mp4) \(frames 0–89\)\.", said)
    assert found, said
    assert media.count_frames(Path(found[1]) / found[2]) == 90
