"""RunComfy by clicks, against a service on this machine: a token is tried, cost is told, a lost file comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere import media
from seedvr2_anywhere.tests.nodes import hosted_desk

from .conftest import TOKEN_VARIABLE
from .graphs import (
    JOBS,
    LOAD,
    SECTION,
    SETTINGS,
    TIME_MS,
    UPSCALE,
    choose_template,
    expect_result_plays,
    heard,
    load,
    press_run,
    wait_for,
)
from .test_settings import KEPT

HOSTED = Path(__file__).resolve().parents[2] / "workflows" / "api" / "hosted_upscale.json"
LISTEN = "() => { window.heard = []; app.api.socket.addEventListener('message', one => heard.push(String(one.data))) }"
SHRINK = 11.25  # results are so much smaller than asked, 144 × 96: what is tested here is not the picture


@pytest.fixture
def service(played):
    """The service, for small results."""
    found, variables = played
    found.transform, found.timeline = type(found.transform)(SHRINK), ["completed"]
    found.token = variables[TOKEN_VARIABLE]
    return found


@pytest.fixture
def token(server, service):
    """A token that the server has, and forgets afterwards."""
    server.call("PUT", "/seedvr2/token", {"token": service.token})
    yield service.token
    server.call("DELETE", "/seedvr2/token", {})


def hosted_job(video: str = "clip.mp4", **upscale: object) -> dict:
    """The bundled hosted workflow on a small clip, twice as large: 1080 lines take seconds to join."""
    found = json.loads(HOSTED.read_text(encoding="utf-8"))
    found[LOAD]["inputs"] |= {"video": video, "frame_load_cap": 0}
    found[UPSCALE]["inputs"] |= {"size_by": "scale", **upscale}
    return found


def top(found) -> float:
    """Where it begins, in pixels from the top of the window."""
    return found.bounding_box()["y"]


def test_the_template_asks_for_a_token_runs_with_it_and_shows_it_nowhere(editor, server, service):
    page, panel, paid = editor.page, editor.page.locator(".run"), len(service.posts)
    choose_template(editor, "Upscale on RunComfy")
    editor.set_widget(LOAD, "frame_load_cap", 9)
    editor.set_widget(UPSCALE, "size_by", "scale")
    editor.set_widget(UPSCALE, "seed", len(editor.renderer))  # ComfyUI would skip the second renderer's run
    press_run(editor)
    expect(panel.locator(".state.failed")).to_be_visible(timeout=TIME_MS)
    expect(page.get_by_text("No RunComfy token")).to_have_count(1)  # said once, where the user looks
    assert len(service.posts) == paid
    editor.show_all()
    link, error = page.get_by_role("button", name="Open settings"), page.get_by_test_id("error-overlay")
    expect(error).to_be_visible()
    wait_for(lambda: top(link) > top(error) + error.bounding_box()["height"])  # what ComfyUI says is not covered
    link.focus()
    page.keyboard.press("Enter")
    row = token_row(page)
    with heard(page, "response") as answers:
        enter_token(row, service.token)
        page.keyboard.press("Escape")
        expect(row).to_have_count(0)
        page.evaluate(LISTEN)
        press_run(editor)
        expect(panel.locator(".state.done")).to_be_visible(timeout=TIME_MS)
    expect(panel).to_contain_text("9 of 9 frames · cost $0.25")
    expect_result_plays(editor)
    assert len(service.posts) == paid + 1
    texts = [one.text() for one in answers if "json" in one.headers.get("content-type", "")]
    kept = [*texts, *page.evaluate("heard"), page.evaluate(KEPT), json.dumps([editor.workflow(), editor.prompt()])]
    assert any("seedvr2.run" in text for text in kept)
    assert not [text for text in kept if service.token in text]
    assert not [file for file in server.output.rglob("*.*") if service.token.encode() in file.read_bytes()]
    page.evaluate(SETTINGS)
    page.locator(SECTION).click()
    row.get_by_role("button", name="Clear").click()
    expect(row).to_contain_text("Not set")
    page.keyboard.press("Escape")


def token_row(page):
    """The settings row of the token."""
    return page.locator(".setting", has=page.locator('input[type="password"]'))


def enter_token(row, token: str) -> None:
    """Type it and click Save."""
    row.locator("input").fill(token)
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text(f"…{token[-4:]}")


def test_a_token_is_tried_on_runcomfy(canvas, server, service):
    page, paid = canvas.page, len(service.posts)
    page.evaluate(SETTINGS)
    page.locator(SECTION).click()
    row = token_row(page)
    for token, words in (
        ("no-token-of-anybody-000000", "does not accept"),
        (service.token, "RunComfy accepts the token"),
    ):
        enter_token(row, token)
        row.get_by_role("button", name="Test").click()
        expect(row.locator(".message")).to_contain_text(words, timeout=TIME_MS)
    row.get_by_role("button", name="Clear").click()
    expect(row).to_contain_text("Not set")
    page.keyboard.press("Escape")
    assert len(service.posts) == paid


def test_a_hosted_job_tells_what_it_cost_and_a_lost_result_is_not_paid_again(editor, server, service, token):
    page, paid = editor.page, len(service.posts)
    load(editor, hosted_job(seed=len(editor.renderer)))
    press_run(editor)
    expect(page.locator(".run .state.done")).to_be_visible(timeout=TIME_MS)
    job = server.get("/seedvr2/jobs")["jobs"][0]  # the last touched
    assert (job["backend"], job["title"]) == ("RunComfy", "clip.mp4")
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
    assert len(service.posts) == paid + 1


def test_a_run_of_two_requests_shows_queue_segments_and_cost(tabs, server, service, token):
    hosted_desk.write_clip(server.input / "long.mp4", 200, cut=90)
    service.transform = type(service.transform)(hosted_desk.SHRINK)
    service.timeline = ["in_queue:3", "in_queue:1", "in_progress", "completed"]
    one, other = tabs
    load(one, hosted_job("long.mp4", **{"backend.max_requests": 4}))
    other.load(one.workflow())
    press_run(one)
    panels = [tab.page.locator(".run") for tab in tabs]
    for panel in panels:
        expect(panel.locator("tbody tr")).to_have_count(2, timeout=TIME_MS)
        first = panel.locator("tbody tr").first
        expect(first).to_contain_text(re.compile("queuedplace [123] in the queue"), timeout=TIME_MS)
        expect(panel.locator("tbody tr").first).to_contain_text("1–90")
    for panel in panels:
        expect(panel).to_contain_text("Done", timeout=TIME_MS)
        expect(panel).to_contain_text("2 of 2 segments · cost $0.50")
        expect(panel).to_contain_text("200 of 200 frames")


def test_what_is_finished_of_a_hosted_job_is_saved_by_a_click(canvas, server, service, token):
    page = canvas.page
    hosted_desk.write_clip(server.input / "long.mp4", 200, cut=90)
    service.transform = type(service.transform)(hosted_desk.SHRINK)
    load(canvas, hosted_job("long.mp4", seed=4, **{"backend.max_requests": 4}))
    service.plan("submit", lambda call: False, lambda call: call.reply(402, {"body": len(call.body())}))
    canvas.run()
    expect(page.locator(".run")).to_contain_text("1 of 2 segments are kept", timeout=TIME_MS)
    name = server.get("/seedvr2/jobs")["jobs"][0]["name"]
    page.evaluate(JOBS)
    card = page.locator(f".jobs [data-job='{name}']")
    expect(card).to_contain_text("90 of 200 frames")
    card.get_by_role("button", name="Save finished part").click()
    expect(page.get_by_text("90 frames in video/long_part").last).to_be_visible(timeout=TIME_MS)
    (saved,) = (server.output / "video").glob("long_part*.mp4")
    assert media.count_frames(saved) == 90
    assert media.probe(saved).audio
