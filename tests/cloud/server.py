"""A RunComfy of our own: the documented calls over real HTTP, with timelines, money and every fault one can ask for.

`Service` holds what the service knows and what it is told to do wrong; `running()` serves it on a loopback port.
A fault is a function `(call) -> True when it has answered`; faults of an endpoint are played one per call, in order.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

MODEL_PATH = "/v1/models/community/seedvr2/upscale/video"
TOKEN = "test-token-0123456789abcdef"
TOY_HEAD = b"\x00\x00\x00\x18ftyptoy "  # begins like an MP4, holds a numpy array
SCHEMA = {
    "35_new_resolution": (int, 720, 1440),
    "33_frame_load_cap": (int, 32, 160),
    "34_frame_rate": (int, 12, 30),
    "35_seed": (int, 1, 5000),
    "35_cfg_scale": (float, 1.01, 2),
    "35_batch_size": (int, 1, 4),
}

DOCUMENTED = frozenset({"submit", "status", "result", "cancel"})

Fault = Callable[["Call"], bool]


@dataclass
class Request:
    """One accepted request; `timeline` gives the states of its next looks, the last one stays."""

    id: str
    account: str
    values: dict
    output: bytes
    timeline: list[str]
    cost: object = 0.25
    final: str = "succeeded"
    error: object = None
    shape: Callable[[str], object] = lambda url: {"video": url}
    looks: int = 0

    def state(self) -> str:
        return self.timeline[min(self.looks, len(self.timeline) - 1)]


@dataclass
class Service:
    """What the service knows, and its `faults` by endpoint: submit, status, result, cancel, price, download …"""

    base: str = ""
    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: "alice"})
    posts: list[dict] = field(default_factory=list)  # every complete paid POST that arrived, accepted or not
    requests: dict[str, Request] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # endpoint, path, headers
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=lambda: ["completed"])
    cost: object = 0.25
    price: dict | None = field(default_factory=lambda: {"base_price_usd": 0.25, "price_unit": "output"})
    shape: Callable[[str], object] = lambda url: {"video": url}
    transform: Callable[[bytes, dict], bytes] | None = None
    prefix: str = "/out"
    stored: dict[str, bytes] = field(default_factory=dict)  # by path below /storage/: put there, or there to be fetched
    is_bare: bool = False  # answers the documented calls only, and names no cost
    lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, endpoint: str, *faults: Fault) -> None:
        self.faults.setdefault(endpoint, []).extend(faults)

    def next_fault(self, endpoint: str) -> Fault | None:
        with self.lock:
            planned = self.faults.get(endpoint)
            return planned.pop(0) if planned else None

    def only(self) -> Request:
        assert len(self.requests) == 1, list(self.requests)
        return next(iter(self.requests.values()))

    def count(self, endpoint: str) -> int:
        return sum(one == endpoint for one, _, _ in self.calls)

    def fetched(self, address: str) -> bytes:
        """What lies behind an address, where that is here; else the address itself, which is enough without video."""
        return self.stored.get(urlsplit(address).path, address.encode())

    def accept(self, values: dict, account: str) -> Request:
        with self.lock:
            number = len(self.requests) + 1
            clip = values["33_video"]
            data = base64.b64decode(clip.split(",", 1)[1]) if clip.startswith("data:") else self.fetched(clip)
            output = (self.transform or toy_upscale)(data, values)
            request = Request(f"req-{number:04d}", account, values, output, list(self.timeline), self.cost)
            request.shape = self.shape
            self.requests[request.id] = request
            return request


class Call(BaseHTTPRequestHandler):
    """One HTTP call; faults use `reply`, `raw`, `drop` and `body`."""

    protocol_version = "HTTP/1.1"
    server: Server
    _body: bytes | None = None

    @property
    def service(self) -> Service:
        return self.server.service

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        found = re.fullmatch(r"/v1/requests/([^/]+)/(status|result)", path)
        if found:
            self._play(found[2], lambda: self._look(found[1], found[2]))
        elif path == MODEL_PATH:
            self._play("price", self._price)
        elif path in self.service.stored:
            self.reply(200, self.service.stored[path], Content_Type="video/mp4")
        elif path.startswith(self.service.prefix):
            self._play("download", self._download)
        else:
            self.reply(404, {"error_code": 404001, "message": "no such thing"})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        found = re.fullmatch(r"/v1/requests/([^/]+)/cancel", path)
        if found:
            self._play("cancel", lambda: self._cancel(found[1]))
        elif path == MODEL_PATH:
            self._play("submit", self._submit)
        else:
            self.reply(404, {"error_code": 404001})

    def do_PUT(self) -> None:
        self.service.stored[urlsplit(self.path).path] = self.body()
        self.reply(200, {})

    def body(self) -> bytes:
        """The body, read once; a complete one at the model's address counts as a paid POST."""
        if self._body is None:
            length = int(self.headers.get("Content-Length", 0))
            self._body = self.rfile.read(length)
            if self.command == "POST" and len(self._body) == length and urlsplit(self.path).path == MODEL_PATH:
                with self.service.lock:
                    self.service.posts.append(json.loads(self._body))
        return self._body

    def account(self) -> str | None:
        return self.service.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def submit_normally(self) -> Request | None:
        """Accept the submission without answering."""
        values = json.loads(self.body())
        return self.service.accept(values, self.account() or "")

    def reply(self, status: int, body: object, **headers: str) -> bool:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(text))}
        for name, value in {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)
        return True

    def drop(self) -> bool:
        """Reset the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            self.connection.close()
        return True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _play(self, endpoint: str, normally: Callable[[], object]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.service.calls.append((endpoint, self.path, headers))
        fault = self.service.next_fault(endpoint)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ValueError):
            if fault and fault(self):
                return
            if endpoint != "download" and self.account() is None:
                self.reply(400, {"error_code": 400004, "message": "token invalid"})
                return
            normally()

    def _submit(self) -> None:
        values = json.loads(self.body())
        wrong = [name for name, value in values.items() if not _is_valid(name, value)]
        if wrong or "33_video" not in values:
            self.reply(422, {"detail": [{"loc": ["body", name], "msg": "out of range"} for name in wrong]})
            return
        request = self.service.accept(values, self.account() or "")
        root = f"{self.service.base}/requests/{request.id}"
        urls = {f"{name}_url": f"{root}/{name}" for name in ("status", "result", "cancel")}
        self.reply(200, {"request_id": request.id, **urls})

    def _look(self, request_id: str, endpoint: str) -> None:
        request = self.service.requests.get(request_id)
        if request is None:
            self.reply(404, {"error_code": 404001, "message": "request not found"})
        elif request.account != self.account():
            self.reply(403, {"error_code": 403001, "message": "belongs to another user"})
        elif endpoint == "status":
            state = request.state()
            request.looks += 1
            name, _, position = state.partition(":")
            self.reply(200, {"request_id": request_id, "status": name, **_position(position)})
        else:
            self.reply(200, self._result(request))

    def _result(self, request: Request) -> dict:
        name = request.state().partition(":")[0]
        # the last state of the timeline is what /status says; /result tells how it ended
        final = request.final if name in ("completed", "succeeded") else name
        body: dict = {"request_id": request.id, "status": final, "input": request.values, "created_at": "now"}
        if final == "succeeded":
            root = self.service.base.removesuffix("/v1")
            body["output"] = request.shape(f"{root}{self.service.prefix}/{request.id}_output.mp4")
        if request.error is not None:
            body["error"] = request.error
        if "include_cost=true" in self.path and request.cost is not None and not self.service.is_bare:
            body["cost"] = request.cost
        return body

    def _cancel(self, request_id: str) -> None:
        request = self.service.requests[request_id]
        if request.state().startswith("in_queue"):
            request.timeline = ["cancelled"]
            self.reply(202, {"request_id": request_id, "status": "completed", "outcome": "cancelled"})
        else:
            self.reply(202, {"request_id": request_id, "status": request.state(), "outcome": "not_cancellable"})

    def _price(self) -> None:
        if self.service.price is None or self.service.is_bare:
            self.reply(404, {"error_code": 404001})
        else:
            self.reply(200, {"model_id": "community/seedvr2/upscale/video", **self.service.price})

    def _download(self) -> None:
        found = re.search(r"(req-\d+)_output", self.path)
        data = self.service.requests[found[1]].output if found else b""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        span = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        self.reply(206 if asked else 200, data[start:], Content_Type="video/mp4", ETag=f'"{len(data)}"', **span)


class Server(ThreadingHTTPServer):
    service: Service
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass  # broken connections are the point


@contextlib.contextmanager
def running() -> Iterator[Service]:
    """A Service answering on a free loopback port."""
    server = Server(("127.0.0.1", 0), Call)
    service = server.service = Service()
    service.base = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pictures():
    """The module that upscales real clips, loaded when it is needed: everything else works without video."""
    name = "seedvr2_test_pictures"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).resolve().parent / "pictures.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


# -- faults -----------------------------------------------------------------------------------------------------------


def answer(status: int, body: object, **headers: str) -> Fault:
    """Read the call and answer so instead."""

    def fault(call: Call) -> bool:
        call.body()
        return call.reply(status, body, **headers)

    return fault


def normal(call: Call) -> bool:
    """No fault: keeps a place in the order."""
    return False


def accepted_then_dropped(call: Call) -> bool:
    """The submission is accepted, the answer lost."""
    call.submit_normally()
    return call.drop()


def accepted_but(status: int, body: object) -> Fault:
    """The submission is accepted, and the answer is this."""

    def fault(call: Call) -> bool:
        call.submit_normally()
        return call.reply(status, body)

    return fault


def dropped_unread(call: Call) -> bool:
    """The connection is reset while the body is still on its way."""
    time.sleep(0.05)
    return call.drop()


def dropped(call: Call) -> bool:
    return call.drop()


def late(seconds: float) -> Fault:
    """The normal answer, later."""

    def fault(call: Call) -> bool:
        call.body()
        time.sleep(seconds)
        return False

    return fault


def short_body(call: Call) -> bool:
    """Announce more than is sent."""
    call.send_response(200)
    call.send_header("Content-Length", "500")
    call.end_headers()
    call.wfile.write(b'{"status": "comp')
    return call.drop()


def redirected(to: str, status: int = 302) -> Fault:
    return answer(status, {}, Location=to)


# -- the toy codec: fast, lossless, and enough for everything but pictures ---------------------------------------------


def toy_clip(frames: np.ndarray) -> bytes:
    """Frames [T, H, W, C] as a file that begins like an MP4."""
    buffer = io.BytesIO()
    np.save(buffer, frames)
    return TOY_HEAD + buffer.getvalue()


def toy_frames(data: bytes) -> np.ndarray:
    """The frames of a toy clip; ValueError when it is none."""
    if not data.startswith(TOY_HEAD):
        raise ValueError("not a toy clip")
    return np.load(io.BytesIO(data[len(TOY_HEAD) :]))


def toy_upscale(data: bytes, values: dict) -> bytes:
    """Twice the size, the frame cap applied, and an offset of the request's own that depends on its input alone."""
    frames = toy_frames(data)[: values["33_frame_load_cap"]]
    offset = int(frames.sum()) % 5
    return toy_clip((frames.repeat(2, 1).repeat(2, 2) + offset).astype(np.uint8))


def _is_valid(name: str, value: object) -> bool:
    if name == "33_video":
        return isinstance(value, str) and value.startswith(("data:video/", "https://", "http://127."))
    kind, low, high = SCHEMA.get(name, (None, 0, 0))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return bool(kind) and is_number and (kind is float or isinstance(value, int)) and low <= value <= high


def _position(text: str) -> dict:
    return {"queue_position": int(text)} if text.isdigit() else {}
