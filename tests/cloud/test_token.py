"""The token is found where the order says, kept where only its owner reads, and shown nowhere."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timezone

import pytest
from seedvr2_anywhere.cloud import errors, token
from seedvr2_anywhere.cloud.client import base_of

SECRET = "rc-secret-0123456789"
NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def find(tmp_path, environment, saved=None, login=None, folder=".config/runcomfy"):
    if saved is not None:
        (tmp_path / "saved").write_text(saved)
    if login is not None:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "token.json").write_text(login if isinstance(login, str) else json.dumps(login))
    return token.find_token(environment, tmp_path / "saved", tmp_path, lambda: NOW)


@pytest.mark.parametrize(
    ("environment", "saved", "login", "found", "source"),
    [
        ({"RUNCOMFY_API_TOKEN": "one", "RUNCOMFY_TOKEN": "two"}, "three", {"access_token": "four"}, "one", "API_TOKEN"),
        (
            {"RUNCOMFY_API_TOKEN": " ", "RUNCOMFY_TOKEN": "two"},
            "three",
            {"access_token": "four"},
            "two",
            "RUNCOMFY_TOKEN",
        ),
        ({}, "three\n", {"access_token": "four"}, "three", "settings"),
        ({}, None, {"access_token": "four"}, "four", "command line"),
        ({}, "", {"access_token": "four", "expires_at": "2026-11-23T00:00:00Z"}, "four", "command line"),
        ({}, "", {"access_token": "four", "expires_at": NOW.timestamp() + 60}, "four", "command line"),
        ({}, "", {"access_token": "four", "expires_at": "whenever"}, "four", "command line"),
    ],
)
def test_the_first_place_that_has_a_token_gives_it(tmp_path, environment, saved, login, found, source):
    result = find(tmp_path, environment, saved, login)
    assert result.secret == found
    assert source in result.source


@pytest.mark.parametrize(
    ("variable", "folder"),
    [("RUNCOMFY_CONFIG_DIR", "a"), ("XDG_CONFIG_HOME", "b/runcomfy"), (None, ".config/runcomfy")],
)
def test_the_login_of_the_command_line_is_found_where_it_keeps_it(tmp_path, variable, folder):
    value = str(tmp_path / folder.removesuffix("/runcomfy"))
    assert find(tmp_path, {variable: value} if variable else {}, None, {"access_token": "x"}, folder).secret == "x"


@pytest.mark.parametrize(
    "login",
    [
        None,
        "no json",
        "[]",
        {"access_token": 5},
        {"access_token": "four", "expires_at": "2026-11-21T00:00:00Z"},
        {"access_token": "four", "expires_at": "2026-11-21T00:00:00"},
        {"access_token": "four", "expires_at": 1.0},
    ],
    ids=str,
)
def test_without_a_token_the_ways_to_give_one_are_named(tmp_path, login):
    with pytest.raises(errors.OutsideLimits, match=r"RUNCOMFY_API_TOKEN.*settings.*Nothing was sent"):
        find(tmp_path, {}, None, login)


@pytest.mark.parametrize("bad", ["two words", "line\nsplitword", "tab\there", "ünï", "x" * 8193, "nul\0"], ids=repr)
def test_a_malformed_token_is_refused_without_being_shown(tmp_path, bad):
    with pytest.raises(errors.OutsideLimits) as caught:
        find(tmp_path, {"RUNCOMFY_API_TOKEN": bad})
    assert bad not in str(caught.value)
    assert bad.split()[-1][:200] not in str(caught.value)


@pytest.mark.parametrize("text", [f"{SECRET}\n", f"  {SECRET}  ", f"{SECRET}\r\n"])
def test_white_space_around_a_token_does_not_matter(text):
    assert token.checked(text, "x").secret == SECRET


def test_a_saved_token_is_readable_by_its_owner_alone_and_replaced_in_one_step(tmp_path):
    old = os.umask(0)
    try:
        token.save_token("first-token-000000", tmp_path / "user" / "saved")
        token.save_token(SECRET, tmp_path / "user" / "saved")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "user" / "saved").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "user").iterdir()] == ["saved"]
    assert token.find_token({}, tmp_path / "user" / "saved", tmp_path).secret == SECRET


def test_a_bad_token_does_not_replace_a_good_one(tmp_path):
    token.save_token(SECRET, tmp_path / "saved")
    with pytest.raises(errors.OutsideLimits):
        token.save_token("two words", tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == SECRET
    token.delete_token(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_token_shows_itself_nowhere():
    one = token.checked(SECRET, "the test")
    assert SECRET not in f"{one} {one!r} {one.account} {one.masked}"
    assert one.hide_in(f"bad {SECRET}!".encode()) == b"bad ***!"
    assert token.checked("short", "x").masked == "…"


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (None, "https://model-api.runcomfy.net/v1"),
        ("https://model-api-int.runcomfy.net/v1/", "https://model-api-int.runcomfy.net/v1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("https://api.example:8443/v1", "https://api.example:8443/v1"),
    ],
)
def test_the_base_of_the_environment_is_used(value, base):
    assert base_of({"RUNCOMFY_MODEL_API_BASE": value} if value else {}) == base


@pytest.mark.parametrize(
    "value",
    [
        "http://api.example/v1",
        "http://10.0.0.1/v1",
        "ftp://x/v1",
        "https://u:p@x.example/v1",
        "x",
        "https://x.example/v1?a=b",
    ],
)
def test_a_base_that_would_carry_the_token_in_the_open_is_refused(value):
    with pytest.raises(errors.OutsideLimits, match="RUNCOMFY_MODEL_API_BASE"):
        base_of({"RUNCOMFY_MODEL_API_BASE": value})
