"""Help and words: every node shows its page with pictures, and the page speaks Chinese."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from seedvr2_anywhere.tools import frontend

ROOT = Path(__file__).resolve().parents[2]
NODES = ("LoadVideo", "Upscale", "VideoCombine", "Compare")
ADD = """type => {
    app.rootGraph.clear()
    const node = LiteGraph.createNode('SeedVR2Anywhere.' + type)
    app.rootGraph.add(node)
    app.canvas.centerOnNode(node)
    app.canvas.selectNode(node)
}"""


def test_every_node_has_a_help_page_whose_pictures_are_there(canvas):
    for node in NODES:
        canvas.page.evaluate(ADD, node)
        canvas.settle()
        if node == NODES[0]:
            canvas.page.get_by_test_id("info-button").click()
        page = canvas.page.locator(".node-help-content")
        title = (ROOT / "js" / "docs" / f"SeedVR2Anywhere.{node}.md").read_text(encoding="utf-8").split("\n")[0]
        expect(page.locator("h1")).to_have_text(title.removeprefix("# "))
        for picture in page.locator("img").all():
            picture.scroll_into_view_if_needed()
            canvas.page.wait_for_function("one => one.complete && one.naturalWidth > 100", arg=picture.element_handle())


def test_the_page_speaks_chinese(browser, server):
    with frontend.opened(browser, server.address, settings={"Comfy.Locale": "zh"}) as found:
        found.page.evaluate(ADD, "Upscale")
        labels = found.page.evaluate("app.rootGraph.nodes[0].widgets.map(one => one.label)")
        assert {"目标分辨率", "种子", "后端", "模型"} <= set(labels)
        found.page.evaluate("() => app.extensionManager.sidebarTab.toggleSidebarTab('seedvr2-jobs')")
        expect(found.page.locator(".jobs h2")).to_have_text("SeedVR2 任务")
        assert found.failures == []
