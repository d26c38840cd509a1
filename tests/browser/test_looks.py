"""What the pack shows can be read: on dark and on light palettes, in both renderers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .graphs import JOBS, TIME_MS, UPSCALE, load, main_job
from .test_live_run import HOSTED, TELL

PALETTE = "name => app.extensionManager.setting.set('Comfy.ColorPalette', name)"
LEAST = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA), for text of this size
NARROW = """id => {
    const node = app.rootGraph.getNodeById(id)
    node.setSize([180, node.size[1]])
    app.canvas.setDirty(true, true)
}"""
IS_NARROW = "() => document.querySelector('.seedvr2').clientWidth < 210"
FAILED = {"index": 2, "first": 300, "last": 420, "state": "failed", "text": "not accepted", "request": "abe"}
STATES = ("running", "done", "stopped", "failed")
# [contrast as WCAG defines it, the words] of everything written in this pack's boxes; disabled controls are exempt
CONTRASTS = """() => {
    const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
    const rgba = (colour) => {
        pen.clearRect(0, 0, 1, 1)
        pen.fillStyle = colour
        pen.fillRect(0, 0, 1, 1)
        const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data
        return [red, green, blue, alpha / 255]
    }
    const over = ([r, g, b, a], below) => [r, g, b].map((value, at) => value * a + below[at] * (1 - a))
    const linear = (value) => value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    const above = (one) => one.assignedSlot ?? one.parentElement ?? one.getRootNode().host ?? null
    const line = (one) => one ? [one, ...line(above(one))] : []
    const contrast = (one) => {
        const layers = line(one).map((each) => getComputedStyle(each))
        const ground = layers.reduceRight((below, style) => over(rgba(style.backgroundColor), below), [255, 255, 255])
        const opacity = line(one).filter((each) => each.getRootNode() === one.getRootNode())
            .reduce((all, each) => all * Number(getComputedStyle(each).opacity), 1)
        const [red, green, blue, alpha] = rgba(layers[0].color)
        const lights = [light(ground), light(over([red, green, blue, alpha * opacity], ground))]
        const [least, most] = lights.sort((a, b) => a - b)
        return (most + 0.05) / (least + 0.05)
    }
    const roots = [...document.querySelectorAll('.seedvr2')].map((one) => one.shadowRoot)
    const all = roots.flatMap((root) => [...root.querySelectorAll(':not(:disabled)')])
    const hasWords = (one) => [...one.childNodes].some((each) => each.nodeType === 3 && each.data.trim())
    return all.filter((one) => hasWords(one) && one.checkVisibility()).map((one) => [contrast(one), one.textContent])
}"""


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_words_stand_out_from_their_ground(editor, palette):
    page = editor.page
    page.evaluate(PALETTE, palette)
    load(editor, main_job())
    page.evaluate(JOBS)
    expect(page.locator(".jobs h2")).to_be_visible()
    for state in STATES:
        page.evaluate(TELL, HOSTED | {"state": state, "segments": [*HOSTED["segments"], FAILED], "text": "Some words."})
        expect(page.locator(f".run .state.{state}")).to_be_visible(timeout=TIME_MS)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 15
        assert [(round(ratio, 2), words) for ratio, words in contrasts if ratio < LEAST] == []
    page.evaluate(PALETTE, "dark")


def test_nothing_is_drawn_outside_a_narrow_node(editor):
    page = editor.page
    load(editor, main_job())
    page.evaluate(TELL, HOSTED)
    expect(page.locator(".run tbody tr")).to_have_count(2)
    page.evaluate(NARROW, UPSCALE)
    page.wait_for_function(IS_NARROW)
    assert page.locator(".seedvr2").evaluate("one => one.scrollWidth - one.clientWidth") <= 0
