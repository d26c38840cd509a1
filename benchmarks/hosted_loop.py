"""How late the server's event loop is while a hosted job runs in the real ComfyUI, beside the idle server.

    .env/venv/bin/python benchmarks/hosted_loop.py [--frames 200] [--short-side 720]     target: worst ≤ 50 ms

The service is a process of its own that answers at once; the source is 640 × 360. Lateness of a timer of 10 ms inside
the server, in milliseconds; the second line of each stage leaves out what the loop's thread waited for a processor.
After each run ComfyUI collects garbage, which stops its loop too: that is counted apart, as `done`, and shown once more
after a run of one of ComfyUI's own nodes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from hosted import ROOT, SIZE, TOKEN, service_module, service_with, write_clip
from seedvr2_anywhere.tools import comfyui

TARGET_MS, IDLE_S = 50, 10
PROBE = "loop_probe"
WORKFLOW = ROOT / "workflows" / "api" / "hosted_upscale.json"
RUN_SECONDS = 900
COLLECTS_EVERY_S = 11  # ComfyUI collects garbage after a run, but not again within ten seconds
CORE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--short-side", type=int, default=720)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = folder / "result.mp4"
        source = folder / "comfyui" / "input" / "clip.mp4"
        source.parent.mkdir(parents=True)
        write_clip(source, options.frames)
        request = {"33_frame_load_cap": 160, "35_new_resolution": options.short_side, "34_frame_rate": 24}
        result.write_bytes(service_module().pictures().Upscaler()(source.read_bytes(), request))
        with service_with(result) as base, probed(folder / "comfyui", base) as server:
            measure(server, options.short_side)


def probed(base: Path, service: str):
    """ComfyUI with the probe beside the pack."""
    (base / "custom_nodes").mkdir()
    shutil.copytree(ROOT / "tests" / "nodes" / PROBE, base / "custom_nodes" / PROBE)
    variables = {"RUNCOMFY_API_TOKEN": TOKEN, "RUNCOMFY_MODEL_API_BASE": service}
    return comfyui.running(base, "--whitelist-custom-nodes", comfyui.PACK, PROBE, variables=variables)


def measure(server: comfyui.Server, short_side: int) -> None:
    """Idle, then the run; the end of ComfyUI's own run (its collection of garbage) is counted apart."""
    server.get(f"/{PROBE}")
    time.sleep(IDLE_S)
    show("idle", server.get(f"/{PROBE}"))
    moments: list[tuple[float, str]] = []
    watching = threading.Thread(target=watch, args=(server, moments))
    watching.start()
    entry = server.run(workflow(short_side), RUN_SECONDS)
    watching.join()
    assert entry["status"]["status_str"] == "success", entry["status"]
    beats = server.get(f"/{PROBE}")
    edges = [*moments, (float("inf"), "")]
    for (start, stage), (stop, _) in pairwise(edges):
        show(stage, [one for one in beats if start <= one[0] < stop])
    time.sleep(COLLECTS_EVERY_S)
    server.get(f"/{PROBE}")
    server.run(CORE, RUN_SECONDS)
    time.sleep(IDLE_S / 2)
    show("ComfyUI's own node", server.get(f"/{PROBE}"))


def watch(server: comfyui.Server, moments: list[tuple[float, str]]) -> None:
    """Note when each stage of the run began, as the page is told; ends with the run."""
    while not moments or moments[-1][1] != "done":
        found = server.get("/seedvr2/runs")
        stage = (found[-1]["stage"] if found[-1]["state"] == "running" else "done") if found else ""
        if stage and (not moments or moments[-1][1] != stage):
            moments.append((time.monotonic(), stage))
        time.sleep(0.1)


def workflow(short_side: int) -> dict:
    """The bundled one on the whole clip."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found["33"]["inputs"] |= {"video": "clip.mp4", "frame_load_cap": 0}
    found["35"]["inputs"] |= {"new_resolution": short_side, "backend.max_requests": 9, "backend.spend_limit_usd": 9}
    return found


def show(stage: str, beats: list) -> None:
    """Median, 99 % and worst of both."""
    if not beats:
        return
    late = np.array([one[1] for one in beats]) * 1000
    queued = np.array([one[2] or 0.0 for one in beats]) * 1000
    for name, values in (("late", late), ("by the server alone", np.maximum(late - queued, 0))):
        middle, most, worst = np.percentile(values, (50, 99, 100))
        verdict = f", {(values > TARGET_MS).sum()} over {TARGET_MS} ms"
        print(f"{stage:22} {len(values):6} beats  {name:20} median {middle:6.1f}  99 % {most:6.1f}  "
              f"worst {worst:6.1f} ms{verdict}", flush=True)  # fmt: skip


if __name__ == "__main__":
    print(f"source {SIZE[0]} × {SIZE[1]}")
    main()
