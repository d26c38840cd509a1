"""A real run on RunComfy's test service, as the page shows it: queue, segments, cost, end."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere.tests.nodes import test_hosted as hosted
from seedvr2_anywhere.tools import comfyui, frontend

from .graphs import TIME_MS, load, press_run

TIMELINE = ["in_queue:3", "in_queue:1", "in_progress", "completed"]


@pytest.fixture(scope="module")
def desk(browser, tmp_path_factory):
    """ComfyUI and the service, with a clip of two shots."""
    base = tmp_path_factory.mktemp("hosted_page")
    (base / "input").mkdir()
    hosted.write_clip(base / "input" / "long.mp4", 200, cut=90)
    servers = hosted.runcomfy()
    with servers.running() as service:
        service.transform = servers.pictures().Upscaler(shrink=hosted.SHRINK, seed=4)
        service.timeline = TIMELINE
        variables = {"RUNCOMFY_API_TOKEN": servers.TOKEN, "RUNCOMFY_MODEL_API_BASE": service.base}
        with comfyui.running(base, threads=1, variables=variables) as comfy:
            yield hosted.Desk(comfy, service, servers.TOKEN)


def two_requests(seed: int) -> dict:
    found = json.loads(hosted.WORKFLOW.read_text(encoding="utf-8"))
    found["33"]["inputs"] |= {"video": "long.mp4", "frame_load_cap": 0}
    found["35"]["inputs"] |= {"size_by": "scale", "seed": seed, "backend.max_requests": 4}
    return found


@pytest.mark.parametrize("renderer", frontend.RENDERERS)
def test_a_hosted_run_shows_queue_segments_and_cost(browser, desk, renderer):
    with frontend.opened(browser, desk.comfy.address, renderer) as editor:
        load(editor, two_requests(len(renderer)))
        press_run(editor)
        panel = editor.page.locator(".run")
        expect(panel.locator("tbody tr")).to_have_count(2, timeout=TIME_MS)
        expect(panel).to_contain_text("in the queue", timeout=TIME_MS)
        expect(panel.locator("tbody tr").first).to_contain_text("1–90")
        expect(panel).to_contain_text("Done", timeout=TIME_MS)
        expect(panel).to_contain_text("$0.50")
        expect(panel).to_contain_text("200 of 200 frames")
        assert editor.failures == []
