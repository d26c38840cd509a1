"""What goes wrong around the page: it says what is the matter, and goes on by itself when the cause is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .graphs import JOBS, TIME_MS, expect_state, load, main_job, press_run

SLOW = {"new_resolution": 720}
PANEL = ".run"


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A file in the folder's place: no folder can be made there, whoever tries; permissions do not stop root."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@pytest.mark.timeout(600)
def test_a_restart_of_the_server_is_told_and_the_run_goes_on(tabs, server, restart):
    one, other = tabs
    load(one, main_job(**SLOW))
    other.load(one.workflow())
    press_run(one)
    expect_state(tabs, "running")
    cards = []
    for tab in tabs:
        tab.page.evaluate(JOBS)
        cards.append(tab.page.locator(".jobs li").first)
        expect(cards[-1]).to_contain_text("Running", timeout=TIME_MS)
    restart()
    for tab, card in zip(tabs, cards, strict=True):
        expect(tab.page.locator(PANEL)).to_contain_text("The server was restarted", timeout=TIME_MS)
        expect(card).to_contain_text("Stopped", timeout=TIME_MS)
    expect_state(tabs, "stopped")
    cards[0].get_by_role("button", name="Continue").click()
    for card in cards:
        expect(card).to_contain_text("Running", timeout=TIME_MS)
    expect_state(tabs, "running")
    server.post("/interrupt", {})
    for card in cards:
        expect(card).to_contain_text("Stopped", timeout=TIME_MS)
    expect_state(tabs, "stopped")


def test_a_job_folder_that_cannot_be_written_is_told_and_the_next_run_goes_well(editor, server):
    jobs, page = server.output / "seedvr2_jobs", editor.page
    jobs.mkdir(parents=True, exist_ok=True)
    load(editor, main_job(seed=110 + len(editor.renderer)))
    with unwritable(jobs):
        press_run(editor)
        expect(page.locator(f"{PANEL} .state.failed")).to_be_visible(timeout=TIME_MS)
        expect(page.locator(PANEL)).to_contain_text("cannot be written")
        expect(page.locator(PANEL)).to_contain_text("Choose another job folder")
        page.evaluate(JOBS)
        expect(page.locator(".jobs")).to_contain_text("The list cannot be read: The job folder")
    press_run(editor)
    expect(page.locator(f"{PANEL} .state.done")).to_be_visible(timeout=TIME_MS)
    expect(page.locator(PANEL)).to_contain_text("24 of 24 frames", timeout=TIME_MS)
    expect(page.locator(".jobs li").first).to_contain_text("24 of 24 frames")


def test_a_dropped_connection_is_taken_up_again_at_the_end_of_a_run(tabs):
    one, other = tabs
    load(one, main_job(seed=111))
    other.load(one.workflow())
    press_run(one)
    expect_state(tabs, "running")
    for tab in tabs:
        tab.page.evaluate("() => app.api.socket.close()")
    expect_state(tabs, "done")
    for tab in tabs:
        expect(tab.page.locator(PANEL)).to_contain_text("24 of 24 frames")
