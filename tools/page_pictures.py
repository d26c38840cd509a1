"""Take the pictures of docs/page.md from the real frontend, each subject in both of ComfyUI's renderers.

python3 tools/page_pictures.py              all of them
python3 tools/page_pictures.py jobs help    these subjects only
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environment import ENV, ROOT, reexec_inside

TARGET = ROOT / "docs" / "pictures" / "page"
WORKFLOW = ROOT / "workflows" / "api" / "before_and_after.json"
LOAD, UPSCALE, COMPARE = "33", "35", "36"
NODE = "SeedVR2Anywhere.Upscale"
RESOLUTION = 216
FRAME = 20  # of the comparison, in the first shot
WINDOW = {"width": 1360, "height": 1100}
PLAIN = {"Comfy.NodeBadge.NodeSourceBadgeMode": "None"}  # no name of the pack above its nodes
QUALITY, LARGEST = 80, 80_000  # of JPEG; bytes
SPARE = 60  # pixels below the last setting
MARGIN, SETTLE_MS, TIME_MS = 8, 1500, 300_000
SHADOWS = "[...document.querySelectorAll('.seedvr2')].map(one => one.shadowRoot)"
# with the speed the time left is shown, too
IS_UNDER_WAY = f"() => {SHADOWS}.some(one => / left/.test(one.querySelector('.run .facts')?.textContent))"
IS_LOADED = f"() => {SHADOWS}.some(one => one.querySelector('.compare video')?.readyState > 2)"
JOBS = "() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')"
SETTINGS = "() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')"
SECTION = '[data-nav-id$="SeedVR2 Anywhere"]'
# the folder that this ComfyUI was made in for the pictures alone
AT_HOME = f"""() => {SHADOWS}.flatMap(one => [...one.querySelectorAll('.setting .plan')])
    .forEach(one => {{ one.textContent = one.textContent.replace(/^.*(?=.ComfyUI.output)/, '~') }})"""
APART = """id => {
    const node = app.rootGraph.getNodeById(id)
    node.pos = [0, 2000]
    node.setSize([460, 520])
}"""
FOCUS = """id => {
    const node = app.rootGraph.getNodeById(id)
    app.canvas.ds.scale = 1
    app.canvas.centerOnNode(node)
    app.canvas.setDirty(true, true)
}"""
AREA = """id => {
    const node = app.rootGraph.getNodeById(id)
    const shown = document.querySelector(`[data-node-id="${id}"]`)?.getBoundingClientRect()
    if (shown) return [shown.left, shown.top, shown.right, shown.bottom]
    const { scale, offset } = app.canvas.ds
    const { left, top } = app.canvas.canvas.getBoundingClientRect()
    const [x, y] = [(node.pos[0] + offset[0]) * scale + left, (node.pos[1] + offset[1]) * scale + top]
    return [x, y - LiteGraph.NODE_TITLE_HEIGHT * scale, x + node.size[0] * scale, y + node.size[1] * scale]
}"""


def main(wanted: list[str]) -> int:
    """Take them all, or those of some subjects; exit code 0."""
    import comfyui
    import frontend

    with (
        tempfile.TemporaryDirectory() as folder,
        comfyui.running(Path(folder) / "ComfyUI") as server,
        frontend.browser() as browser,
    ):
        for renderer in frontend.RENDERERS:
            with frontend.opened(browser, server.address, renderer, WINDOW, PLAIN) as editor:
                take_all(editor, wanted)
    return 0


def take_all(editor: Any, wanted: list[str]) -> None:
    """All subjects in their order, since each goes on from the one before; those that are wanted are saved."""
    suffix = editor.renderer.replace(" ", "_").replace(".", "")
    for subject, take in SUBJECTS.items():
        box = take(editor)
        if not wanted or subject in wanted:
            save(editor, box, TARGET / f"{subject}_{suffix}.jpg")


def run(editor: Any) -> tuple[float, ...]:
    """The Upscale node, once its speed is known."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found[UPSCALE]["inputs"] |= {"new_resolution": RESOLUTION, "seed": int(time.time())}  # nothing is reused
    editor.page.evaluate("workflow => app.loadApiJson(workflow, 'film')", found)
    editor.page.evaluate(APART, COMPARE)
    look_at(editor, UPSCALE)
    editor.page.get_by_test_id("queue-button").click()
    editor.page.wait_for_function(IS_UNDER_WAY, timeout=TIME_MS)
    return look_at(editor, UPSCALE)


def compare(editor: Any) -> tuple[float, ...]:
    """The comparison, standing at a frame."""
    editor.page.wait_for_function(IS_LOADED, timeout=TIME_MS)
    look_at(editor, COMPARE)
    editor.page.get_by_role("button", name="Play or pause").click()
    editor.page.get_by_label("Position").fill(str(FRAME))
    return look_at(editor, COMPARE)


def jobs(editor: Any) -> tuple[float, ...]:
    """The list, with a run that was stopped on it."""
    look_at(editor, UPSCALE)
    editor.set_widget(UPSCALE, "new_resolution", 2 * RESOLUTION)
    editor.page.get_by_test_id("queue-button").click()
    editor.page.locator(".run .state.running").wait_for(timeout=TIME_MS)
    editor.page.evaluate(JOBS)
    panel = editor.page.locator(".jobs")
    panel.get_by_role("button", name="Cancel").click(timeout=TIME_MS)
    panel.locator(".state.running").wait_for(state="detached", timeout=TIME_MS)
    editor.settle(SETTLE_MS)
    return edges(panel)


def settings(editor: Any) -> tuple[float, ...]:
    """The section of the settings, nothing set."""
    editor.page.evaluate(JOBS)
    editor.page.evaluate(SETTINGS)
    editor.page.locator(SECTION).click()
    editor.page.locator('input[type="password"]').wait_for()
    editor.settle(SETTLE_MS)
    editor.page.evaluate(AT_HOME)
    left, top, right, _ = edges(editor.page.get_by_role("dialog").last)
    return left, top, right, edges(editor.page.locator(".setting").last)[3] + SPARE


def help_page(editor: Any) -> tuple[float, ...]:
    """The help beside the node."""
    editor.page.keyboard.press("Escape")
    look_at(editor, UPSCALE)
    editor.page.evaluate("id => app.canvas.selectNode(app.rootGraph.getNodeById(id))", UPSCALE)
    editor.page.get_by_test_id("info-button").click()
    content = editor.page.locator(".node-help-content")
    content.locator("img").first.wait_for(timeout=TIME_MS)
    editor.settle(SETTLE_MS)
    return edges(content)


SUBJECTS: dict[str, Callable[[Any], tuple[float, ...]]] = {
    "run": run, "compare": compare, "jobs": jobs, "settings": settings, "help": help_page,
}  # fmt: skip


def look_at(editor: Any, node: str) -> tuple[float, ...]:
    """Bring a node into the middle, life-size; where it is then."""
    editor.page.evaluate(FOCUS, node)
    editor.settle()
    left, top, right, bottom = editor.page.evaluate(AREA, node)
    return left, top, right, bottom


def edges(locator: Any) -> tuple[float, ...]:
    """Left, top, right and bottom of an element."""
    box = locator.bounding_box()
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def save(editor: Any, box: tuple[float, ...], path: Path) -> None:
    """Cut it out of the window. Raises ValueError when the file becomes large."""
    from PIL import Image

    shot = Image.open(io.BytesIO(editor.page.screenshot())).convert("RGB")
    left, top, right, bottom = box
    picture = shot.crop((max(0, int(left) - MARGIN), max(0, int(top) - MARGIN),
                         min(shot.width, int(right) + MARGIN), min(shot.height, int(bottom) + MARGIN)))  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=QUALITY, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {picture.width} × {picture.height}, {size / 1000:.0f} kB", flush=True)
    if size > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST} bytes")


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    raise SystemExit(main(sys.argv[1:]))
