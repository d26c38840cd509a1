"""A real HTTP server on loopback that serves files and, by script, breaks in every way a server can."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler", bytes], None]


class FileServer:
    """`files` maps a path to bytes; each GET plays the next behaviour of `script`, or serves properly without one."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[Behaviour] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.etags: dict[str, str] = {}
        self.connections = 0
        self.base = ""
        self._lock = threading.Lock()

    def next_behaviour(self) -> Behaviour:
        with self._lock:
            return self.script.pop(0) if self.script else serve

    def etag(self, path: str) -> str:
        return self.etags.get(path) or f'"{hashlib.md5(self.files[path]).hexdigest()}"'

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for _path, headers in self.seen]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = owner.files.get(self.path.split("?")[0])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if body is None and not owner.script:
                status(404)(self, b"")
            else:
                owner.next_behaviour()(self, body or b"")

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    owner: FileServer
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # broken connections are the point


@contextlib.contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """A FileServer answering on a free loopback port, over TLS when a context is given."""
    owner = FileServer()
    server = Server(("127.0.0.1", 0), Handler)
    server.owner = owner
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    owner.base = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve(handler: Handler, body: bytes) -> None:
    """The proper answer, with ETag, Range and If-Range."""
    etag = handler.server.owner.etag(handler.path.split("?")[0])
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if asked and handler.headers.get("If-Range", etag) == etag:
        start, stop = int(asked[1]), int(asked[2] or len(body) - 1) + 1
        if start >= len(body):
            return handler.head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
        part = body[start:stop]
        span = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
        handler.head(206, {"Content-Length": str(len(part)), "Content-Range": span, "ETag": etag})
        handler.wfile.write(part)
        return None
    handler.head(200, {"Content-Length": str(len(body)), "ETag": etag, "Accept-Ranges": "bytes"})
    handler.wfile.write(body)
    return None


def cut_after(count: int) -> Behaviour:
    """Announce what is asked for, send `count` bytes of it, close."""

    def behaviour(handler: Handler, body: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        headers = {"Content-Length": str(len(body) - start), "ETag": handler.server.owner.etag(handler.path)}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.head(206 if asked else 200, headers)
        handler.wfile.write(body[start : start + count])
        handler.close_connection = True

    return behaviour


def without_ranges(handler: Handler, body: bytes) -> None:
    """The whole file, whatever was asked, and no validator."""
    handler.head(200, {"Content-Length": str(len(body))})
    handler.wfile.write(body)


def chunked(handler: Handler, body: bytes) -> None:
    """No length announced."""
    handler.head(200, {"Transfer-Encoding": "chunked"})
    for start in range(0, len(body), 5000):
        piece = body[start : start + 5000]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def other_bytes(replacement: bytes) -> Behaviour:
    """A well-formed 200 with something else in it."""

    def behaviour(handler: Handler, _body: bytes) -> None:
        handler.head(200, {"Content-Length": str(len(replacement)), "Content-Type": "text/html"})
        handler.wfile.write(replacement)

    return behaviour


def wrong_range(handler: Handler, body: bytes) -> None:
    """A 206 that starts somewhere else than asked."""
    handler.head(206, {"Content-Length": str(len(body)), "Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"})
    handler.wfile.write(body)


def status(code: int, **headers: str) -> Behaviour:
    """An error answer; underscores in header names become dashes."""

    def behaviour(handler: Handler, _body: bytes) -> None:
        text = b"<html>trouble</html>"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.head(code, {"Content-Length": str(len(text)), **named})
        handler.wfile.write(text)

    return behaviour


def redirect(to: str, code: int = 302) -> Behaviour:
    return status(code, Location=to)


def drip(first: int, pause_s: float) -> Behaviour:
    """Send `first` bytes at once, then one byte per pause, until the client gives up."""

    def behaviour(handler: Handler, body: bytes) -> None:
        handler.head(200, {"Content-Length": str(len(body)), "ETag": handler.server.owner.etag(handler.path)})
        handler.wfile.write(body[:first])
        for index in range(first, min(len(body), first + 1000)):
            time.sleep(pause_s)
            handler.wfile.write(body[index : index + 1])

    return behaviour


def silence(seconds: float) -> Behaviour:
    """Say nothing at all for a while, then close."""

    def behaviour(handler: Handler, _body: bytes) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return behaviour
