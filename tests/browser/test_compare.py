"""Compare: both sides play together, the line, zoom and frames follow mouse and keys."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import expect
from seedvr2_anywhere.tools.frontend import RENDERERS

from .graphs import LOAD, TIME_MS, UPSCALE, expect_reached_by_tab, load, main_job, press_run, tidied, wait_for

COMPARE = "36"
TIMES = "videos => videos.map(one => one.currentTime)"
FRAME = 1 / 24
# both move, and are never more than a few frames apart
FILMS_PLAY_TOGETHER = """async () => {
    const roots = [...document.querySelectorAll('.seedvr2')].map(one => one.shadowRoot)
    const films = [...roots.find(one => one.querySelector('.compare')).querySelectorAll('video')]
    const times = () => films.map(one => one.currentTime)
    const first = times()
    await new Promise(done => setTimeout(done, 150))
    const second = times()
    return second.every((time, side) => time > first[side]) && Math.abs(second[0] - second[1]) < 4 / 24
}"""
FILMS_LOADED = """() => {
    const roots = [...document.querySelectorAll('.seedvr2')].map(one => one.shadowRoot)
    const films = [...roots.find(one => one.querySelector('.compare')).querySelectorAll('video')]
    return films.every(one => one.readyState > 2)
}"""


def comparing(before: list, after: list, seed: int) -> dict:
    """The main job with a Compare node."""
    widgets = {"align": "start", "start_time": 0.0, "duration": 30.0, "longest_side": 1920}
    node = {"class_type": "SeedVR2Anywhere.Compare", "inputs": {"before": before, "after": after, **widgets}}
    return main_job(seed=seed) | {COMPARE: node}


@pytest.fixture(scope="module", params=RENDERERS)
def films(pages, request):
    """The page after a run, with a comparison that plays, for one test after another."""
    with tidied(pages(request.param)) as editor:
        load(editor, comparing([LOAD, 0], [UPSCALE, 0], 10 + len(editor.renderer)))
        press_run(editor)
        expect(editor.page.locator(".compare.loaded")).to_be_visible(timeout=TIME_MS)
        editor.page.wait_for_function(FILMS_LOADED, timeout=TIME_MS)
        editor.show_all()
        yield editor.page


def test_the_still_picture_has_both_sides(films):
    films.get_by_role("button", name="Play or pause").click()
    with films.expect_download() as kept:
        films.get_by_role("button", name="Save picture").click()
    assert kept.value.suggested_filename.startswith("clip_")
    picture = Image.open(io.BytesIO(kept.value.path().read_bytes())).convert("RGB")
    assert picture.size == (72, 48)
    assert picture.getpixel((36, 10)) == (255, 255, 255)  # the line in the middle
    colours = picture.resize((2, 1), Image.Resampling.BOX).getcolors()
    assert colours and all(sum(colour) > 30 for _, colour in colours)
    films.get_by_role("button", name="Play or pause").click()


def test_the_line_follows_mouse_and_keys_and_both_sides_zoom_together(films):
    line = films.get_by_role("slider", name="Line between before and after")
    frame = films.locator(".frame").bounding_box()
    at = line.bounding_box()
    films.mouse.move(at["x"] + at["width"] / 2, at["y"] + 20)
    films.mouse.down()
    films.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + 20, steps=4)
    films.mouse.up()
    expect(line).to_have_attribute("aria-valuenow", "25")
    line.focus()
    for key, value in (("ArrowRight", "27"), ("Shift+ArrowLeft", "17"), ("Home", "0"), ("End", "100")):
        line.press(key)
        expect(line).to_have_attribute("aria-valuenow", value)
    scale = "sides => sides.map(one => new DOMMatrix(getComputedStyle(one).transform).a)"
    films.locator(".compare").get_by_role("button", name="Zoom in").click()
    assert films.locator(".side > *").evaluate_all(scale) == [1.5, 1.5]
    graph = films.evaluate("() => app.canvas.ds.scale")
    films.locator(".stage").focus()
    films.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    films.mouse.wheel(0, -200)
    wait_for(lambda: films.locator(".side > *").evaluate_all(scale)[0] > 1.5)
    after, before = films.locator(".side > *").evaluate_all(scale)
    assert after == before > 1.5
    assert films.evaluate("() => app.canvas.ds.scale") == graph  # the graph did not zoom
    films.locator(".stage").press("0")
    assert films.locator(".side > *").evaluate_all(scale) == [1, 1]


def test_everything_on_a_comparison_is_reached_and_named_for_the_keyboard(films):
    assert len(expect_reached_by_tab(films, ".compare")) == 11


def test_films_play_together_step_by_frames_and_go_with_the_node(films):
    box = films.locator(".compare")
    wait_for(lambda: films.evaluate(FILMS_PLAY_TOGETHER))
    box.get_by_role("button", name="Play or pause").click()
    box.get_by_label("Position").fill("5")
    expect_frame(films, 5)
    for label, index in (("One frame on", 6), ("One frame on", 7), ("One frame back", 6)):
        box.get_by_role("button", name=label).click()
        expect_frame(films, index)
    films.locator(".stage").focus()
    for key, index in ((".", 7), (".", 8), (",", 7)):
        films.keyboard.press(key)
        expect_frame(films, index)
    films.keyboard.press("Space")
    wait_for(lambda: films.evaluate(FILMS_PLAY_TOGETHER))
    films.evaluate("id => app.rootGraph.remove(app.rootGraph.getNodeById(id))", int(COMPARE))
    expect(box).to_have_count(0)


def expect_frame(page, index: int) -> None:
    """Both sides stand still in the middle of this frame, and its number is told."""
    expect(page.locator(".compare .row").first).to_contain_text(f"{index + 1} / 24")
    assert page.locator(".compare video").evaluate_all(TIMES) == pytest.approx([(index + 0.5) * FRAME] * 2, abs=1e-3)


def test_images_are_compared_too_and_a_lost_file_is_named(editor, server):
    page = editor.page
    source = {"class_type": "GetVideoComponents", "inputs": {"video": [LOAD, 0]}}
    small = {"class_type": "ImageScaleBy", "inputs": {"image": ["40", 0], "upscale_method": "bicubic", "scale_by": 2.0}}
    load(editor, comparing(["40", 0], ["41", 0], len(editor.renderer)) | {"40": source, "41": small})
    press_run(editor)
    box = page.locator(".compare.loaded")
    expect(box.locator("img")).to_have_count(2, timeout=TIME_MS)
    editor.show_all()
    first = box.locator("img").first.get_attribute("src")
    box.get_by_role("button", name="One frame on").click()
    expect(box).to_contain_text("2 / 24")
    assert box.locator("img").first.get_attribute("src") != first
    expect(box.get_by_role("button", name="Play or pause")).to_be_hidden()
    for file in (server.base / "temp" / "seedvr2_proxies").glob("*.png"):
        file.unlink()
    box.get_by_role("button", name="One frame on").click()
    expect(box).to_contain_text("The file is not there any more. Run again.")
    editor.settle()
    lost = [line for line in editor.failures if "404" in line and "seedvr2_proxies" in line]
    assert lost, "the browser itself names the file it did not get"
    editor.failures[:] = [line for line in editor.failures if line not in lost]
