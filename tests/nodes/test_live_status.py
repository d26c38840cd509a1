"""What the page hears of a run: often enough to be live, rarely enough not to be a load, and always how it ended."""

from __future__ import annotations

import asyncio
import json
import shutil

import aiohttp
import pytest
from seedvr2_anywhere.nodes.live_status import Broadcast, LiveStatus
from seedvr2_anywhere.tests.nodes.apart import run_apart

SECONDS = 90


def heard(*updates: tuple[float, dict]) -> list[LiveStatus]:
    """What is sent when updates come at such times."""
    now, sent = 0.0, []
    told = Broadcast(LiveStatus("local"), sent.append, lambda: now)
    for now, changes in updates:  # noqa: B007 - the clock reads it
        told.update(**changes)
    return sent


def test_frames_are_told_at_most_four_times_a_second():
    sent = heard(*((number / 50, {"frames": number}) for number in range(101)))
    assert [status.frames for status in sent] == [0, 13, 26, 39, 52, 65, 78, 91]


@pytest.mark.parametrize("change", [{"state": "stopped"}, {"stage": "Restoring"}, {"shot": 2}])
def test_a_change_of_state_stage_or_shot_is_told_at_once_with_all_that_came_before(change):
    sent = heard((0.0, {"stage": "Loading"}), (0.01, {"frames": 7}), (0.02, change))
    assert len(sent) == 2
    assert sent[1] == LiveStatus("local", stage="Loading", frames=7).but(**change)


async def statuses_of(server, workflow: dict) -> list[dict]:
    """All events of a run, until ComfyUI says that it is over."""
    found = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.address}/ws?clientId=live") as socket:
        async with session.post(f"{server.address}/prompt", json={"prompt": workflow, "client_id": "live"}) as answer:
            prompt = (await answer.json())["prompt_id"]
        async with asyncio.timeout(SECONDS):
            async for message in socket:
                content = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {}
                if content.get("type") == "seedvr2.run":
                    found.append(content["data"])
                ended = content.get("type") in ("execution_success", "execution_error", "execution_interrupted")
                if ended and content["data"]["prompt_id"] == prompt:
                    break
    return found


@pytest.fixture(scope="module")
def told(server) -> list[dict]:
    """The events of a run of its own."""
    return run_apart(statuses_of(server, job_of(server)))


def job_of(server) -> dict:
    """The main job with a seed that no other test uses."""
    workflow = server.main_job()
    workflow["35"]["inputs"]["seed"] = 77
    return workflow


def test_a_run_tells_its_plan_its_stages_and_its_end(server, told):
    assert {(status["node"], status["backend"], status["expected"]) for status in told} == {("35", "local", 24)}
    assert "48 × 32 → 72 × 48" in told[-1]["plan"]
    stages = list(dict.fromkeys(status["stage"] for status in told))
    assert stages[0] == "Choosing the model"
    assert stages[-4:] == ["Reading the clip", "Encoding", "Restoring", "Decoding"]
    frames = [status["frames"] for status in told]
    assert frames == sorted(frames)
    end = told[-1]
    assert (end["state"], end["frames"], end["shot"], end["text"]) == ("done", 24, 1, "24 frames restored.")
    assert (server.output / "seedvr2_jobs" / end["job"]).is_dir()


def test_a_failed_run_says_why(server, told):
    folder = server.output / "seedvr2_jobs" / told[-1]["job"]
    shutil.rmtree(folder)
    folder.write_text("in the way")
    again = run_apart(statuses_of(server, job_of(server)))
    folder.unlink()
    assert again[-1]["state"] == "failed"
    assert "cannot be written" in again[-1]["text"]
