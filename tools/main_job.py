"""The main job in one command: the bundled workflow in the real ComfyUI, on an example clip, to a file with sound.

    python3 tools/main_job.py                    run it and say where the result is
    python3 tools/main_job.py --resolution 360   short side of the result (240)
    python3 tools/main_job.py --serve            ComfyUI with this pack for the browser, until Ctrl-C

Builds its environment first where that is missing. While the pack's own small model does not exist, a stand-in with
made-up weights takes its place: it shows that every part works together and restores nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from environment import ENV, ROOT, reexec_inside

WORK = ROOT / ".work"
BASE = WORK / "comfyui"
CLIP = ROOT / "workflows" / "seedvr2_example.mp4"
COMPARISON = WORK / "example_comparison.png"
WORKFLOW = ROOT / "workflows" / "api" / "video_upscale.json"
LOAD, UPSCALE, COMBINE = "33", "35", "34"
RESOLUTION = 240  # small: the job runs on any machine's processor
POLL_SECONDS, SAY_SECONDS = 0.5, 10


def main(arguments: list[str]) -> int:
    """Run the job; exit code 0 when the result is there."""
    import comfyui

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=RESOLUTION)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args(arguments)
    print("Starting ComfyUI ...", flush=True)
    with comfyui.running(BASE) as server:
        return serve(server) if options.serve else run_workflow(server, options.resolution)


def serve(server) -> int:
    """Keep the server until the user has enough."""
    print(f"ComfyUI with this pack: {server.address} (Ctrl-C ends it)", flush=True)
    try:
        return server.process.wait()
    except KeyboardInterrupt:
        return 0


def run_workflow(server, resolution: int) -> int:
    """Post the workflow, wait, and say what came out."""
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    workflow[UPSCALE]["inputs"]["new_resolution"] = resolution
    start = time.monotonic()
    status, answer = server.post("/prompt", {"prompt": workflow})
    if status != 200:
        print(f"ComfyUI refused the workflow: {json.dumps(answer)}", file=sys.stderr)
        return 1
    entry = wait_for(server, answer["prompt_id"], start)
    if entry["status"]["status_str"] != "success":
        errors = [message for kind, message in entry["status"]["messages"] if kind == "execution_error"]
        print(
            f"\nThe workflow failed: {errors[0]['exception_message'] if errors else entry['status']}", file=sys.stderr
        )
        return 1
    return report(entry, time.monotonic() - start)


def wait_for(server, prompt_id: str, start: float) -> dict:
    """The finished entry; says every while how long it has been."""
    said = start
    while (entry := server.history(prompt_id)) is None:
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            print(f"Running the workflow: {said - start:.0f} s", flush=True)
        time.sleep(POLL_SECONDS)
    return entry


def report(entry: dict, seconds: float) -> int:
    """Print path, frames, size and rate of the result, and draw the comparison."""
    import pack

    pack.load()
    from seedvr2_anywhere import media

    shown = next(items[0] for items in entry["outputs"][COMBINE].values() if isinstance(items, list) and items)
    result = BASE / shown["type"] / shown["subfolder"] / shown["filename"]
    info = media.probe(result)
    compare(result)
    width, height = info.size
    print(f"Result: {result.relative_to(ROOT)}: {info.frame_count} frames, {width} × {height}, "
          f"{float(info.rate):.3f} fps, {len(info.audio)} sound track; {seconds:.0f} s")  # fmt: skip
    print(f"Done. Compare source and result in {COMPARISON.relative_to(ROOT)}")
    return 0


def compare(result: Path) -> None:
    """Source, enlarged without restoring, beside the result: the middle frame of the clip."""
    from PIL import Image
    from seedvr2_anywhere import media

    def middle(path: Path) -> Image.Image:
        frames = [frame for batch in media.read(path) for frame in batch[0]]
        return Image.fromarray(frames[len(frames) // 2])

    after = middle(result)
    before = middle(CLIP).resize(after.size, Image.Resampling.BICUBIC)
    both = Image.new("RGB", (2 * after.width + 8, after.height), "white")
    both.paste(before, (0, 0))
    both.paste(after, (after.width + 8, 0))
    both.save(COMPARISON)


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    raise SystemExit(main(sys.argv[1:]))
