"""Stop keeps finished stretches and says so on the node; Run goes on from there."""

from __future__ import annotations

import json
import time

import aiohttp
import numpy as np
from seedvr2_anywhere import media
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


async def run_and_stop(server, workflow: dict) -> list[str]:
    """Texts shown on the node while a run is stopped after its first shot."""
    texts = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.address}/ws?clientId=stop") as socket:
        body = {"prompt": workflow, "client_id": "stop"}
        async with session.post(f"{server.address}/prompt", json=body) as answer:
            prompt = (await answer.json())["prompt_id"]
        until, stopped = time.monotonic() + PATIENCE, False
        while time.monotonic() < until:
            try:
                message = await socket.receive(timeout=0.1)
            except TimeoutError:
                message = None
            if message is not None and message.type == aiohttp.WSMsgType.TEXT and "seedvr2.run" in message.data:
                texts.append(json.loads(message.data)["data"]["text"])
            if not stopped and stretches_done(server):
                stopped = True
                await session.post(f"{server.address}/interrupt", json={"prompt_id": prompt})
            if (
                message is not None
                and message.type == aiohttp.WSMsgType.TEXT
                and "execution_interrupted" in message.data
            ):
                break
    return texts


def test_a_stopped_run_says_what_is_kept_and_goes_on(server):
    main_job = server.main_job()
    write_clip_with_cuts(server.input / "cuts.mp4")
    main_job["33"]["inputs"]["video"] = "cuts.mp4"
    main_job["35"]["inputs"]["new_resolution"] = 96
    main_job["36"] = {"class_type": "PreviewAny", "inputs": {"source": ["35", 1]}}
    texts = run_apart(run_and_stop(server, main_job))
    assert any(f"Stopped. {SHOT} of {3 * SHOT} frames are kept; Run continues." in text for text in texts), texts[-3:]
    entry = server.run(main_job)
    assert f"{SHOT} frames of an earlier run were kept." in entry["outputs"]["36"]["text"][0]
