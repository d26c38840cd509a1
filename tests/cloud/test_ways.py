"""How a clip gets to RunComfy: in the order promised, never to a host nobody named, and a refused way costs nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud import errors, reach, storage
from seedvr2_anywhere.cloud.answers import Price
from seedvr2_anywhere.cloud.journal import Journal

ADDRESS = "https://clips.example/holiday.mp4?sig=a%2Bb"


class Shelf:
    """A storage in memory; `fails` makes it refuse."""

    def __init__(self, fails: bool = False):
        self.kept: dict[str, bytes] = {}
        self.fails = fails

    def put(self, data: bytes, name: str) -> str:
        if self.fails:
            raise errors.OutsideLimits("The clip could not be put on your storage. Nothing was submitted.")
        self.kept[name] = data
        return f"https://shelf.example/{name}"


@pytest.fixture
def any_clip(desk, servers):
    """A service that answers with the desk's own clip, whatever way it was given."""
    desk.service.transform = lambda data, values: servers.toy_upscale(servers.toy_clip(desk.frames), values)
    return desk


def sent(desk) -> list[str]:
    return [post["33_video"].split(",")[0] for post in desk.service.posts]


def test_a_public_address_is_passed_through_unchanged_when_the_clip_fits_one_request(any_clip):
    any_clip.run(address=ADDRESS)
    assert (sent(any_clip), any_clip.cuts) == ([ADDRESS], 0)
    assert any_clip.service.posts[0]["33_frame_load_cap"] == 100


def test_a_longer_clip_is_cut_and_sent_although_it_has_an_address(desk):
    desk.clip_of(300)
    assert np.array_equal(desk.run(address=ADDRESS), desk.expected())
    assert sent(desk) == ["data:video/mp4;base64"] * 2


def test_without_an_address_the_clip_goes_into_the_request(desk):
    desk.storage = Shelf()
    desk.run()
    assert (sent(desk), desk.storage.kept) == (["data:video/mp4;base64"], {})


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_way_is_followed_by_the_next_and_costs_nothing(any_clip, servers, status):
    any_clip.storage = Shelf()
    any_clip.service.plan("submit", *[servers.answer(status, {"message": "no"})] * 2)
    any_clip.run(address=ADDRESS)
    assert sent(any_clip) == [
        ADDRESS,
        "data:video/mp4;base64",
        f"https://shelf.example/{next(iter(any_clip.storage.kept))}",
    ]
    assert (any_clip.posts, any_clip.paid, any_clip.cuts) == (3, 1, 1)
    assert any_clip.states() == ["not submitted", "not submitted", "done"]


def test_when_no_way_is_taken_it_is_said_that_nothing_was_charged_and_what_to_do(desk, servers):
    desk.service.plan("submit", servers.answer(422, {"message": "33_video must be a URL"}))
    desk.fails(errors.BadInput, "33_video must be a URL", "not charged", "public link", "storage")
    assert (desk.posts, desk.paid) == (1, 0)


def test_a_way_is_data_and_can_be_left_out(any_clip):
    any_clip.storage = Shelf()
    any_clip.run(ways=("storage",))
    assert sent(any_clip) == [f"https://shelf.example/{next(iter(any_clip.storage.kept))}"]
    assert any_clip.posts == 1


def test_a_clip_too_large_for_the_request_goes_to_the_storage(any_clip):
    any_clip.storage = Shelf()
    any_clip.cut = lambda segment: bytes(40 << 20)
    any_clip.run()
    assert (any_clip.posts, len(any_clip.storage.kept)) == (1, 1)


def test_a_storage_that_fails_submits_nothing(desk):
    desk.storage = Shelf(fails=True)
    desk.fails(errors.OutsideLimits, "Nothing was submitted", ways=("storage",))
    assert (desk.posts, desk.states()) == (0, [])


@pytest.mark.parametrize(
    "address",
    [
        "http://clips.example/a.mp4",
        "https://192.168.1.5/a.mp4",
        "https://localhost.localdomain/a.mp4",
        "https://user:word@clips.example/a.mp4",
        "file:///etc/passwd",
        "https://clips.example\\@10.0.0.1/a.mp4",
    ],
)
def test_a_link_runcomfy_cannot_fetch_is_refused_before_anything_is_sent(desk, monkeypatch, address):
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", ("192.168.1.5", port))])
    desk.fails(errors.OutsideLimits, "could not fetch", "Nothing was sent", address=address)
    assert (desk.posts, desk.service.calls) == (0, [])


@pytest.mark.parametrize("base, is_here", [
    (None, False), ("http://127.0.0.1:9/v1", True), ("https://api.example/v1", False), ("http://api.example/v1", False),
])  # fmt: skip
def test_a_link_may_lead_to_this_machine_only_where_the_service_is_on_it(base, is_here):
    rules = reach.link_rules({"RUNCOMFY_MODEL_API_BASE": base} if base else {})
    allowed = contextlib.nullcontext() if is_here else pytest.raises(net.Refused)
    for link in ("http://127.0.0.1:8000/a.mp4", "https://localhost/a.mp4"):
        with allowed:
            net.check_fetchable(link, rules)
    for link in ("http://clips.example/a.mp4", "https://10.0.0.1/a.mp4", "http://192.168.0.2/a.mp4"):
        with pytest.raises(net.Refused):
            net.check_fetchable(link, rules)


def test_the_price_is_told_when_there_is_one(desk, servers):
    client = desk.doors(Journal(desk.folder / "journal.db")).client
    assert client.price() == Price(0.25, "output")
    desk.service.plan("price", servers.answer(404, {}))
    assert client.price() is None
    assert desk.posts == 0


@pytest.mark.parametrize(
    ("tokens", "faults", "error"),
    [
        ({"test-token-0123456789abcdef": "alice"}, [], None),
        ({}, [], errors.BadToken),
        ({}, [(401, {})], errors.BadToken),
        ({}, [(403, {})], errors.BadToken),
        ({}, [(502, {})], errors.Trouble),
    ],
)
def test_a_token_is_checked_without_paying(desk, servers, tokens, faults, error):
    client = desk.doors(Journal(desk.folder / "journal.db")).client
    desk.service.tokens = tokens
    desk.service.plan("status", *[servers.answer(*fault) for fault in faults])
    with pytest.raises(error) if error else contextlib.nullcontext():
        client.check_token()
    assert [name for name, _, _ in desk.service.calls] == ["status"]


@pytest.fixture
def bucket():
    """A server that takes PUTs; `answers` are its next statuses."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = server.answers.pop(0) if server.answers else 200
            server.got.append((self.path, body, dict(self.headers), status))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answers = [], []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def presigned(bucket, waits: list, **changes) -> storage.PresignedPut:
    session = net.guarded_session(net.Rules(loopback=True))
    put = f"http://127.0.0.1:{bucket.server_port}/up/{{name}}?X-Signature=SECRET"
    one = storage.PresignedPut(put, "https://clips.example/{name}?k=v", session, waits.append)
    return dataclasses.replace(one, **changes)


def test_a_presigned_put_carries_the_clip_and_gives_the_address_to_fetch(bucket):
    address = presigned(bucket, []).put(b"clip" * 50_000, "a.mp4")
    assert address == "https://clips.example/a.mp4?k=v"
    path, body, headers, _ = bucket.got[0]
    assert (path, body, headers["Content-Type"]) == ("/up/a.mp4?X-Signature=SECRET", b"clip" * 50_000, "video/mp4")
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("answers", "puts", "works"),
    [([500, 503], 3, True), ([429], 2, True), ([500] * 9, 3, False), ([403], 1, False), ([307], 1, False)],
)
def test_a_put_is_repeated_only_while_the_server_is_in_trouble(bucket, answers, puts, works):
    bucket.answers = list(answers)
    if works:
        presigned(bucket, []).put(b"clip", "a.mp4")
    else:
        with pytest.raises(errors.OutsideLimits, match="Nothing was submitted") as caught:
            presigned(bucket, []).put(b"clip", "a.mp4")
        assert "SECRET" not in str(caught.value)
    assert len(bucket.got) == puts


@pytest.mark.parametrize(
    "get", ["http://clips.example/{name}", "https://192.168.1.5/{name}", "https://u:p@x.example/{name}"]
)
def test_an_address_runcomfy_cannot_fetch_is_refused(bucket, get):
    with pytest.raises(errors.OutsideLimits, match="could not fetch"):
        presigned(bucket, [], get_template=get).put(b"clip", "a.mp4")


@pytest.mark.parametrize("name", ["../a.mp4", "a b.mp4", "", "x" * 101])
def test_a_name_that_is_no_plain_file_name_is_refused(bucket, name):
    with pytest.raises(errors.OutsideLimits, match="plain file name"):
        presigned(bucket, []).put(b"clip", name)
    assert bucket.got == []


class FakeS3:
    def __init__(self, error: Exception | None = None):
        self.error, self.calls = error, []

    def put_object(self, **settings):
        self.calls.append(settings)
        if self.error:
            raise self.error

    def generate_presigned_url(self, action, Params, ExpiresIn):
        return f"https://s3.example/{Params['Bucket']}/{Params['Key']}?e={ExpiresIn}"


def test_a_bucket_gets_the_clip_and_gives_a_signed_link():
    client = FakeS3()
    address = storage.S3(client, "mine", "clips/", 60).put(b"clip", "a.mp4")
    assert address == "https://s3.example/mine/clips/a.mp4?e=60"
    assert client.calls == [{"Bucket": "mine", "Key": "clips/a.mp4", "Body": b"clip", "ContentType": "video/mp4"}]


def test_a_bucket_that_refuses_is_named_without_its_words():
    with pytest.raises(errors.OutsideLimits, match=r"mine.*ValueError") as caught:
        storage.S3(FakeS3(ValueError("key SECRET denied")), "mine").put(b"clip", "a.mp4")
    assert "SECRET" not in str(caught.value)


def test_without_boto3_it_is_said_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(errors.OutsideLimits, match="boto3"):
        storage.s3_storage("mine")
