"""A few bytes out of a large file, and headers read as they are meant."""

from __future__ import annotations

import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.net import get

BODY = bytes(range(256)) * 40


def fetch(server, start, stop):
    server.files["/a"] = BODY
    session = net.guarded_session(net.Rules(loopback=True))
    return net.fetch_range(session, server.base + "/a", start, stop, net.Timeouts(2, 0.5, 0.5))


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (8, 300), (10_000, 10_240), (0, 10_240)])
def test_a_range_brings_exactly_its_bytes_and_the_size_of_the_whole(server, start, stop):
    assert fetch(server, start, stop) == net.RangeAnswer(BODY[start:stop], len(BODY), server.etag("/a"))


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (lambda s: s.without_ranges, net.Refused),
        (lambda s: s.wrong_range, net.Damaged),
        (lambda s: s.status(403), net.BadStatus),
        (lambda s: s.status(503), net.Unreachable),
        (lambda s: s.silence(0.8), net.Unreachable),
        (lambda s: s.redirect("http://10.0.0.1/"), net.Refused),
        (lambda s: s.status(206, Content_Range="bytes 0-7/99", Content_Encoding="gzip"), net.Damaged),
    ],
)
def test_a_server_that_cannot_give_a_range_is_not_read_whole(server, servers, play, error):
    server.script = [play(servers)]
    with pytest.raises(error):
        fetch(server, 0, 8)


def test_an_answer_longer_than_expected_is_refused(server):
    server.files["/a"] = BODY
    session = net.guarded_session(net.Rules(loopback=True))
    with (
        pytest.raises(net.Refused, match="longer than"),
        net.open_get(session, server.base + "/a") as response,
    ):
        net.read_limited(response, 100)


@pytest.mark.parametrize("path", ["/a%3Db/c%2Bd.mp4?sig=a%2Bb%3D&x=~%7E", "/%E4%BD%A0/a.mp4", "/a%2Fb;p=1,2"])
def test_an_address_is_requested_byte_for_byte(server, path):
    server.files[path.split("?")[0]] = BODY
    session = net.guarded_session(net.Rules(loopback=True))
    with net.open_get(session, server.base + path):
        pass
    assert server.seen[0][0] == path


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0", 0),
        ("-5", 0),
        ("86400", 150),
        ("Thu, 01 Jan 1970 00:01:07 GMT", 7),
        ("Thu, 01 Jan 1970 00:00:07 GMT", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 99 Jan 9999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(header, seconds):
    assert get.retry_after_s(header, now=lambda: 60.0) == seconds
