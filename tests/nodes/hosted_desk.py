"""A real ComfyUI in front of RunComfy's test service: what the tests of the hosted backend share."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from seedvr2_anywhere import media
from seedvr2_anywhere.tools import comfyui

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "hosted_upscale.json"
EXAMPLE, LONG = "seedvr2_example.mp4", "long.mp4"  # of 12 frames, and of 200 in two shots
PROBES = ("loop_probe", "environment_probe")  # how late the event loop is; variables changed while it runs
SHRINK = 7.5  # the service is told to make results so much smaller than asked: 1080 becomes 144, 720 becomes 96
SIZE, FRAMES, RATE = (64, 48), 12, 24
SECONDS = 300
POLL = 0.05
ENDS = ("execution_success", "execution_error", "execution_interrupted")


def runcomfy():
    """The test service's module."""
    name = "seedvr2_test_runcomfy"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "cloud" / "server.py")
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def write_clip(
    path: Path, frames: int = FRAMES, cut: int | None = None, rate: int = RATE, size: tuple[int, int] = SIZE
) -> None:
    """A drifting pattern with sound; from frame `cut` on another one."""
    rows, columns = np.mgrid[: size[1], : size[0]]

    def picture(number: int) -> np.ndarray:
        turned = columns + 2 * number if cut is None or number < cut else 3 * rows - number
        wave = 128 + 80 * np.sin(turned / 9) * np.cos(rows / 13)
        return np.stack([wave, wave * 0.7, 255 - wave], axis=-1).astype(np.uint8)

    tone = np.sin(np.arange(48000 * frames // rate) / 20).astype(np.float32)[None] * 0.3
    media.write(path, [(picture(number)[None], np.array([number])) for number in range(frames)],
                time_base=1 / media.snap_rate(rate), sound=media.Sound(samples=media.Samples(tone, 48000)))  # fmt: skip


@dataclass
class Desk:
    """A ComfyUI whose environment names the service, and the service."""

    comfy: Any
    service: Any
    token: str

    def workflow(self, **upscale: object) -> dict:
        """The bundled workflow with other widgets of Upscale, and its report shown."""
        found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
        found["35"]["inputs"] |= {name.replace("__", "."): value for name, value in upscale.items()}
        found["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
        return found

    def auto(self, **upscale: object) -> dict:
        """The same with the backend auto."""
        found = self.workflow(backend="auto", **upscale)
        hosted = [name for name in found["35"]["inputs"] if name.startswith("backend.")]
        for name in hosted:
            del found["35"]["inputs"][name]
        return found

    def run(self, workflow: dict) -> dict:
        entry = self.comfy.run(workflow, SECONDS)
        assert entry["status"]["status_str"] == "success", error_of(entry)
        return entry

    def save_token(self, token: str = "") -> None:
        """As the page does; the service's own by default."""
        status, _ = self.comfy.call("PUT", "/seedvr2/token", {"token": token or self.token})
        assert status == 200

    @contextlib.contextmanager
    def environment(self, **variables: str | None) -> Iterator[None]:
        """Other variables in the server's environment for a while; None takes one away."""
        status, before = self.comfy.post("/environment_probe", variables)
        assert status == 200
        try:
            yield
        finally:
            self.comfy.post("/environment_probe", before)

    def settings(self, **changes: object) -> None:
        status, answer = self.comfy.post("/seedvr2/settings", changes)
        assert status == 200, answer

    def forget(self) -> None:
        """What earlier tests asked of the service."""
        for one in (self.service.posts, self.service.calls, self.service.faults):
            one.clear()
        self.service.timeline, self.service.is_bare = ["completed"], False


@contextlib.contextmanager
def opened(base: Path) -> Iterator[Desk]:
    """Service and ComfyUI, which has two clips and the probe but no token yet."""
    (base / "input").mkdir()
    write_clip(base / "input" / EXAMPLE)
    write_clip(base / "input" / LONG, 200, cut=90)
    for probe in PROBES:
        shutil.copytree(Path(__file__).resolve().parent / probe, base / "custom_nodes" / probe)
    servers = runcomfy()
    with servers.running() as service:
        service.transform = servers.pictures().Upscaler(shrink=SHRINK, seed=4)
        home = {"RUNCOMFY_MODEL_API_BASE": service.base, "RUNCOMFY_CONFIG_DIR": str(base), "HOME": str(base)}
        shown = ("--whitelist-custom-nodes", comfyui.PACK, *PROBES)
        with comfyui.running(base, *shown, threads=1, variables=home) as comfy:
            yield Desk(comfy, service, servers.TOKEN)


def error_of(entry: dict) -> str:
    """The message of a failed run."""
    return next(
        (part[1]["exception_message"] for part in entry["status"]["messages"] if part[0] == "execution_error"), ""
    )


def report_of(entry: dict) -> str:
    return "\n".join(entry["outputs"]["36"]["text"])


def saved(desk, entry: dict) -> media.MediaInfo:
    shown = entry["outputs"]["34"]["images"][0]
    return media.probe(desk.comfy.output / shown["subfolder"] / shown["filename"])


def stamps(path: Path) -> list:
    with media.read(path) as batches:
        return [int(tick) * batches.time_base for batch in batches for tick in batch[1]]


async def run_watched(desk, workflow: dict, stop_when=lambda status: False) -> tuple[list[dict], list[float], float]:
    """Run: what the page hears and when, seconds each GET of the queue took meanwhile, seconds from stop to end."""
    told, waits, stopped, ended = [], [], None, asyncio.Event()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{desk.comfy.address}/ws?clientId=h") as socket:
        async with session.post(f"{desk.comfy.address}/prompt", json={"prompt": workflow, "client_id": "h"}) as answer:
            prompt = (await answer.json())["prompt_id"]

        async def probe() -> None:
            while not ended.is_set():
                began = time.monotonic()
                async with session.get(f"{desk.comfy.address}/queue") as answer:
                    await answer.read()
                if told and told[-1].get("state") == "running":  # not ComfyUI's own collection of garbage at the end
                    waits.append(time.monotonic() - began)
                await asyncio.sleep(POLL)

        probing = asyncio.create_task(probe())
        async with asyncio.timeout(SECONDS):
            async for message in socket:
                content = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {}
                if content.get("type") == "seedvr2.run":
                    told.append(content["data"] | {"at": time.monotonic()})
                    if stopped is None and stop_when(content["data"]):
                        stopped = time.monotonic()
                        await session.post(f"{desk.comfy.address}/interrupt", json={"prompt_id": prompt})
                if content.get("type") in ENDS and content["data"]["prompt_id"] == prompt:
                    told.append({"end": content["type"]})
                    break
        ended.set()
        await probing
    return told, waits, time.monotonic() - (stopped or time.monotonic())


def states_of(told: list[dict]) -> list[tuple[str, ...]]:
    """The states of all segments, each combination once."""
    return list(
        dict.fromkeys(tuple(one["state"] for one in status["segments"]) for status in told if "segments" in status)
    )
