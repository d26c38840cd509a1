"""Graphs that the browser tests load, and what they look for on the page."""

from __future__ import annotations

import json
import time
from pathlib import Path

from seedvr2_anywhere.tests.nodes.real_server import write_clip
from seedvr2_anywhere.tools.frontend import Frontend

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "api" / "video_upscale.json"
LOAD, UPSCALE, COMBINE = "33", "35", "34"
EMBEDDED = "embedded (small, built in)"
TIME_MS = 120_000  # for whatever a busy machine may take
CATEGORY = "seedvr2-anywhere"  # the pack's folder, as the template browser names it
BROWSE = "() => app.extensionManager.command.execute('Comfy.BrowseTemplates')"
JOBS = "() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')"
SETTINGS = "() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')"
SECTION = '[data-nav-id$="SeedVR2 Anywhere"]'
# a result that plays, in a node of ComfyUI
RESULT_PLAYS = """async () => {
    const results = [...document.querySelectorAll('video')].filter(one => one.currentSrc.includes('type=output'))
    const times = () => results.map(one => one.currentTime)
    const before = times()
    await new Promise(done => setTimeout(done, 200))
    return times().some((time, number) => time !== before[number])
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
    """Open a workflow in API form on the page, in a tab of that name."""
    editor.page.evaluate("([workflow, name]) => app.loadApiJson(workflow, name)", [workflow, name])
    editor.settle()


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


def wait_for(look):
    """What `look` finds, once it finds something."""
    until = time.monotonic() + TIME_MS / 1000
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found
