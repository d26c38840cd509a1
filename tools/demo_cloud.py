"""RunComfy played on this machine, so that the hosted run can be watched without an account, a network or money.

The player takes each request, lets it wait and run for a few looks, enlarges the clip plainly, adds brightness, colour
and noise of its own, and answers with a real video. Nothing is restored: what is shown is everything around it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

SERVER = Path(__file__).resolve().parent.parent / "tests" / "cloud" / "server.py"
TIMELINE = ("in_queue:2", "in_queue:1", "in_progress", "in_progress", "completed")


@contextlib.contextmanager
def played() -> Iterator[tuple[object, dict[str, str]]]:
    """The service on a loopback port, and the environment that leads a ComfyUI to it."""
    spec = importlib.util.spec_from_file_location("seedvr2_played_runcomfy", SERVER)
    assert spec and spec.loader
    server = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server)
    with server.running() as service:
        service.transform = server.pictures().Upscaler()
        service.timeline = list(TIMELINE)
        yield service, {"RUNCOMFY_API_TOKEN": server.TOKEN, "RUNCOMFY_MODEL_API_BASE": service.base}


def said_of(service) -> str:
    """What the service was asked for."""
    reported = sum(request.cost for request in service.requests.values())
    return f"The played RunComfy took {len(service.posts)} requests and reported ${reported:.2f}. Nothing was paid."
