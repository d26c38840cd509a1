"""The live run on the Upscale node: what is told is shown, after a reload and a lost connection too."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from playwright.sync_api import expect
from seedvr2_anywhere.tools.frontend import Frontend

from .graphs import COMBINE, TIME_MS, UPSCALE, expect_state, load, main_job, press_run, wait_for

PANEL = ".run"
TELL = "status => app.api.dispatchCustomEvent('seedvr2.run', {workflow: app.rootGraph.id, ...status})"
GRAPH = "() => app.rootGraph.id"
HOSTED = {
    "node": UPSCALE, "prompt": "1", "backend": "RunComfy", "state": "running",
    "plan": "48 × 32 → 72 × 48, 2 segments", "stage": "Waiting for RunComfy", "frames": 160,
    "expected": 300, "frames_per_second": 3.214, "seconds_left": 75.0, "elapsed_seconds": 61,
    "takes_seconds": None, "shot": None, "cost_usd": 0.14, "job": "clip_1", "text": "",
    "segments": [
        {"index": 0, "first": 0, "last": 159, "state": "done", "text": "", "request": "abc"},
        {"index": 1, "first": 144, "last": 299, "state": "queued", "text": "3 before it", "request": "abd"},
    ],
}  # fmt: skip
# of the classic canvas and of Nodes 2.0
PREVIEW_SHOWN = """id => app.rootGraph.getNodeById(id).imgs?.some(one => one.naturalWidth)
    || [...document.querySelectorAll(`[data-node-id="${id}"] img`)].some(one => one.naturalWidth > 32)"""
SLOW = {"new_resolution": 720}


@contextlib.contextmanager
def disconnected(page) -> Iterator[None]:
    """The page's socket is lost and cannot be opened anew until the end."""
    is_reachable = False
    page.route_web_socket(
        re.compile("/ws"), lambda socket: socket.connect_to_server() if is_reachable else socket.close()
    )
    page.evaluate("() => app.api.socket.close()")
    yield
    is_reachable = True


def test_a_run_shows_its_plan_and_its_end_and_saves_nothing_of_it(editor):
    load(editor, main_job(seed=len(editor.renderer)))  # another run for each renderer: ComfyUI would skip the second
    saved = editor.workflow()
    expect(editor.page.locator(PANEL)).to_have_count(0)
    press_run(editor)
    panel = editor.page.locator(PANEL)
    expect(panel.locator(".state.done, .state.failed")).to_be_visible(timeout=TIME_MS)
    expect(panel).to_contain_text("Done")
    expect(panel).to_contain_text("24 of 24 frames")
    expect(panel).to_contain_text("48 × 32 → 72 × 48")
    editor.page.wait_for_function(PREVIEW_SHOWN, arg=UPSCALE)
    box = panel.bounding_box()
    assert box and box["height"] > 40 and box["width"] > 100
    assert [one["widgets_values"] for one in editor.workflow()["nodes"]] == [
        one["widgets_values"] for one in saved["nodes"]
    ]


def test_a_run_that_comfyui_had_in_store_says_so(editor):
    load(editor, main_job(seed=5 + len(editor.renderer)))
    press_run(editor)
    panel = editor.page.locator(PANEL)
    expect(panel.locator(".state.done")).to_be_visible(timeout=TIME_MS)
    expect(panel).not_to_contain_text("Reused")
    editor.set_widget(COMBINE, "filename_prefix", "again")  # so that something is left to do
    press_run(editor)
    expect(panel).to_contain_text("Reused, nothing computed or paid.", timeout=TIME_MS)
    expect(panel).to_contain_text("24 of 24 frames")
    editor.page.evaluate("() => app.rootGraph.clear()")
    load(editor, main_job(seed=5 + len(editor.renderer)))
    expect(editor.page.locator(PANEL)).to_have_count(0)
    press_run(editor)
    expect(editor.page.locator(PANEL)).to_contain_text("Reused, nothing computed or paid.", timeout=TIME_MS)


def test_an_unsaved_graph_does_not_show_the_run_of_another_one_and_still_its_own(editor):
    load(editor, main_job(seed=30 + len(editor.renderer)), "first")
    first = editor.page.evaluate(GRAPH)
    press_run(editor)
    panel = editor.page.locator(PANEL)
    expect(panel.locator(".state.done")).to_be_visible(timeout=TIME_MS)
    load(editor, main_job(seed=1), "second")
    assert editor.page.evaluate(GRAPH) != first  # no key that both have
    expect(panel).to_have_count(0)
    editor.page.get_by_text("first", exact=True).first.click()
    expect(panel).to_contain_text("24 of 24 frames")
    assert editor.page.evaluate(GRAPH) == first


def test_until_frames_are_finished_stage_and_passing_time_are_told_and_what_was_foretold(editor):
    load(editor, main_job())
    panel, local = editor.page.locator(PANEL), HOSTED | {"backend": "local", "segments": [], "cost_usd": None}
    begun = local | {"frames": 0, "shot": None, "frames_per_second": None, "seconds_left": None}
    editor.page.evaluate(TELL, begun | {"stage": "Encoding", "takes_seconds": [40.2, 75]})
    expect(panel.locator(".facts")).to_have_text("takes 40 s to 1 min 15 s")
    for seconds in (2, 3):
        expect(panel.get_by_role("timer")).to_have_text(f"1 min {seconds} s")  # nothing was told meanwhile
    for frames, value in ((0, None), (30, "0.1")):
        editor.page.evaluate(TELL, local | {"stage": "Encoding", "frames": frames, "shot": 1})
        expect(editor.page.locator(PANEL)).to_contain_text("Encoding · shot 1")
        bar = editor.page.locator(PANEL).get_by_role("progressbar", name=f"{frames} of 300 frames")
        expect(bar).to_be_visible()
        assert bar.get_attribute("value") == value


def test_a_run_that_fails_before_its_panel_is_loaded_ends_as_failed(editor):
    load(editor, main_job())
    editor.page.evaluate(f"all => all.forEach({TELL})", [HOSTED, HOSTED | {"state": "failed", "text": "No."}])
    expect(editor.page.locator(f"{PANEL} .state.failed")).to_be_visible()
    editor.settle()
    expect(editor.page.locator(f"{PANEL} .state.failed")).to_be_visible()


def test_hosted_segments_time_and_cost_are_shown_and_go_with_the_node(editor):
    load(editor, main_job())
    editor.page.evaluate(TELL, HOSTED)
    panel = editor.page.locator(PANEL)
    expect(panel).to_contain_text("160 of 300 frames · 3.21 fps · 1 min 15 s left · 1 of 2 segments · $0.14 so far")
    expect(panel.locator("tbody tr")).to_have_count(2)
    expect(panel.locator("tbody tr").nth(1)).to_contain_text("145–300")
    expect(panel.locator("tbody tr").nth(1)).to_contain_text("3 before it")
    expect(panel.get_by_role("progressbar")).to_have_attribute("value", str(160 / 300))
    editor.page.evaluate("id => app.rootGraph.remove(app.rootGraph.getNodeById(id))", UPSCALE)
    expect(panel).to_have_count(0)


def test_what_is_not_of_this_graph_is_not_shown(editor):
    load(editor, main_job())
    for other in ({"workflow": "of another tab"}, {"workflow": None}, {"node": "33"}, {"node": "99"}, {"node": "35:1"}):
        editor.page.evaluate(TELL, HOSTED | other)
    editor.settle()
    expect(editor.page.locator(PANEL)).to_have_count(0)
    editor.page.evaluate(TELL, HOSTED)
    expect(editor.page.locator(PANEL)).to_have_count(1)


def test_after_a_lost_connection_the_newest_of_several_runs_is_shown(editor):
    load(editor, main_job())
    page, newest = editor.page, HOSTED | {"prompt": "2", "plan": "1080 × 720"}
    workflow = page.evaluate("() => app.rootGraph.id")
    for state, word in (("stopped", "Stopped"), ("running", "Running"), ("failed", "Failed")):
        text = f"{word} meanwhile."
        elsewhere = HOSTED | {"prompt": "9", "node": "99"}
        told = [HOSTED | {"state": "done"}, elsewhere, newest | {"state": state, "text": text}]
        told = [{"workflow": workflow, **one} for one in told]
        page.route("**/seedvr2/runs", lambda route, _request, told=told: route.fulfill(json=told))
        page.evaluate(TELL, newest)
        expect(page.locator(PANEL)).to_contain_text("1080 × 720")
        page.evaluate("() => app.api.dispatchCustomEvent('reconnected')")
        expect(page.locator(PANEL)).to_contain_text(text)
        expect(page.locator(f"{PANEL} .state")).to_have_text(word)
        expect(page.locator(PANEL)).to_contain_text("1080 × 720")
    page.unroute("**/seedvr2/runs")


def test_a_run_is_shown_again_after_a_reload_and_after_a_lost_connection(tabs, server):
    """A run of the same node is over already, and the slow one stops while nobody hears it."""
    one, other = tabs
    load(one, main_job(seed=2))
    other.load(one.workflow())
    press_run(one)
    expect_state(tabs, "done")
    one.set_widget(UPSCALE, "new_resolution", SLOW["new_resolution"])
    press_run(one)
    expect_plan(tabs, "1080 × 720")
    for tab in tabs:
        tab.open()
    expect_state(tabs, "running")
    expect_plan(tabs, "1080 × 720")
    with disconnected(one.page), disconnected(other.page):
        server.post("/interrupt", {})
        wait_for(lambda: server.get("/seedvr2/runs")[-1]["state"] == "stopped")
        expect_state(tabs, "running")
    expect_state(tabs, "stopped")
    for tab in tabs:
        expect(tab.page.locator(PANEL)).to_contain_text("Run continues")
    expect_plan(tabs, "1080 × 720")


def expect_plan(tabs: list[Frontend], words: str) -> None:
    """The run panel of every tab holds these words."""
    for tab in tabs:
        expect(tab.page.locator(PANEL)).to_contain_text(words, timeout=TIME_MS)
