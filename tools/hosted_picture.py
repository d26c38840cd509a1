"""Take the picture of the Upscale node during a run on RunComfy, played by the test service, from the real frontend.

.env/venv/bin/python tools/hosted_picture.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import comfyui
import frontend
import pack
from PIL import Image

pack.load()

TARGET = comfyui.ROOT / "docs" / "pictures" / "hosted_run.jpg"
WORKFLOW = comfyui.ROOT / "workflows" / "api" / "hosted_upscale.json"
WINDOW = {"width": 1300, "height": 1500}
TIME_MS, QUALITY, MARGIN = 300_000, 85, 8


def main() -> None:
    """Take it."""
    from seedvr2_anywhere.tests.nodes import hosted_desk as hosted

    servers = hosted.runcomfy()
    with tempfile.TemporaryDirectory() as folder, servers.running() as service, frontend.browser() as browser:
        base = Path(folder)
        (base / "input").mkdir()
        hosted.write_clip(base / "input" / "long.mp4", 200, cut=90)
        service.transform = servers.pictures().Upscaler(shrink=hosted.SHRINK, seed=4)
        service.timeline = ["in_queue:2", "in_progress", "completed"]
        variables = {"RUNCOMFY_API_TOKEN": servers.TOKEN, "RUNCOMFY_MODEL_API_BASE": service.base}
        with (
            comfyui.running(base, variables=variables) as server,
            frontend.opened(browser, server.address, frontend.NODES_2, WINDOW) as editor,
        ):
            take(editor)


def take(editor) -> None:
    """Run, wait until one segment is done and the other one queued, and cut the node out."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found["33"]["inputs"] |= {"video": "long.mp4", "frame_load_cap": 0}
    found["35"]["inputs"] |= {"size_by": "scale", "backend.max_requests": 4, "backend.in_flight": 1}
    editor.page.evaluate("workflow => app.loadApiJson(workflow, 'hosted')", found)
    editor.show_all()
    editor.page.get_by_test_id("queue-button").click()
    rows = editor.page.locator(".run tbody tr")
    rows.nth(1).wait_for(timeout=TIME_MS)
    editor.page.wait_for_function(
        "() => [...document.querySelectorAll('.seedvr2')].some(one => {"
        " const rows = [...(one.shadowRoot ?? one).querySelectorAll('tbody tr')].map(row => row.textContent);"
        " return rows.length === 2 && /done/i.test(rows[0]) && /queue/.test(rows[1]) })", timeout=TIME_MS)  # fmt: skip
    editor.settle(300)
    box = editor.page.locator("[data-node-id='35']").bounding_box()
    clip = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "width": box["width"] + 2 * MARGIN,
            "height": box["height"] + 2 * MARGIN}  # fmt: skip
    editor.page.screenshot(path=str(TARGET), clip=clip, type="jpeg", quality=QUALITY)
    print(f"{TARGET.relative_to(comfyui.ROOT)}: {Image.open(TARGET).size}, {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
