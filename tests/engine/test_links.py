"""A clip behind a link is fetched once, under its own name; what gives no video is said and not kept."""

from __future__ import annotations

import os
import socket
import ssl
import time

import numpy as np
import pytest
import trustme
from seedvr2_anywhere import media, net
from seedvr2_anywhere.engine.links import KEPT_DAYS, fetch_link, is_link, place_of
from seedvr2_anywhere.tests.net import file_server

NAME = "clips.example"
PUBLIC = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]


@pytest.fixture
def site(monkeypatch, tmp_path):
    """An https site with a certificate of its own name, and the session that reaches it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with file_server.running(context) as server:
        port = int(server.base.rsplit(":", 1)[1])
        session = net.guarded_session(
            getaddrinfo=lambda *_, **__: PUBLIC,
            connect=lambda _, timeout: socket.create_connection(("127.0.0.1", port)),
        )
        server.files["/my clip.mp4"] = small_clip(tmp_path / "small.mp4")
        yield server, session


def small_clip(path) -> bytes:
    media.write(path, [(np.zeros((3, 32, 32, 3), np.uint8), np.arange(3))], time_base=1 / media.snap_rate(24))
    return path.read_bytes()


@pytest.mark.parametrize(
    "text, found", [("https://a/b.mp4", True), ("HTTP://a", True), ("C:\\clips\\a.mp4", False), ("ftp://a", False)]
)
def test_a_link_is_told_from_a_path(text, found):
    assert is_link(text) is found


def test_a_link_is_fetched_once_and_keeps_its_name(site, tmp_path):
    server, session = site
    server.files["/my%20clip.mp4"] = server.files.pop("/my clip.mp4")
    link = f"https://{NAME}/my%20clip.mp4?signature=secret"
    told = []
    first = fetch_link(link, tmp_path / "links", session, lambda done, total: told.append((done, total)))
    again = fetch_link(link, tmp_path / "links", session)
    assert (first.path.name, first.frame_count, again.path) == ("my_clip.mp4", 3, first.path)
    assert len(server.seen) == 1
    assert told[-1] == (first.path.stat().st_size,) * 2
    assert "secret" not in str(first.path)


def test_a_link_that_gives_a_web_page_is_refused_and_asked_again_later(site, tmp_path):
    server, session = site
    server.files["/watch"] = b"<html>sign in first</html>"
    for _ in range(2):
        with pytest.raises(media.MediaError, match="gives no video"):
            fetch_link(f"https://{NAME}/watch", tmp_path / "links", session)
    assert len(server.seen) == 2


def test_a_stop_keeps_what_arrived(site, tmp_path):
    server, session = site
    link = f"https://{NAME}/large.mp4"
    server.files["/large.mp4"] = small_clip(tmp_path / "large.mp4") + bytes(4 << 20)
    stop = []
    with pytest.raises(net.Cancelled):
        fetch_link(link, tmp_path / "links", session, lambda *_: stop.append(1), lambda: len(stop) > 2)
    fetch_link(link, tmp_path / "links", session)
    asked = server.ranges_asked()
    assert asked[0] is None
    assert asked[1] is not None


def test_clips_of_links_long_unused_are_removed(site, tmp_path):
    _, session = site
    folder = tmp_path / "links"
    kept, left = place_of("https://a/new.mp4", folder), place_of("https://a/old.mp4", folder)
    for path in (kept, left):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    past = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    os.utime(left.parent, (past, past))
    with pytest.raises(net.NetError):
        fetch_link(f"https://{NAME}/none.mp4", folder, session)
    assert (kept.exists(), left.exists()) == (True, False)
