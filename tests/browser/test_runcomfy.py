"""RunComfy by clicks, against a service on this machine: a token is tried, cost is told, a lost file comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes import hosted_desk
from seedvr2_anywhere.tools import frontend

from .conftest import TOKEN_VARIABLE
from .graphs import LOAD, TIME_MS, UPSCALE, load, press_run

HOSTED = Path(__file__).resolve().parents[2] / "workflows" / "api" / "hosted_upscale.json"
JOBS = "() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')"
SETTINGS = "() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')"
SECTION = '[data-nav-id$="SeedVR2 Anywhere"]'
SHRINK = 11.25  # results are so much smaller than asked, 144 × 96: what is tested here is not the picture


@pytest.fixture
def service(played):
    """The service, for small results."""
    found, variables = played
    found.transform, found.timeline = type(found.transform)(SHRINK), ["completed"]
    found.token = variables[TOKEN_VARIABLE]
    return found


@pytest.fixture
def page(canvas, server):
    """The page and its server, which forgets the token afterwards."""
    yield canvas.page
    server.call("DELETE", "/seedvr2/token", {})


def hosted_job(video: str = "clip.mp4", **upscale: object) -> dict:
    """The bundled hosted workflow on a small clip, twice as large: 1080 lines take seconds to join."""
    found = json.loads(HOSTED.read_text(encoding="utf-8"))
    found[LOAD]["inputs"] |= {"video": video, "frame_load_cap": 0}
    found[UPSCALE]["inputs"] |= {"size_by": "scale", **upscale}
    return found


def test_a_token_is_tried_on_runcomfy(page, service):
    page.evaluate(SETTINGS)
    page.locator(SECTION).click()
    field = page.locator('input[type="password"]')
    row = page.locator(".setting", has=field)
    for token, words in (
        ("no-token-of-anybody-000000", "does not accept"),
        (service.token, "RunComfy accepts the token"),
    ):
        field.fill(token)
        row.get_by_role("button", name="Save").click()
        expect(row).to_contain_text(f"…{token[-4:]}")
        row.get_by_role("button", name="Test").click()
        expect(row.locator(".message")).to_contain_text(words, timeout=TIME_MS)
    assert service.posts == []


def test_a_hosted_job_tells_what_it_cost_and_a_lost_result_is_not_paid_again(page, server, service, canvas):
    server.call("PUT", "/seedvr2/token", {"token": service.token})
    load(canvas, hosted_job())
    canvas.run()
    expect(page.locator(".run")).to_contain_text("Done", timeout=TIME_MS)
    (job,) = [one for one in server.get("/seedvr2/jobs")["jobs"] if one["backend"] == "RunComfy"]
    page.evaluate(JOBS)
    card = page.locator(f".jobs [data-job='{job['name']}']")
    expect(card).to_contain_text("$0.25")
    result = server.output / "seedvr2_jobs" / job["name"] / "result.mp4"
    result.unlink()
    page.locator(".jobs").get_by_role("button", name="Refresh").click()
    expect(card).to_contain_text("Stopped")
    expect(card).to_contain_text("$0.25")
    card.get_by_role("button", name="Continue").click()
    expect(card).to_contain_text("Done", timeout=TIME_MS)
    assert media.count_frames(result) == 24
    assert len(service.posts) == 1


def test_a_run_of_two_requests_shows_queue_segments_and_cost(browser, server, service):
    server.call("PUT", "/seedvr2/token", {"token": service.token})
    hosted_desk.write_clip(server.input / "long.mp4", 200, cut=90)
    service.transform = type(service.transform)(hosted_desk.SHRINK)
    service.timeline = ["in_queue:3", "in_queue:1", "in_progress", "completed"]
    with frontend.opened(browser, server.address, frontend.NODES_2) as editor:
        load(editor, hosted_job("long.mp4", **{"backend.max_requests": 4}))
        press_run(editor)
        panel = editor.page.locator(".run")
        expect(panel.locator("tbody tr")).to_have_count(2, timeout=TIME_MS)
        expect(panel).to_contain_text("in the queue", timeout=TIME_MS)
        expect(panel.locator("tbody tr").first).to_contain_text("1–90")
        expect(panel).to_contain_text("Done", timeout=TIME_MS)
        expect(panel).to_contain_text("$0.50")
        expect(panel).to_contain_text("200 of 200 frames")
        assert editor.failures == []
    server.call("DELETE", "/seedvr2/token", {})
