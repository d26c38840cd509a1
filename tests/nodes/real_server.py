"""One real ComfyUI server for all tests of nodes and pack, with this pack alone and folders of its own."""

from __future__ import annotations

import compileall
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from seedvr2_anywhere import media
from seedvr2_anywhere.tools import comfyui
from seedvr2_anywhere.tools.environment import OLD_PYAV

ROOT = Path(__file__).resolve().parent.parent.parent
PYAV = "SEEDVR2_PYAV"  # "oldest": the server reads and writes with the oldest PyAV, not the newest
PROBE = "start_probe"  # what this pack does while ComfyUI starts
ROOMS = ("nodes", "engine", "cloud", "models", "media", "net")
RUN_SECONDS = 240  # many times what the longest run takes on an idle machine
SIZE, FRAMES, RATE = (48, 32), 24, Fraction(24)  # width and height


class Server(comfyui.Server):
    """A running server, and the job that most tests vary."""

    def main_job(self) -> dict:
        """The bundled API workflow on the small clip, with the model that is always there."""
        found = json.loads((ROOT / "workflows" / "api" / "video_upscale.json").read_text(encoding="utf-8"))
        found["33"]["inputs"]["video"] = "clip.mp4"
        found["35"]["inputs"] |= {"new_resolution": 48, "backend.model": "embedded (small, built in)"}
        return found

    def run(self, prompt: dict, seconds: float = RUN_SECONDS) -> dict:
        """The history entry of a workflow, once it is done or has failed."""
        status, answer = self.post("/prompt", {"prompt": prompt})
        assert status == 200, answer
        return self.wait(answer["prompt_id"], seconds)

    def wait(self, prompt_id: str, seconds: float = RUN_SECONDS) -> dict:
        """The history entry of a queued prompt."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            entry = self.history(prompt_id)
            if entry:
                return entry
            time.sleep(0.2)
        raise AssertionError(f"not done after {seconds:g} s:\n{comfyui.log_tail(self)}")


@contextlib.contextmanager
def opened(tmp_path_factory) -> Iterator[Server]:
    """ComfyUI on the CPU, stopped at the end. One thread: more wait for each other on a busy machine, for minutes."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "input").mkdir()
    write_clip(base / "input" / "clip.mp4")
    shutil.copytree(Path(__file__).with_name(PROBE), base / "custom_nodes" / PROBE)
    for room in ROOMS:
        compileall.compile_dir(ROOT / room, quiet=1)  # as at any start but the first one
    both, variables = ("--whitelist-custom-nodes", comfyui.PACK, PROBE), other_pyav(tmp_path_factory)
    with comfyui.running(base, *both, threads=1, variables=variables) as found:
        yield Server(found.address, found.base, found.process)


def other_pyav(tmp_path_factory) -> dict[str, str]:
    """Variables with which a server finds the oldest PyAV that ComfyUI allows, where PYAV asks for it."""
    if os.environ.get(PYAV) != "oldest":
        return {}
    folder = tmp_path_factory.mktemp("pyav")
    for one in OLD_PYAV.glob("lib/python*/site-packages/av*"):
        (folder / one.name).symlink_to(one)
    return {"PYTHONPATH": str(folder)}


def write_clip(path: Path) -> None:
    """A second of moving texture with sound."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    waves = [128 + 100 * np.sin((columns + 2 * number) / 5) * np.cos(rows / 7) for number in range(FRAMES)]
    frames = np.stack([np.stack([wave, wave * 0.5, 255 - wave], axis=-1).astype(np.uint8) for wave in waves])
    tone = np.sin(np.arange(48000) / 20).astype(np.float32)[None] * 0.3
    media.write(path, [(frames, np.arange(FRAMES))], time_base=1 / RATE, picture=media.Picture(rate=RATE),
                sound=media.Sound(samples=media.Samples(tone, 48000)))  # fmt: skip


def upscale_only(server, **widgets) -> dict:
    """Load, upscale and show the report."""
    workflow = server.main_job()
    del workflow["34"]
    workflow["35"]["inputs"] |= widgets
    workflow["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    return workflow


def error_of(entry: dict) -> str:
    """The message of a failed run."""
    return next(part[1]["exception_message"] for part in entry["status"]["messages"] if part[0] == "execution_error")


def refusal_of(server, workflow: dict) -> str:
    """What the queue says to a workflow it does not take."""
    status, answer = server.post("/prompt", {"prompt": workflow})
    assert status == 400
    return json.dumps(answer["node_errors"], ensure_ascii=False)


def report_of(entry: dict) -> str:
    """What node 36 shows of a run that went well."""
    assert entry["status"]["status_str"] == "success", entry["status"]
    return entry["outputs"]["36"]["text"][0]
