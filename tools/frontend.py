"""ComfyUI's page in a real browser, for tests and for the pictures of the documentation.

The browser is Debian's Chromium, driven by Playwright; the page is whatever frontend the given server delivers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CANVAS, NODES_2 = "canvas", "nodes 2.0"  # the two ways the frontend draws nodes
RENDERERS = (CANVAS, NODES_2)
WINDOW = {"width": 1400, "height": 900}
READY_MS, RUN_SECONDS = 180_000, 1_800  # limits for hangs
# otherwise the template dialog covers a new user's graph, and the small map a node below it; the server keeps what an
# earlier page chose
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Locale": "en", "Comfy.Minimap.Visible": False}
# the page opens its own default workflow at the end of its start; whatever is loaded before that is overwritten
IS_READY = "window.app?.vueAppReady && app.rootGraph && app.extensionManager?.workflow?.activeWorkflow"
BOX = """() => {
    const { scale, offset } = app.canvas.ds
    const area = app.canvas.canvas.getBoundingClientRect()
    const at = (pos, start, shift) => (pos + shift) * scale + start
    const nodes = app.rootGraph.nodes
    return [
        Math.min(...nodes.map(one => at(one.pos[0], area.left, offset[0]))),
        Math.min(...nodes.map(one => at(one.pos[1] - LiteGraph.NODE_TITLE_HEIGHT, area.top, offset[1]))),
        Math.max(...nodes.map(one => at(one.pos[0] + one.size[0], area.left, offset[0]))),
        Math.max(...nodes.map(one => at(one.pos[1] + one.size[1], area.top, offset[1]))),
    ]
}"""
PLAYED = "() => [...document.querySelectorAll('video')].filter(one => one.readyState >= 2).length"


@dataclass
class Frontend:
    """An open page with the graph editor; `page` is Playwright's, for all that is not here."""

    page: Any
    renderer: str
    address: str
    settings: dict  # of ComfyUI; the server keeps them for all pages, each is opened with its own
    failures: list[str] = field(default_factory=list)  # uncaught exceptions; errors and warnings about our own files
    requests: list[str] = field(default_factory=list)  # addresses asked for outside the server

    def open(self) -> None:
        """Load the page, or load it anew; ready for use when this returns."""
        self.page.context.request.post(f"{self.address}/settings", data=self.settings)
        self.page.goto(self.address)
        self.page.wait_for_function(IS_READY, timeout=READY_MS)
        self.page.wait_for_load_state("networkidle")

    def load(self, workflow: dict) -> None:
        """Open a workflow as dropping its file on the page does."""
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
        self.settle()

    def settle(self, milliseconds: int = 500) -> None:
        """Let the page draw."""
        self.page.wait_for_timeout(milliseconds)

    def widgets(self, node: int | str) -> dict[str, Any]:
        """name → value of a node's widgets, choices behind a choice included, in the order shown."""
        return self.page.evaluate(
            "id => Object.fromEntries((app.rootGraph.getNodeById(id).widgets ?? [])"
            ".map(one => [one.name, ['string', 'number', 'boolean'].includes(typeof one.value) ? one.value : null]))",
            node,
        )

    def set_widget(self, node: int | str, name: str, value: object) -> None:
        """Choose a value as a user does, callbacks included."""
        self.page.evaluate(
            """([id, name, value]) => {
                const node = app.rootGraph.getNodeById(id)
                const widget = node.widgets.find(one => one.name === name)
                widget.value = value
                widget.callback?.(value, app.canvas, node)
            }""",
            [node, name, value],
        )
        self.settle(100)

    def missing_nodes(self) -> list[str]:
        """Types in the graph that no loaded pack provides."""
        return self.page.evaluate(
            "app.rootGraph.nodes.map(one => one.type)"
            ".filter(type => !LiteGraph.registered_node_types[type] && type !== 'MarkdownNote')"
        )

    def workflow(self) -> dict:
        """The graph as the frontend saves it."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).workflow)"))

    def prompt(self) -> dict:
        """The graph in API form, as Run would post it."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def run(self) -> None:
        """Press Run and wait until that run is over, well or not. Raises TimeoutError when late."""
        before = set(self.finished_runs())
        self.page.evaluate("() => app.queuePrompt(0, 1)")
        until = time.monotonic() + RUN_SECONDS
        while not set(self.finished_runs()) - before:
            if time.monotonic() > until:
                raise TimeoutError(f"the run is not over after {RUN_SECONDS} s")
            self.settle()
        self.settle()

    def finished_runs(self) -> list[str]:
        """Ids of what the server has run."""
        return self.page.evaluate("async () => Object.keys(await (await fetch('/history')).json())")

    def playable_videos(self) -> int:
        """How many videos on the page have a picture to show."""
        return self.page.evaluate(PLAYED)

    def show_all(self) -> None:
        """Fit the graph into the window."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.settle(1000)

    def graph_box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all nodes, in pixels of the window."""
        left, top, right, bottom = self.page.evaluate(BOX)
        return left, top, right, bottom

    def picture(self, path: Path) -> None:
        """Save what the window shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))


def browser_program() -> str | None:
    """The installed browser, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Playwright's browser object, closed at the end. Raises FileNotFoundError without one."""
    from playwright.sync_api import sync_playwright

    program = browser_program()
    if program is None:
        raise FileNotFoundError(f"no browser found; looked for {', '.join(BROWSERS)} (apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def opened(
    browser: Any, address: str, renderer: str = CANVAS, window: dict | None = None, settings: dict | None = None
) -> Iterator[Frontend]:
    """The page of the server at `address`, with an empty graph, drawn by one of RENDERERS."""
    context = browser.new_context(viewport=window or WINDOW)
    try:
        chosen = {**SETTINGS, **(settings or {}), "Comfy.VueNodes.Enabled": renderer == NODES_2}
        page = context.new_page()
        found = Frontend(page, renderer, address, chosen)
        page.on("pageerror", lambda error: found.failures.append(str(error)))
        page.on("console", lambda message: _note_complaint(found, message))
        page.on("request", lambda request: _note_foreign(found, request.url, address))
        found.open()
        page.evaluate("() => app.rootGraph.clear()")
        yield found
    finally:
        context.close()


def _note_complaint(found: Frontend, message: Any) -> None:
    text = f"{message.text} ({message.location.get('url', '')})"
    # refusals are told to the user by the page; help is first looked for in the user's language by the frontend
    is_refusal = ("/seedvr2/" in text or "/docs/" in text) and "Failed to load resource" in text
    is_gone = "net::ERR_CONNECTION" in text  # a server that was killed answers nothing, whatever the page asks for
    if message.type in ("error", "warning") and "seedvr2" in text.lower() and not (is_refusal or is_gone):
        found.failures.append(f"{message.type}: {text}")


def _note_foreign(found: Frontend, url: str, address: str) -> None:
    if not url.startswith((address, "data:", "blob:")):
        found.requests.append(url)
