"""The service by itself, for real clips: `python serve.py 8900`, then start ComfyUI with what it prints."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main(port: int) -> None:
    """Serve until interrupted; a request waits in the queue and runs for a few looks."""
    file = Path(__file__).resolve().parent / "server.py"
    spec = importlib.util.spec_from_file_location("seedvr2_test_runcomfy", file)
    server = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = server
    spec.loader.exec_module(server)
    listening = server.Server(("127.0.0.1", port), server.Call)
    service = listening.service = server.Service(transform=server.pictures().Upscaler())
    service.base = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    service.timeline = ["in_queue:2", "in_queue:1", "in_progress", "in_progress", "completed"]
    print(f"RUNCOMFY_MODEL_API_BASE={service.base} RUNCOMFY_API_TOKEN={server.TOKEN}", flush=True)
    listening.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
