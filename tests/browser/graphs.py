"""Graphs that the browser tests load, and what they look for on the page."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import expect
from seedvr2_anywhere.tests.nodes.real_server import write_clip
from seedvr2_anywhere.tools.frontend import Frontend

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "api" / "video_upscale.json"
LOAD, UPSCALE, COMBINE = "33", "35", "34"
RESULT = ':is(video[src*="type=output"], video[src*="type=temp"]):not(.side > video)'  # a copy where it would not play
EMBEDDED = "embedded (small, built in)"
TIME_MS = 120_000  # for whatever a busy machine may take
CATEGORY = "seedvr2-anywhere"  # the pack's folder, as the template browser names it
BROWSE = "() => app.extensionManager.command.execute('Comfy.BrowseTemplates')"
JOBS = "() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')"
SETTINGS = "() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')"
REFRESH = "() => app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')"  # of new files, too
SECTION = '[data-nav-id$="SeedVR2 Anywhere"]'
# names of what a user can act on in this pack's boxes, in their order; of these, what has the focus now
CONTROLS = """box => {
    const roots = [...document.querySelectorAll('.seedvr2')].map(one => one.shadowRoot)
    const all = roots.flatMap(one => [...one.querySelectorAll(`${box} :is(button, input, select, [tabindex="0"])`)])
    window.controls = all.filter(one => one.checkVisibility() && !one.disabled)
    return controls.map(one => one.ariaLabel ?? one.labels?.[0]?.textContent ?? one.textContent)
}"""
FOCUSED = "() => controls.indexOf(document.activeElement?.shadowRoot?.activeElement)"
# what one test leaves on the page for the next: other workflows, an open subgraph, nodes, a view, notes, a side panel
TIDY = """async () => {
    const { workflow } = app.extensionManager
    const others = workflow.openWorkflows.filter(one => one !== workflow.activeWorkflow)
    for (const one of others) await workflow.closeWorkflow(one)
    if (app.canvas.graph !== app.rootGraph) app.canvas.setGraph(app.rootGraph)
    app.rootGraph.clear()
    app.canvas.ds.reset()
    const { toast } = app.extensionManager
    toast.removeAll ? toast.removeAll() : toast.dismissAll() // newer frontends
    const { sidebarTab } = app.extensionManager
    if (sidebarTab.activeSidebarTabId) sidebarTab.toggleSidebarTab(sidebarTab.activeSidebarTabId)
}"""


def clip_into(base: Path) -> None:
    """The small clip in the input folder of a server to come."""
    (base / "input").mkdir(parents=True, exist_ok=True)
    write_clip(base / "input" / "clip.mp4")


def main_job(**upscale: object) -> dict:
    """The bundled API workflow on the small clip with the model that is always there."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found[LOAD]["inputs"]["video"] = "clip.mp4"
    found[UPSCALE]["inputs"] |= {"new_resolution": 48, "backend.model": EMBEDDED, **upscale}
    return found


def load(editor: Frontend, workflow: dict, name: str = "test") -> None:
    """Open a workflow in API form on the page, as one more tab of the editor."""
    editor.page.evaluate("([workflow, name]) => app.loadApiJson(workflow, name)", [workflow, name])
    editor.settle()


@contextlib.contextmanager
def tidied(page: Frontend) -> Iterator[Frontend]:
    """The page with an empty graph; what was told of earlier runs is still known to it."""
    page.page.evaluate(TIDY)
    yield page
    complaints = [*page.failures, *page.requests]
    page.failures.clear(), page.requests.clear()
    page.page.keyboard.press("Escape")  # a dialog that a failed test left open
    page.page.evaluate(TIDY)
    assert complaints == [], complaints


def choose_template(editor: Frontend, title: str) -> None:
    """Open the template browser, the pack's own part of it, and the template by its card."""
    page = editor.page
    page.evaluate("() => app.rootGraph.clear()")
    page.evaluate(BROWSE)
    page.get_by_role("button", name=CATEGORY).click()
    page.get_by_role("dialog").get_by_text(title, exact=True).first.click()
    page.wait_for_function("() => app.rootGraph.nodes.some(one => one.type.startsWith('SeedVR2Anywhere.'))")
    editor.settle()


def press_run(editor: Frontend) -> None:
    """Click Run; returns at once."""
    editor.page.get_by_test_id("queue-button").click()


def expect_result_plays(editor: Frontend) -> None:
    """The newest result on a node of ComfyUI plays when a user begins it by its key."""
    video = editor.page.locator(RESULT).last
    expect(video).to_be_visible(timeout=TIME_MS)
    editor.show_all()
    assert video.evaluate("one => one.currentTime") == 0
    video.focus()
    editor.page.keyboard.press("Space")
    wait_for(lambda: video.evaluate("one => one.currentTime > 0"))


@contextlib.contextmanager
def heard(page, event: str) -> Iterator[list]:
    """What Playwright tells of this kind about a page: "request", "response" …"""
    found = []

    def note(one: object) -> None:
        found.append(one)

    page.on(event, note)
    yield found
    page.remove_listener(event, note)


def expect_reached_by_tab(page, box: str) -> list[str]:
    """Every control in boxes of a class has a name and is reached from the first one by Tab alone; their names."""
    names = page.evaluate(CONTROLS, box)
    assert names and all(name.strip() for name in names)
    page.evaluate("() => controls[0].focus()")
    reached = {page.evaluate(FOCUSED)}
    for _ in range(2 * len(names)):  # other controls of the page may stand between
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
    assert [name for number, name in enumerate(names) if number not in reached] == []
    return names


def wait_for(look):
    """What `look` finds, once it finds something; for scripts that wait, which Playwright's own takes for found."""
    until = time.monotonic() + TIME_MS / 1000
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def expect_state(tabs: list[Frontend], state: str) -> None:
    """The run panel of every tab says so."""
    for tab in tabs:
        expect(tab.page.locator(f".run .state.{state}")).to_be_visible(timeout=TIME_MS)
