"""One call is made once, and after a failure it is known whether the server can have acted on it."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from seedvr2_anywhere import net

FAST = net.Timeouts(connect_s=1, read_s=0.5, block_s=0.5)
PATIENT = net.Timeouts(connect_s=20, read_s=20, block_s=20)


class OneAnswer:
    """A server that takes one connection: reads `reads` bytes (None: the head and the whole body), then answers."""

    def __init__(self, reads: int | None, answer: bytes | None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.got = b""
        self.connections = 0
        self.thread = threading.Thread(target=self.serve, args=(reads, answer), daemon=True)
        self.thread.start()

    def serve(self, reads, answer) -> None:
        connection, _ = self.listener.accept()
        self.connections += 1
        connection.settimeout(2)
        with connection:
            while len(self.got) < reads if reads is not None else not self.is_whole():
                block = connection.recv(65536)
                if not block:
                    return
                self.got += block
            if answer is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            elif answer:
                connection.sendall(answer)
            else:
                threading.Event().wait(1.0)

    def is_whole(self) -> bool:
        head, _, body = self.got.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
        return b"\r\n\r\n" in self.got and len(body) >= length


def post(server: OneAnswer, body: bytes = b'{"a": 1}', **settings):
    session = net.guarded_session(net.Rules(loopback=True))
    upload = net.Upload.of(body)
    return net.call(
        session, "POST", server.base + "/x", {"Authorization": "Bearer s"}, upload, timeouts=FAST, **settings
    )


def test_the_body_arrives_as_it_is_with_its_length_and_the_answer_whole():
    server = OneAnswer(None, b"HTTP/1.1 202 OK\r\nX-Name: y\r\nContent-Length: 2\r\n\r\n{}")
    body = bytes(range(256)) * 5000
    answer = post(server, body)
    assert (answer.status, answer.body, answer.headers["x-name"]) == (202, b"{}", "y")
    assert server.got.endswith(body)
    assert f"content-length: {len(body)}".encode() in server.got.lower()


@pytest.mark.parametrize(
    ("name", "reads", "answer", "error"),
    [
        ("reset after the body", None, None, net.Unreachable),
        ("silence after the body", None, b"", net.Unreachable),
        ("closed without an answer", None, b"nonsense", net.Unreachable),
        ("answer cut short", None, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", net.Unreachable),
        ("answer too long", None, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b"x" * 99, net.Refused),
        ("reset before the body", 0, None, net.NotSent),
    ],
)
def test_a_failure_says_whether_all_was_sent(name, reads, answer, error):
    server = OneAnswer(reads, answer)
    body = bytes(12 << 20) if reads == 0 else b"{}"
    with pytest.raises(error) as caught:
        post(server, body, most_bytes=50)
    assert type(caught.value) is error, name
    assert server.connections == 1, "a call is made once"


def test_an_answer_given_before_the_body_was_read_is_an_answer():
    server = OneAnswer(1000, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    with contextlib.suppress(net.NotSent):  # the reset may overtake it: then at least nothing was accepted
        assert post(server, bytes(12 << 20)).status == 413


def test_nobody_there_is_not_sent():
    session = net.guarded_session(net.Rules(loopback=True))
    with pytest.raises(net.NotSent):
        net.call(session, "POST", "http://127.0.0.1:9/x", {}, net.Upload.of(b"{}"), timeouts=FAST)


def test_a_stop_in_the_middle_of_the_body_is_passed_on():
    def pieces():
        yield b"x" * 100_000
        raise net.Cancelled("stopped")

    session = net.guarded_session(net.Rules(loopback=True))
    server = OneAnswer(None, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    upload = net.Upload(pieces(), 200_000)
    with pytest.raises(net.Cancelled):
        net.call(session, "POST", server.base, {}, upload, timeouts=FAST)
    assert not upload.complete


def test_a_redirect_is_an_answer_like_any_other():
    server = OneAnswer(None, b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
    assert post(server).status == 307


class Forgetful:
    """A server that answers one request per connection without saying that it closes, and drops the next one on it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked_again = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            self.asked_again += bool(connection.recv(65536))


def test_a_call_never_goes_out_on_a_connection_the_server_may_be_closing():
    server, session = Forgetful(), net.guarded_session(net.Rules(loopback=True))
    for _ in range(3):
        assert net.call(session, "GET", server.base + "/x", {}, timeouts=PATIENT).body == b"{}"
    assert server.asked_again == 0
