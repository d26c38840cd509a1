"""A real ComfyUI server with this pack alone, in a folder of its own, for scripts and tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = ROOT / ".env" / "ComfyUI"
PACK = "seedvr2-anywhere"
LOG = "server.log"
FOLDERS = ("input", "output", "temp", "user", "models", "custom_nodes")
START_SECONDS = 600  # a limit for hangs: a machine that does much else needs minutes
STOP_SECONDS, CALL_SECONDS, POLL_SECONDS = 10, 30, 0.2
HTTP_OK = 200
OWN_VARIABLES = ("SEEDVR2_", "RUNCOMFY_")  # of the shell: they would change what the server does


class NotRunning(Exception):
    """The server did not start or went away; the message holds the end of its log."""


@dataclass
class Server:
    """A running server and its folders."""

    address: str
    base: Path
    process: subprocess.Popen
    log: Path | None = None  # None: server.log in its folder

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def output(self) -> Path:
        return self.base / "output"

    def get(self, path: str):
        """The JSON answer of a GET."""
        with urllib.request.urlopen(self.address + path, timeout=CALL_SECONDS) as answer:
            return json.load(answer)

    def post(self, path: str, content: object) -> tuple[int, dict]:
        """(status, JSON answer) of a POST, refusals included."""
        return self.call("POST", path, content)

    def call(self, method: str, path: str, content: object) -> tuple[int, dict]:
        """(status, JSON answer) of a request with a JSON body, refusals included."""
        request = urllib.request.Request(
            self.address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read())

    def run(self, prompt: dict, seconds: float) -> dict:
        """The history entry of a workflow, done or failed. Raises ValueError on a refusal, TimeoutError when late."""
        status, answer = self.post("/prompt", {"prompt": prompt})
        if status != HTTP_OK:
            raise ValueError(f"ComfyUI refused the workflow: {json.dumps(answer, ensure_ascii=False)}")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if entry := self.history(answer["prompt_id"]):
                return entry
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"not done after {seconds:g} s:\n{log_tail(self)}")

    def history(self, prompt_id: str) -> dict | None:
        """The entry of a prompt that is done or has failed."""
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        return entry if entry and entry.get("status", {}).get("status_str") else None


def running(
    base: Path,
    *options: str,
    threads: int | None = None,
    variables: Mapping[str, str] | None = None,
    cpu: bool = True,
    port: int | None = None,
) -> contextlib.AbstractContextManager[Server]:
    """Our ComfyUI with `base` as its folder and this pack alone, stopped at the end.

    `threads` limits torch's; `variables` are added to its environment. Entering raises NotRunning.
    """
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    if not has_pack(base):
        _link_pack(base)
    alone = ["--base-directory", str(base.resolve()), "--disable-api-nodes", "--disable-all-custom-nodes",
             "--whitelist-custom-nodes", PACK, "--database-url", "sqlite:///:memory:", *options]  # fmt: skip
    alone += ["--cpu"] if cpu else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    environment |= variables or {}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    return _started(COMFYUI, base, base / LOG, alone, environment, port or free_port())


def existing(folder: Path, log: Path, cpu: bool = False) -> contextlib.AbstractContextManager[Server]:
    """Somebody's ComfyUI as it is, run by the current interpreter; this pack is linked into it unless it is there.

    Raises NotRunning where `folder` holds no ComfyUI; entering does when it does not start.
    """
    if not (folder / "main.py").is_file():
        raise NotRunning(f"{folder} is not ComfyUI's folder: there is no main.py in it.")
    if not has_pack(folder):
        _link_pack(folder)
    return _started(folder, folder, log, ["--cpu"] if cpu else [], dict(os.environ), free_port())


def has_pack(base: Path) -> bool:
    """True when a folder in custom_nodes/ is this pack, whatever the folder is called."""
    found = (base / "custom_nodes").glob("*/pyproject.toml")
    return any(f'name = "{PACK}"' in path.read_text(encoding="utf-8", errors="replace") for path in found)


def _link_pack(base: Path) -> None:
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)


@contextlib.contextmanager
def _started(
    folder: Path, base: Path, log: Path, options: list[str], environment: dict[str, str], port: int
) -> Iterator[Server]:
    command = [sys.executable, "main.py", "--port", str(port), "--disable-auto-launch", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            server = Server(f"http://127.0.0.1:{port}", base, process, log)
            _wait_until_up(server)
            yield server
        finally:
            _stop(process)


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def log_tail(server: Server, characters: int = 3000) -> str:
    """The end of what the server said."""
    return (server.log or server.base / LOG).read_text(errors="replace")[-characters:]


def _wait_until_up(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            server.get("/queue")
            return
        except OSError:
            time.sleep(POLL_SECONDS)
    raise NotRunning(f"ComfyUI did not start:\n{log_tail(server)}")


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
