"""The jobs panel: what was run is listed, gone on with, saved, opened and deleted, after a restart of the page too."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere import media

from .graphs import JOBS, LOAD, TIME_MS, load, main_job, press_run, wait_for

EXAMPLE, FIRST_SHOT = "seedvr2_example.mp4", 30  # a clip of two shots
SLOW = {"new_resolution": 720}


@pytest.fixture
def panel(editor):
    """The page with the panel open and room for a run of its own."""
    editor.page.evaluate(JOBS)
    expect(editor.page.locator(".jobs")).to_be_visible()
    return editor.page.locator(".jobs")


def jobs_of(server) -> dict[str, dict]:
    """name → job, as the server lists them."""
    return {job["name"]: job for job in server.get("/seedvr2/jobs")["jobs"]}


def press_run_to_its_end(editor, panel, before: dict) -> None:
    """Run, and one finished job more on the list than `before`, where stopped ones may stand too."""
    press_run(editor)
    finished = sum(job["state"] == "done" for job in before.values())
    expect(panel.locator(".state.done")).to_have_count(1 + finished, timeout=TIME_MS)


def new_job(server, before: dict) -> str:
    """Name of the job that came since."""
    (name,) = set(jobs_of(server)) - set(before)
    return name


def test_a_finished_job_is_opened_and_deleted(editor, panel, server):
    before = jobs_of(server)
    load(editor, main_job(seed=40 + len(editor.renderer)))
    press_run_to_its_end(editor, panel, before)
    name = new_job(server, before)
    card = panel.locator(f"[data-job='{name}']")
    expect(card).to_contain_text("clip")
    expect(card).to_contain_text("72 × 48 · 24 of 24 frames")
    expect(card.locator("img")).to_be_visible()
    expect(card.get_by_role("button", name="Continue")).to_have_count(0)
    with editor.page.expect_popup() as shown:
        card.get_by_role("button", name="Open result").click()
    shown.value.wait_for_function("() => document.querySelector('video')?.readyState > 0", timeout=TIME_MS)
    shown.value.close()
    card.get_by_role("button", name="Delete").click()
    editor.page.get_by_role("button", name=re.compile("Delete$")).click()  # of the question
    expect(card).to_have_count(0)
    assert not (server.output / "seedvr2_jobs" / name).exists()


def test_a_stopped_job_goes_on_without_its_graph_after_a_reload(canvas, server):
    page, before = canvas.page, jobs_of(server)
    page.evaluate(JOBS)
    panel = page.locator(".jobs")
    load(canvas, main_job(seed=50, **SLOW))
    press_run(canvas)
    running = panel.locator("li", has=page.locator(".state.running"))
    expect(running).to_be_visible(timeout=TIME_MS)
    running.get_by_role("button", name="Cancel").click()
    expect(panel.locator(".state.running")).to_have_count(0, timeout=TIME_MS)
    name = new_job(server, before)
    page.locator(f".jobs [data-job='{name}']").get_by_role("button", name="Continue").click()
    expect(page.locator(".run .state.running")).to_be_visible(timeout=TIME_MS)  # on the node that began it
    server.post("/interrupt", {})
    expect(page.locator(".run .state.stopped")).to_be_visible(timeout=TIME_MS)
    page.evaluate("() => app.rootGraph.clear()")
    canvas.open()
    if not panel.is_visible():
        page.evaluate(JOBS)
    card = panel.locator(f"[data-job='{name}']")
    expect(card).to_contain_text("Stopped")
    card.get_by_role("button", name="Continue").click()
    expect(card).to_contain_text("Running", timeout=TIME_MS)
    server.post("/interrupt", {})
    expect(card).to_contain_text("Stopped", timeout=TIME_MS)


def test_what_is_finished_of_a_job_is_saved_as_a_file_that_plays(canvas, server):
    page, before = canvas.page, jobs_of(server)
    workflow = main_job(seed=70, new_resolution=144)
    workflow[LOAD]["inputs"]["video"] = EXAMPLE
    status, queued = server.post("/prompt", {"prompt": workflow})
    assert status == 200, queued
    (job,) = wait_for(lambda: [one for name, one in jobs_of(server).items() if name not in before and one["frames"]])
    server.post("/interrupt", {})
    page.evaluate(JOBS)
    card = page.locator(f".jobs [data-job='{job['name']}']")
    expect(card).to_contain_text("Stopped", timeout=TIME_MS)
    card.get_by_role("button", name="Save finished part").click()
    saved = wait_for(lambda: list((server.output / "video").glob("seedvr2_example_part*.mp4")))
    assert media.count_frames(saved[0]) == FIRST_SHOT
    assert media.probe(saved[0]).audio


def test_a_deleted_result_is_told_and_made_again(canvas, server):
    page = canvas.page
    page.evaluate(JOBS)
    panel = page.locator(".jobs")
    before = jobs_of(server)
    load(canvas, main_job(seed=60))
    press_run_to_its_end(canvas, panel, before)
    name = new_job(server, before)
    card = panel.locator(f"[data-job='{name}']")
    (server.output / "seedvr2_jobs" / name / "result.mp4").unlink()
    panel.get_by_role("button", name="Refresh").click()
    expect(card).to_contain_text("Stopped")
    expect(card.get_by_role("button", name="Open result")).to_have_count(0)
    card.get_by_role("button", name="Continue").click()
    expect(card).to_contain_text("Done", timeout=TIME_MS)
    assert media.count_frames(server.output / "seedvr2_jobs" / name / "result.mp4") == 24


@pytest.mark.parametrize("name", ["..%2f..", "no_such_job", "sources"])
@pytest.mark.parametrize("word", ["open", "save", "delete"])
def test_what_is_no_job_is_not_touched(server, name, word):
    status, answer = server.post(f"/seedvr2/jobs/{name}/{word}", {})
    assert status in (400, 404)
    assert "seedvr2" not in str(answer).replace("seedvr2_jobs", "") or "no job" in str(answer)
