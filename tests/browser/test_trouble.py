"""What goes wrong around the page: it says what is the matter, and goes on by itself when the cause is gone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere.tools import comfyui, frontend

from .graphs import TIME_MS, clip_into, load, main_job, press_run

SLOW = {"new_resolution": 720}
JOBS = "() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')"
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
def test_a_restart_of_the_server_is_told_and_the_run_goes_on(browser, tmp_path, frontend_options):
    clip_into(tmp_path)
    start = partial(comfyui.running, tmp_path, *frontend_options, threads=1, port=comfyui.free_port())
    with start() as first, frontend.opened(browser, first.address) as tab:
        load(tab, main_job(**SLOW))
        press_run(tab)
        expect(tab.page.locator(f"{PANEL} .state.running")).to_be_visible(timeout=TIME_MS)
        tab.page.evaluate(JOBS)
        card = tab.page.locator(".jobs li").first
        expect(card).to_contain_text("Running", timeout=TIME_MS)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with start() as second:
            expect(tab.page.locator(PANEL)).to_contain_text("The server was restarted", timeout=TIME_MS)
            expect(tab.page.locator(f"{PANEL} .state.stopped")).to_be_visible()
            expect(card).to_contain_text("Stopped", timeout=TIME_MS)
            card.get_by_role("button", name="Continue").click()
            expect(card).to_contain_text("Running", timeout=TIME_MS)
            second.post("/interrupt", {})
            expect(card).to_contain_text("Stopped", timeout=TIME_MS)
        assert tab.failures == []


def test_a_job_folder_that_cannot_be_written_is_told_and_the_next_run_goes_well(canvas, server):
    jobs, page = server.output / "seedvr2_jobs", canvas.page
    jobs.mkdir(parents=True, exist_ok=True)
    load(canvas, main_job(seed=110))
    with unwritable(jobs):
        press_run(canvas)
        expect(page.locator(f"{PANEL} .state.failed")).to_be_visible(timeout=TIME_MS)
        expect(page.locator(PANEL)).to_contain_text("cannot be written")
        expect(page.locator(PANEL)).to_contain_text("Choose another job folder")
        page.evaluate(JOBS)
        expect(page.locator(".jobs")).to_contain_text("The list cannot be read: The job folder")
    press_run(canvas)
    expect(page.locator(PANEL)).to_contain_text("24 of 24 frames", timeout=TIME_MS)
    expect(page.locator(f"{PANEL} .state.done")).to_be_visible(timeout=TIME_MS)
    expect(page.locator(".jobs li").first).to_contain_text("24 of 24 frames")


def test_a_dropped_connection_is_taken_up_again_at_the_end_of_a_run(canvas):
    load(canvas, main_job(seed=111))
    page = canvas.page
    press_run(canvas)
    expect(page.locator(f"{PANEL} .state.running")).to_be_visible(timeout=TIME_MS)
    page.evaluate("() => app.api.socket.close()")
    expect(page.locator(f"{PANEL} .state.done")).to_be_visible(timeout=TIME_MS)
    expect(page.locator(PANEL)).to_contain_text("24 of 24 frames")
