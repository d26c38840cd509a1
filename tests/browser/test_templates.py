"""The bundled workflows as people meet them: chosen in the template browser, run, and their result plays."""

from __future__ import annotations

import contextlib
import functools

import pytest
from seedvr2_anywhere.tools import frontend
from seedvr2_anywhere.tools.templates import LOAD, UPSCALE

from .graphs import EMBEDDED, TIME_MS

CATEGORY = "seedvr2-anywhere"  # the pack's folder, as the dialog names it
SMALL = {UPSCALE: {"new_resolution": 96, "backend.model": EMBEDDED}}
SHORT = {LOAD: {"frame_load_cap": 9}}
BROWSE = "() => app.extensionManager.command.execute('Comfy.BrowseTemplates')"
ADVANCES = """async () => {
    const results = [...document.querySelectorAll('video')].filter(one => one.currentSrc.includes('type=output'))
    const times = () => results.map(one => one.currentTime)
    const before = times()
    await new Promise(done => setTimeout(done, 300))
    return times().some((time, number) => time !== before[number])
}"""
# of the classic canvas and of Nodes 2.0
SHOWN = """() => app.rootGraph.nodes.some(node => node.imgs?.some(one => one.naturalWidth))
    || [...document.querySelectorAll('img')].some(one => one.src.includes('/view') && one.naturalWidth)"""

# title → values that make it quick, and what shows the result; AI video needs a model that no test can fetch
CASES = {
    "Video upscale": (SMALL | SHORT, ADVANCES),
    "Long video": ({UPSCALE: SMALL[UPSCALE] | {"run": "whole clip"}} | SHORT, ADVANCES),
    "Before and after": (SMALL | SHORT, ADVANCES),
    "Photo": (SMALL, SHOWN),
    "Folder of photos": (SMALL, SHOWN),
}


@pytest.fixture(scope="module")
def page_of(browser, server):
    """The page drawn by a renderer, opened once."""
    with contextlib.ExitStack() as pages:
        yield functools.cache(lambda renderer: pages.enter_context(frontend.opened(browser, server.address, renderer)))


@pytest.mark.parametrize(
    ("title", "renderer"), [*((title, frontend.CANVAS) for title in CASES), ("Video upscale", frontend.NODES_2)]
)
def test_a_template_is_chosen_run_and_its_result_seen(page_of, title, renderer):
    (values, look), editor = CASES[title], page_of(renderer)
    choose(editor, title)
    for node, widgets in values.items():
        for name, value in widgets.items():
            editor.set_widget(node, name, value)
    editor.run()
    editor.show_all()
    editor.page.wait_for_function(look, timeout=TIME_MS)
    assert editor.failures == []


def choose(editor: frontend.Frontend, title: str) -> None:
    """Open the template browser, the pack's own part of it, and the template by its card."""
    page = editor.page
    page.evaluate("() => app.rootGraph.clear()")
    page.evaluate(BROWSE)
    page.get_by_role("button", name=CATEGORY).click()
    page.get_by_text(title, exact=True).first.click()
    page.wait_for_function("() => app.rootGraph.nodes.some(one => one.type.startsWith('SeedVR2Anywhere.'))")
    editor.settle(1000)
