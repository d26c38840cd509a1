"""The settings section: what is typed arrives on the server, and the token never comes back to the page."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from .graphs import SECTION, SETTINGS, expect_reached_by_tab, heard, wait_for

SECRET = "rc_test_0123456789abcdef_never_shown"
LABEL = "RunComfy token"
# label, name, a value, and one that is refused
NUMBERS = (
    ("Requests in flight", "in_flight", "3", "99"),
    ("Most dollars per run", "run_limit_usd", "2.5", "-1"),
    ("Most dollars in 24 hours", "day_limit_usd", "7", "-1"),
    ("Most requests per run", "max_requests", "12", "0"),
    ("Keep finished results", "jobs_limit_gb", "40", "-5"),
)
PLACE = "https://storage.example/{name}"
STORAGES = {
    "s3": {"Bucket": "clips"},
    "presigned": {"Address for PUT": f"{PLACE}?s={SECRET}", "Address for GET": PLACE},
}
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
    for _ in range(2):  # the first may be a tooltip's, of what Tab came to last
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

    def field(name):
        return page.locator(".setting").get_by_label(name)

    def said(name):
        return page.locator(".setting", has=page.get_by_label(name)).locator(".message")

    switch = "Backend auto may upload and pay"
    expect(field(switch)).not_to_be_checked()
    field(switch).check()
    expect(said(switch)).to_have_text("Saved.")
    assert kept("auto_may_pay") is True
    field(switch).uncheck()
    wait_for(lambda: kept("auto_may_pay") is False)
    for label, name, value, wrong in NUMBERS:
        for typed, shown in ((value, value), (wrong, value)):
            field(label).fill(typed)
            field(label).press("Tab")
            expect(said(label)).to_have_class("message" if typed == shown else "message failed")
            expect(said(label)).not_to_have_text("…")
            expect(field(label)).to_have_value(shown)
        assert kept(name) == float(value)
    field("Most dollars in 24 hours").fill("")
    field("Most dollars in 24 hours").press("Tab")
    wait_for(lambda: kept("day_limit_usd") is None)
    storage = field("Upload storage")
    for choice, fields in STORAGES.items():
        storage.select_option(choice)
        for label, value in fields.items():
            page.get_by_label(label).fill(value)
        page.locator(".fields").get_by_role("button", name="Save").click()
        wait_for(lambda choice=choice: kept("storage") == choice)
    assert kept("s3_bucket") == "clips"
    assert SECRET not in json.dumps(server.get("/seedvr2/settings"))
    storage.select_option("none")
    wait_for(lambda: kept("storage") == "none")
    expect(page.locator(".setting").last).to_contain_text("seedvr2_jobs: ")
    expect(page.locator(".setting").last).to_contain_text(" jobs")


def test_everything_in_the_settings_is_reached_and_named_for_the_keyboard(page):
    assert {"RunComfy token", "Upload storage", "Most dollars in 24 hours (all runs)"} <= set(
        expect_reached_by_tab(page, ".setting")
    )


def test_nothing_is_asked_of_the_server_before_it_is_needed(canvas, server):
    server.post("/interrupt", {})
    wait_for(lambda: not server.get("/queue")["queue_running"])
    with heard(canvas.page, "request") as asked:
        canvas.open()
    ours = [one.url.rsplit("/", 1)[1] for one in asked if "seedvr2" in one.url]
    assert ours == ["seedvr2.js"]
