"""The main job in one command: the bundled workflow in the real ComfyUI, on the bundled clip, to a file with sound.

    python3 tools/main_job.py                    run it and say where the result is
    python3 tools/main_job.py --resolution 360   short side of the result (288: twice the clip's)
    python3 tools/main_job.py --serve            ComfyUI with this pack for the browser, until Ctrl-C
    python3 tools/main_job.py --demo-cloud       the hosted workflow against a RunComfy played here: no account, no cost
    python3 tools/main_job.py --comfyui PATH     the same with a ComfyUI of yours: its Python, models, output and packs

Without --comfyui it first builds what is missing: a virtual environment and ComfyUI 0.30.0, in .env/.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from environment import ENV, ROOT, reexec_inside, reexec_with

WORK = ROOT / ".work"
BASE = WORK / "comfyui"
CLIP = ROOT / "workflows" / "seedvr2_example.mp4"
COMPARISON = WORK / "example_comparison.png"
WORKFLOW = ROOT / "workflows" / "api" / "video_upscale.json"
HOSTED_WORKFLOW = ROOT / "workflows" / "api" / "hosted_upscale.json"
UPSCALE, COMBINE = "35", "34"
RESOLUTION = 288  # twice the clip's short side: small, as any machine's processor shall do it
HOSTED_RESOLUTION = 720  # the least that RunComfy takes
TERMINATED = 143  # exit code, as shells count it
POLL_SECONDS, SAY_SECONDS = 0.5, 10
SHOWN, GAP = (15, 40), 8  # frames of the comparison, one of each shot, and pixels between pictures
# where people keep the Python of their ComfyUI, seen from its folder
PYTHONS = ("venv/bin/python", ".venv/bin/python", "venv/Scripts/python.exe", ".venv/Scripts/python.exe",
           "../python_embeded/python.exe")  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the job; exit code 0 when the result is there."""
    options = read_options(arguments)
    enter(options.comfyui)
    import comfyui

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(TERMINATED))  # the server is not left behind
    WORK.mkdir(exist_ok=True)
    if options.demo_cloud:
        return demo_cloud(comfyui, options)
    print("Starting ComfyUI ...", flush=True)
    try:
        with opened(comfyui, options.comfyui) as server:
            return serve(server) if options.serve else run_workflow(server, options.resolution)
    except comfyui.NotRunning as error:
        print(error, file=sys.stderr)
        return 1


def read_options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=RESOLUTION)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--demo-cloud", action="store_true")
    parser.add_argument("--comfyui", type=Path)
    options = parser.parse_args(arguments)
    if options.demo_cloud and options.comfyui:
        parser.error("--demo-cloud uses a ComfyUI of its own: leave --comfyui out.")
    return options


def enter(comfyui: Path | None) -> None:
    """Go on in the right interpreter: that of the user's ComfyUI where one is found, else our own."""
    theirs = [comfyui.resolve() / path for path in PYTHONS if (comfyui / path).exists()] if comfyui else []
    if theirs:
        reexec_with(theirs[0])
    else:
        ENV.mkdir(exist_ok=True)
        reexec_inside()


def opened(comfyui, folder: Path | None):
    """The server to work with, as a context manager."""
    import torch

    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if folder is None:
        return comfyui.running(BASE, cpu=cpu)
    return comfyui.existing(folder.resolve(), WORK / comfyui.LOG, cpu)


def serve(server) -> int:
    """Keep the server until the user has enough."""
    print(f"ComfyUI with this pack: {server.address} (Ctrl-C ends it)", flush=True)
    try:
        return server.process.wait()
    except KeyboardInterrupt:
        return 0


def demo_cloud(comfyui, options: argparse.Namespace) -> int:
    """The hosted workflow, or with --serve the page, against the played service."""
    import demo_cloud as demo

    print("Starting ComfyUI and a RunComfy that is played here ...", flush=True)
    with demo.played() as (service, variables), comfyui.running(BASE, variables=variables) as server:
        code = serve(server) if options.serve else run_workflow(server, HOSTED_RESOLUTION, HOSTED_WORKFLOW)
        print(demo.said_of(service))
    return code


def run_workflow(server, resolution: int, file: Path = WORKFLOW) -> int:
    """Post the workflow, wait, and say what came out."""
    workflow = json.loads(file.read_text(encoding="utf-8"))
    workflow[UPSCALE]["inputs"]["new_resolution"] = resolution
    start = time.monotonic()
    status, answer = server.post("/prompt", {"prompt": workflow})
    if status != 200:
        print(f"ComfyUI refused the workflow: {json.dumps(answer)}", file=sys.stderr)
        return 1
    entry = wait_for(server, answer["prompt_id"], start)
    if entry["status"]["status_str"] != "success":
        errors = [message for kind, message in entry["status"]["messages"] if kind == "execution_error"]
        said = errors[0]["exception_message"] if errors else entry["status"]
        print(f"\nThe workflow failed: {said}", file=sys.stderr)
        return 1
    return report(server, entry, time.monotonic() - start)


def wait_for(server, prompt_id: str, start: float) -> dict:
    """The finished entry; says every while how long it has been."""
    said = start
    while (entry := server.history(prompt_id)) is None:
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            print(f"Running the workflow: {said - start:.0f} s", flush=True)
        time.sleep(POLL_SECONDS)
    return entry


def report(server, entry: dict, seconds: float) -> int:
    """Print path, frames, size and rate of the result, and draw the comparison."""
    import pack

    pack.load()
    from seedvr2_anywhere import media

    shown = next(items[0] for items in entry["outputs"][COMBINE].values() if isinstance(items, list) and items)
    result = server.base / shown["type"] / shown["subfolder"] / shown["filename"]
    info = media.probe(result)
    compare(result)
    width, height = info.size
    print(f"Result: {result}: {media.count_frames(result)} frames, {width} × {height}, "
          f"{float(info.rate):.3f} fps, {len(info.audio)} sound track; {seconds:.0f} s")  # fmt: skip
    print(f"Done. Compare source and result in {COMPARISON}")
    return 0


def compare(result: Path) -> None:
    """Source, enlarged without restoring, beside the result: one frame of each shot."""
    from PIL import Image
    from seedvr2_anywhere import media

    def frames(path: Path, numbers: tuple[int, ...]) -> list[Image.Image]:
        found = [frame for batch in media.read(path) for frame in batch[0]]
        return [Image.fromarray(found[number]) for number in numbers]

    after = frames(result, SHOWN)
    width, height = after[0].size
    before = [one.resize((width, height), Image.Resampling.BICUBIC) for one in frames(CLIP, SHOWN)]
    both = Image.new("RGB", (2 * width + GAP, len(SHOWN) * (height + GAP) - GAP), "white")
    for row, pair in enumerate(zip(before, after, strict=True)):
        for column, picture in enumerate(pair):
            both.paste(picture, (column * (width + GAP), row * (height + GAP)))
    both.save(COMPARISON)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
