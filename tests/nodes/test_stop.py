"""Stop keeps finished stretches and says so on the node; Run goes on from there."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import VAE
from seedvr2_anywhere.benchmarks.toy_weights import dit_config
from seedvr2_anywhere.models.config import expected_keys
from seedvr2_anywhere.models.vae_config import expected_vae_keys
from seedvr2_anywhere.tests.nodes.apart import run_apart

SHOT, PATIENCE = 24, 240


def write_clip_with_cuts(path) -> None:
    """Three shots of the same length."""
    columns = np.arange(48, dtype=np.uint8)[None, :, None] * 4
    plain = np.broadcast_to(columns, (32, 48, 3))
    rising = np.stack([np.roll(plain, number, 1) for number in range(SHOT)])
    frames = np.concatenate([rising, 255 - rising[:, ::-1], rising])
    media.write(path, [(frames, np.arange(len(frames)))], time_base=1 / media.snap_rate(24))


def stretches_done(server) -> int:
    manifests = list((server.output / "seedvr2_jobs").glob("cuts_*/job.json"))
    return len(json.loads(manifests[0].read_text())["stretches"]) if manifests else 0


def write_large_model(path: Path) -> None:
    """A whole network of 2 GB, all zeros: next to nothing on the disk, but seconds to read."""
    dit = dit_config("3b", 2560, layers=10, separate=10)
    shapes = expected_keys(dit) | expected_vae_keys(VAE) | {"positive_conditioning": (8, dit.text_width)}
    header, end = {}, 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


async def run_and_stop(server, workflow: dict, is_time) -> list[dict]:
    """What the node said of a run that is interrupted once `is_time(what it said last)`, with the "seconds" it took."""
    said, stopped = [{}], None
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.address}/ws?clientId=stop") as socket:
        body = {"prompt": workflow, "client_id": "stop"}
        async with session.post(f"{server.address}/prompt", json=body) as answer:
            queued = await answer.json()
        assert "prompt_id" in queued, queued
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            text = await next_text(socket)
            if "seedvr2.run" in text:
                said.append(json.loads(text)["data"])
            if stopped is None and is_time(said[-1]):
                stopped = time.monotonic()
                await session.post(f"{server.address}/interrupt", json={"prompt_id": queued["prompt_id"]})
            if "execution_interrupted" in text:
                said[-1]["seconds"] = time.monotonic() - (stopped or 0)
                break
    return said[1:]


async def next_text(socket) -> str:
    """The next message that is text, empty when none came for a moment."""
    try:
        message = await socket.receive(timeout=0.1)
    except TimeoutError:
        return ""
    return message.data if message.type == aiohttp.WSMsgType.TEXT else ""


def test_a_stopped_run_says_what_is_kept_and_goes_on(server):
    main_job = server.main_job()
    write_clip_with_cuts(server.input / "cuts.mp4")
    main_job["33"]["inputs"]["video"] = "cuts.mp4"
    main_job["35"]["inputs"]["new_resolution"] = 96
    main_job["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    said = run_apart(run_and_stop(server, main_job, lambda last: stretches_done(server)))
    texts = [one["text"] for one in said]
    assert any(f"Stopped. {SHOT} of {3 * SHOT} frames are kept; Run continues." in text for text in texts), texts[-3:]
    entry = server.run(main_job)
    assert f"{SHOT} frames of an earlier run were kept." in entry["outputs"]["36"]["text"][0]


@pytest.mark.parametrize("stage", ["Choosing the model", "Loading the model"])
def test_a_stop_before_the_work_begins_does_not_wait_for_it(server, stage):
    (server.base / "models" / "SEEDVR2").mkdir(parents=True, exist_ok=True)
    write_large_model(server.base / "models" / "SEEDVR2" / "seedvr2_large.safetensors")
    main_job = server.main_job()
    main_job["35"]["inputs"] |= {"backend.model": "seedvr2_large.safetensors", "new_resolution": 32}
    said = run_apart(run_and_stop(server, main_job, lambda last: last.get("stage") == stage))
    assert said[-1]["state"] == "stopped", said[-3:]
    assert said[-1]["stage"] == stage, "what was under way has been finished first"
    (server.base / "models" / "SEEDVR2" / "seedvr2_large.safetensors").unlink()
    print(f"{stage}: back after {said[-1]['seconds']:.2f} s")
