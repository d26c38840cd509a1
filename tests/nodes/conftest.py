"""One real ComfyUI server for all tests of the nodes, with this pack alone and folders of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import media

ROOT = Path(__file__).resolve().parent.parent.parent
COMFYUI = ROOT / ".env" / "ComfyUI"
PACK = "seedvr2-anywhere"
START_SECONDS, RUN_SECONDS = 90, 90
SIZE, FRAMES, RATE = (48, 32), 24, Fraction(24)  # width and height


@dataclass
class Server:
    """A running server and its folders."""

    address: str
    base: Path

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def output(self) -> Path:
        return self.base / "output"

    def main_job(self) -> dict:
        """The bundled API workflow on the small clip, with the model that is always there."""
        found = json.loads((ROOT / "workflows" / "api" / "video_upscale.json").read_text(encoding="utf-8"))
        found["33"]["inputs"]["video"] = "clip.mp4"
        found["35"]["inputs"] |= {"new_resolution": 48, "backend.model": "embedded (small, built in)"}
        return found

    def get(self, path: str):
        """The JSON answer of a GET."""
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, content: object) -> tuple[int, dict]:
        """(status, JSON answer) of a POST, refusals included."""
        request = urllib.request.Request(
            self.address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read())

    def run(self, workflow: dict) -> dict:
        """The history entry of a workflow, once it is done or has failed."""
        status, answer = self.post("/prompt", {"prompt": workflow})
        assert status == 200, answer
        return self.wait(answer["prompt_id"])

    def wait(self, prompt_id: str) -> dict:
        """The history entry of a queued prompt."""
        until = time.monotonic() + RUN_SECONDS
        while time.monotonic() < until:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry.get("status", {}).get("status_str"):
                return entry
            time.sleep(0.2)
        raise AssertionError(f"not done after {RUN_SECONDS} s")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """ComfyUI on the CPU, stopped at the end."""
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("input", "output", "temp", "user", "models", "custom_nodes"):
        (base / name).mkdir()
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    write_clip(base / "input" / "clip.mp4")
    port = free_port()
    log = (base / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "main.py", "--cpu", "--port", str(port), "--base-directory", str(base),
         "--disable-auto-launch", "--disable-api-nodes", "--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK,
         "--database-url", "sqlite:///:memory:"],
        cwd=COMFYUI, stdout=log, stderr=subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SEEDVR2_", "RUNCOMFY_"))},
    )  # fmt: skip
    try:
        found = Server(f"http://127.0.0.1:{port}", base)
        wait_until_up(found, process, base / "server.log")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def wait_until_up(server: Server, process: subprocess.Popen, log: Path) -> None:
    """Return when the server answers."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            server.get("/queue")
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"ComfyUI did not start:\n{log.read_text(errors='replace')[-3000:]}")


def write_clip(path: Path) -> None:
    """A second of moving texture with sound."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    waves = [128 + 100 * np.sin((columns + 2 * number) / 5) * np.cos(rows / 7) for number in range(FRAMES)]
    frames = np.stack([np.stack([wave, wave * 0.5, 255 - wave], axis=-1).astype(np.uint8) for wave in waves])
    tone = np.sin(np.arange(48000) / 20).astype(np.float32)[None] * 0.3
    media.write(path, [(frames, np.arange(FRAMES))], time_base=1 / RATE, picture=media.Picture(rate=RATE),
                sound=media.Sound(samples=media.Samples(tone, 48000)))  # fmt: skip


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
