"""The settings section: what is typed arrives on the server, and the token never comes back to the page."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from .graphs import SECTION, SETTINGS, heard

SECRET = "rc_test_0123456789abcdef_never_shown"
LABEL = "RunComfy token"
IS_IDLE = "async () => !(await (await fetch('/queue')).json()).queue_running.length"
# everything a page keeps: what it shows, properties of fields included, and its storages
KEPT = """async () => {
    const inside = root => root.innerHTML + [...root.querySelectorAll('*')].map(one =>
        (one.value ?? '') + (one.shadowRoot ? inside(one.shadowRoot) : '')).join('')
    const graph = JSON.stringify(app.rootGraph.serialize())
    const databases = JSON.stringify(await indexedDB.databases())
    return inside(document.documentElement) + graph + databases + document.cookie +
        JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})
}"""


@pytest.fixture
def page(canvas, server):
    """The page with the section open, nothing saved before."""
    server.call("DELETE", "/seedvr2/token", {})
    page = canvas.page
    page.evaluate(SETTINGS)
    page.locator(SECTION).click()
    expect(page.get_by_label(LABEL).locator("visible=true").last).to_be_visible()
    yield page
    page.keyboard.press("Escape")
    expect(page.locator(SECTION)).to_have_count(0)


def test_a_token_is_set_replaced_and_cleared_and_never_shown(page, server):
    field = page.locator('input[type="password"]')
    row = page.locator(".setting", has=field)
    expect(row).to_contain_text("Not set")
    expect(row.get_by_role("button", name="Test")).to_be_disabled()
    with heard(page, "response") as answers:
        field.fill(SECRET)
        row.get_by_role("button", name="Save").click()
        expect(row).to_contain_text("Set: …hown, from ComfyUI's settings")
    expect(field).to_have_value("")
    assert SECRET not in page.evaluate(KEPT)
    texts = [one.text() for one in answers if "json" in one.headers.get("content-type", "")]
    assert texts and SECRET not in json.dumps(texts)
    assert SECRET not in json.dumps([server.get("/settings"), server.get("/seedvr2/settings")])
    field.fill(SECRET[::-1])
    field.press("Enter")
    expect(row).to_contain_text(f"…{SECRET[3::-1]}")
    row.get_by_role("button", name="Clear").click()
    expect(row).to_contain_text("Not set")


def test_a_refused_token_says_why(page):
    field = page.locator('input[type="password"]')
    row = page.locator(".setting", has=field)
    field.fill("two words")
    row.get_by_role("button", name="Save").click()
    expect(row.locator(".message")).to_contain_text("contains a space")
    expect(row).to_contain_text("Not set")


def test_numbers_switches_and_storage_are_kept_and_mistakes_taken_back(page, server):
    def kept(name):
        return server.get("/seedvr2/settings")["settings"][name]

    pay = page.get_by_label("Backend auto may upload and pay").locator("visible=true").last
    expect(pay).not_to_be_checked()
    pay.check()
    expect(page.locator(".setting", has=pay)).to_contain_text("Saved.")
    assert kept("auto_may_pay") is True
    pay.uncheck()
    flight = page.locator(".setting input[aria-label^='Requests in flight']")
    for value, shown in (("3", "3"), ("99", "3")):
        flight.fill(value)
        flight.press("Tab")
        expect(flight).to_have_value(shown)
    assert kept("in_flight") == 3
    page.locator("select[aria-label='Upload storage']").select_option("s3")
    page.get_by_label("Bucket").fill("clips")
    page.locator(".fields").get_by_role("button", name="Save").click()
    expect(page.locator(".setting", has=page.locator("select"))).to_contain_text("Saved.")
    assert (kept("storage"), kept("s3_bucket")) == ("s3", "clips")


def test_nothing_is_asked_of_the_server_before_it_is_needed(canvas, server):
    server.post("/interrupt", {})
    canvas.page.wait_for_function(IS_IDLE)
    with heard(canvas.page, "request") as asked:
        canvas.open()
    ours = [one.url.rsplit("/", 1)[1] for one in asked if "seedvr2" in one.url]
    assert ours == ["seedvr2.js"]
