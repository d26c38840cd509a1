"""Take the pictures of the help pages from the real frontend, while and after it restores the example clip.

python3 tools/help_pictures.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from environment import ENV, ROOT, reexec_inside

TARGET = ROOT / "js" / "docs" / "pictures"
WORKFLOW = ROOT / "workflows" / "api" / "video_upscale.json"
LOAD, UPSCALE, COMBINE, COMPARE = "33", "35", "34", "36"
WIDGETS = {"align": "start", "start_time": 0.0, "duration": 30.0, "longest_side": 1920}
PLACES = {LOAD: (40, 60), UPSCALE: (380, 60), COMBINE: (760, 60), COMPARE: (40, 800)}
SIZES = {COMBINE: (300, 520), COMPARE: (460, 520)}
WINDOW = {"width": 1900, "height": 1500}
QUALITY = 80
TIME_MS = 300_000
PLAYS = "[...document.querySelectorAll('.seedvr2')].some(one => one.shadowRoot.querySelector('video')?.readyState > 2)"
ARRANGE = """([places, sizes]) => {
    for (const [id, place] of Object.entries(places)) app.rootGraph.getNodeById(id).pos = place
    for (const [id, size] of Object.entries(sizes)) app.rootGraph.getNodeById(id).setSize(size)
}"""


def main() -> int:
    """Take them all; exit code 0."""
    import comfyui
    import frontend

    TARGET.mkdir(parents=True, exist_ok=True)
    with (
        comfyui.running(ROOT / ".work" / "pictures") as server,
        frontend.browser() as browser,
        frontend.opened(browser, server.address, frontend.NODES_2, WINDOW) as editor,
    ):
        editor.page.evaluate("workflow => app.loadApiJson(workflow, 'help')", graph())
        editor.page.evaluate(ARRANGE, [PLACES, SIZES])
        editor.show_all()
        editor.page.get_by_test_id("queue-button").click()
        editor.page.locator(".run .state.running").wait_for(timeout=TIME_MS)
        # with the speed the time left is shown, too
        editor.page.wait_for_function("() => [...document.querySelectorAll('.seedvr2')].some("
                                      "one => / fps/.test(one.shadowRoot.textContent))", timeout=TIME_MS)  # fmt: skip
        take(editor, "run", UPSCALE)
        editor.page.wait_for_function(PLAYS, timeout=TIME_MS)
        editor.settle(2000)
        take(editor, "graph", LOAD, UPSCALE)
        take(editor, "combine", COMBINE)
        take(editor, "compare", COMPARE)
    return 0


def graph() -> dict:
    """The bundled workflow on the example clip, and a Compare node; a seed of its own so that nothing is reused."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found[UPSCALE]["inputs"] |= {"new_resolution": 360, "seed": int(time.time())}
    inputs = {"before": [LOAD, 0], "after": [UPSCALE, 0], **WIDGETS}
    return found | {COMPARE: {"class_type": "SeedVR2Anywhere.Compare", "inputs": inputs}}


def take(editor, name: str, *nodes: str) -> None:
    """Cut the nodes out of what the window shows."""
    boxes = [editor.page.locator(f"[data-node-id='{node}']").bounding_box() for node in nodes]
    left, top = (min(box[axis] for box in boxes) - 8 for axis in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + 8
    bottom = max(box["y"] + box["height"] for box in boxes) + 8
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    path: Path = TARGET / f"{name}.jpg"
    editor.page.screenshot(path=str(path), clip=clip, type="jpeg", quality=QUALITY)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    raise SystemExit(main())
