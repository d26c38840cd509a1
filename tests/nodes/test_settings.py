"""Settings and token: kept on the server, taken from its own page only, shown without what is secret."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request

import pytest
from seedvr2_anywhere.nodes import settings
from seedvr2_anywhere.nodes.settings_routes import is_own_origin

SECRET = "rc-secret-0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"in_flight": 9}, "in_flight is 9; expected a whole number from 1 to 8"),
        ({"in_flight": 2.5}, "whole number"),
        ({"in_flight": True}, "whole number"),
        ({"auto_may_pay": 1}, "true or false"),
        ({"run_limit_usd": float("nan")}, "number from 0 to 1000"),
        ({"run_limit_usd": None}, "number"),
        ({"storage": "ftp"}, "none, presigned, s3"),
        ({"storage": "presigned"}, "both needed"),
        ({"storage": "s3"}, "s3_bucket is needed"),
        ({"s3_bucket": "a\nb"}, "one line"),
        ({"token": "x"}, "no setting token"),
    ],
)
def test_what_cannot_be_taken_is_named_and_changes_nothing(changes, complaint):
    with pytest.raises(settings.BadSetting, match=complaint):
        settings.DEFAULTS.changed(changes)


def test_settings_come_back_as_they_were_saved(tmp_path):
    made = settings.DEFAULTS.changed({"auto_may_pay": True, "day_limit_usd": None, "in_flight": 3})
    settings.save(tmp_path, made)
    assert settings.load(tmp_path) == made
    assert stat.S_IMODE((tmp_path / settings.FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("stored", ["", "[1]", '{"in_flight": 99, "unknown": 1, "auto_may_pay": true}', "\0"])
def test_a_damaged_file_is_as_on_install_where_it_is_damaged(tmp_path, stored):
    (tmp_path / settings.FILE).write_text(stored)
    found = settings.load(tmp_path)
    assert found == settings.ServerSettings(auto_may_pay="true" in stored)


def test_signed_addresses_are_shown_without_signatures_and_kept_when_they_come_back():
    signed = {"storage": "presigned", "storage_put_url": "https://put.example/{name}?sig=abc",
              "storage_get_url": "https://get.example/{name}?sig=abc"}  # fmt: skip
    made = settings.DEFAULTS.changed(signed)
    assert "abc" not in json.dumps(made.shown())
    assert made.changed(made.shown()) == made


@pytest.mark.parametrize(
    ("origin", "host", "site", "is_own"),
    [
        (None, "127.0.0.1:8188", None, True),
        ("http://127.0.0.1:8188", "127.0.0.1:8188", "same-origin", True),
        ("https://comfy.example", "comfy.example", None, True),
        ("http://evil.example", "127.0.0.1:8188", None, False),
        ("http://127.0.0.1:9999", "127.0.0.1:8188", None, False),
        ("null", "127.0.0.1:8188", None, False),
        (None, "127.0.0.1:8188", "cross-site", False),
        ("http://127.0.0.1:8188", "127.0.0.1:8188", "same-site", False),
    ],
)
def test_only_the_servers_own_page_may_ask(origin, host, site, is_own):
    assert is_own_origin(origin, host, site) is is_own


def call(server, method: str, path: str, content: object = None, **headers: str) -> tuple[int, dict]:
    """(status, JSON answer)."""
    body = None if content is None else json.dumps(content).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): one for name, one in headers.items()}}
    request = urllib.request.Request(server.address + path, body, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        text = refusal.read()
        return refusal.code, json.loads(text) if text.startswith(b"{") else {}


def saved_token(server):
    return next(server.base.rglob(settings.TOKEN_FILE), None)


def test_the_token_goes_in_and_never_comes_out(server):
    try:
        status, answer = call(server, "PUT", "/seedvr2/token", {"token": f" {SECRET}\n"})
        assert (status, answer["token"]["masked"], answer["token"]["saved"]) == (200, "…cdef", True)
        file = saved_token(server)
        assert file.read_text() == SECRET
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert SECRET not in json.dumps(call(server, "GET", "/seedvr2/settings"))
        for path in ("/userdata/__seedvr2/runcomfy_token", "/userdata?dir=__seedvr2", "/view?filename=runcomfy_token"):
            assert SECRET not in json.dumps(call(server, "GET", path))
    finally:
        assert call(server, "DELETE", "/seedvr2/token")[1]["token"]["found"] is False
    assert saved_token(server) is None


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ü", 7, None])
def test_what_is_no_token_is_refused_and_not_shown(server, text):
    status, answer = call(server, "PUT", "/api/seedvr2/token", {"token": text})
    assert status == 400
    assert str(text) not in answer["error"] or not text
    assert saved_token(server) is None


def test_other_pages_are_refused(server):
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert call(server, "PUT", "/seedvr2/token", {"token": SECRET}, **headers)[0] == 403
    assert call(server, "PUT", "/seedvr2/token", {"token": SECRET}, Content_Type="text/plain")[0] == 400
    assert saved_token(server) is None


def test_settings_change_through_the_route_and_a_mistake_is_named(server):
    status, answer = call(server, "POST", "/seedvr2/settings", {"in_flight": 4})
    assert (status, answer["settings"]["in_flight"], answer["defaults"]["in_flight"]) == (200, 4, 2)
    status, answer = call(server, "POST", "/seedvr2/settings", {"in_flight": 40})
    assert (status, "in_flight is 40" in answer["error"]) == (400, True)
    assert call(server, "GET", "/seedvr2/settings")[1]["settings"]["in_flight"] == 4
    call(server, "POST", "/seedvr2/settings", {"in_flight": 2})


def test_the_test_button_without_a_token_says_how_to_get_one(server):
    status, answer = call(server, "POST", "/seedvr2/token/test", {})
    assert (status, answer["ok"]) == (200, False)
    assert "No RunComfy token" in answer["message"]
