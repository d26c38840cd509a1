"""Weights are taken from disk when they are there, fetched whole when they are not, and asked for plainly offline."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.engine import weights
from seedvr2_anywhere.models import catalogue

BODY = b"weights" * 5000
FILE = dataclasses.replace(
    catalogue.by_name("seedvr2_3b_fp16.safetensors"), size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest()
)
PATH = "/" + catalogue.url_of(FILE, "").lstrip("/")


@pytest.fixture
def hub(server):
    server.files[PATH] = BODY
    world = net.World(sleep=lambda seconds: None, timeouts=net.Timeouts(2, 0.5, 0.5))
    return dataclasses.replace(weights.Hub.at(server.base), world=world)


def test_a_missing_file_is_fetched_into_the_named_folder(hub, tmp_path, server):
    steps = []
    found = weights.find_or_fetch(FILE, [], tmp_path / "SEEDVR2", hub, lambda *step: steps.append(step))
    assert found == tmp_path / "SEEDVR2" / FILE.name
    assert found.read_bytes() == BODY
    assert steps[-1] == (len(BODY), len(BODY))
    assert len(server.seen) == 1


def test_a_rounded_size_does_not_stand_in_the_way_but_the_hash_does(hub, tmp_path):
    rounded = dataclasses.replace(FILE, size=len(BODY) - 100, size_is_exact=False)
    assert weights.fetch(rounded, tmp_path / "a", hub).read_bytes() == BODY
    with pytest.raises(weights.MissingWeights, match="sha256"):
        weights.fetch(dataclasses.replace(rounded, sha256="0" * 64), tmp_path / "b", hub)


@pytest.mark.parametrize("name", ["seedvr2_3b_fp16.safetensors", "seedvr2_ema_3b_fp16.safetensors"])
def test_nothing_is_fetched_when_the_file_or_its_equivalent_is_on_disk(hub, tmp_path, server, name):
    (tmp_path / name).write_bytes(b"the user's")
    assert weights.find_or_fetch(FILE, [tmp_path], tmp_path / "SEEDVR2", hub) == tmp_path / name
    assert server.seen == []


@pytest.mark.parametrize(
    ("name", "play"),
    [
        ("offline", None),
        ("gone", lambda servers: servers.status(404)),
        ("gated", lambda servers: servers.status(401)),
        ("captive portal", lambda servers: servers.other_bytes(b"<html>")),
    ],
)
def test_what_cannot_be_fetched_is_asked_for_with_address_folder_and_name(hub, tmp_path, server, servers, name, play):
    if play:
        server.script = [play(servers)]
    else:
        hub = dataclasses.replace(hub, endpoint="http://127.0.0.1:9")
    with pytest.raises(weights.MissingWeights) as caught:
        weights.fetch(FILE, tmp_path / "SEEDVR2", hub)
    for part in (catalogue.url_of(FILE, hub.endpoint), str(tmp_path / "SEEDVR2"), FILE.name):
        assert part in str(caught.value), name


def test_a_stop_is_passed_through(hub, tmp_path):
    with pytest.raises(net.Cancelled):
        weights.fetch(FILE, tmp_path, hub, cancelled=lambda: True)


def test_the_users_file_of_another_size_is_left_alone_and_named(hub, tmp_path, server):
    (tmp_path / FILE.name).write_bytes(b"mine")
    with pytest.raises(weights.MissingWeights, match="already exists with 4 bytes"):
        weights.fetch(FILE, tmp_path, hub)
    assert (tmp_path / FILE.name).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("endpoint", "rules"),
    [
        ("https://huggingface.co", net.Rules()),
        ("http://127.0.0.1:8000", net.Rules(True, frozenset({443, 8000}))),
        ("http://10.0.0.5:8000", net.Rules(False, frozenset({443, 8000}))),
    ],
)
def test_the_hub_of_the_environment_decides_what_may_be_reached(endpoint, rules):
    assert weights.Hub.at(endpoint).session.rules == rules
