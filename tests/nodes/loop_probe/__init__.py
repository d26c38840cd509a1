"""A custom node pack without nodes: how late the server's event loop comes to a timer, while anything runs.

GET /loop_probe → the beats since the last call, [[when, late_s, unscheduled_s], …]: seconds of time.monotonic(), how
late the timer was, and how much of that the loop's thread stood in the system's queue for a processor, which is the
machine's load and not the server's doing. (None where the system does not tell.)
"""

import asyncio
import time
from pathlib import Path

from aiohttp import web
from server import PromptServer

EVERY_S = 0.01
NODE_CLASS_MAPPINGS: dict = {}
QUEUED = Path("/proc/thread-self/schedstat")  # Linux: nanoseconds on a processor, waiting for one, turns
beats: list[tuple[float, float, float | None]] = []
running: list[asyncio.Task] = []


async def beat() -> None:
    """Note every timer, for as long as the server lives."""
    while True:
        due, queued = time.monotonic() + EVERY_S, queued_s()
        await asyncio.sleep(EVERY_S)
        now = time.monotonic()
        beats.append((now, now - due, None if queued is None else (queued_s() or 0.0) - queued))


def queued_s() -> float | None:
    """Seconds this thread has waited for a processor so far."""
    return int(QUEUED.read_text().split()[1]) / 1e9 if QUEUED.exists() else None


@PromptServer.instance.routes.get("/loop_probe")
async def answer(request: web.Request) -> web.Response:
    """The beats so far; the first call starts them."""
    if not running:
        running.append(asyncio.create_task(beat()))
    told = beats.copy()
    beats.clear()
    return web.json_response(told)
