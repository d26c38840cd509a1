"""Restore a clip from the command line, without ComfyUI, through the same engine.

    python tools/upscale.py IN OUT --weights FILE [--vae FILE] [--text FILE] [--resolution 1080] ...

Exit codes: 0 done, 1 refused or failed (the message says why), 3 stopped: run the same command again to go on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import pack

pack.load()

from seedvr2_anywhere import media  # noqa: E402
from seedvr2_anywhere.engine.errors import EngineError  # noqa: E402
from seedvr2_anywhere.engine.host import Host, Progress  # noqa: E402
from seedvr2_anywhere.engine.job import JobError  # noqa: E402
from seedvr2_anywhere.engine.network import load_network  # noqa: E402
from seedvr2_anywhere.engine.upscale import Source, Upscaled, Wish, upscale  # noqa: E402
from seedvr2_anywhere.models.errors import ModelError  # noqa: E402

DONE, FAILED, STOPPED = 0, 1, 3
REFUSALS = (media.MediaError, EngineError, JobError, ModelError)


class Stopped(Exception):
    """The user asked to stop."""


def main(arguments: list[str]) -> int:
    """Run, and say in one line how it ended."""
    options = parse(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        network = load_network(options.weights, options.vae, options.text, device=options.device)
        done = upscale(Source(options.source, media.Selection(cap=options.frames)), wish_of(options), network,
                       options.jobs, host=Host(check=lambda: raise_if(stop), progress=show))  # fmt: skip
        written = deliver(done, options.target)
    except Stopped:
        print("\nStopped. Finished shots are kept; the same command goes on.", file=sys.stderr)
        return STOPPED
    except REFUSALS as error:
        print(f"\n{error}", file=sys.stderr)
        return FAILED
    for note in (*done.notes, *written.notes):
        print(f"note: {note}")
    width, height = done.size
    print(f"{written.path}: {written.frames} frames, {width} × {height}, {float(done.rate):.3f} fps")
    return DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="transformer, or a file that holds all parts")
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=Path, default=Path(os.environ.get("SEEDVR2_JOBS", "seedvr2_jobs")))
    parser.add_argument("--frames", type=int, default=0, help="most frames to load, 0 is all")
    parser.add_argument("--resolution", type=int, default=Wish.new_resolution, help="short side of the result")
    parser.add_argument("--seed", type=int, default=Wish.seed)
    parser.add_argument("--batch-size", type=int, default=Wish.batch_size)
    parser.add_argument("--cfg-scale", type=float, default=Wish.cfg_scale)
    parser.add_argument("--strength", type=float, default=Wish.strength)
    parser.add_argument("--color-correction", default=Wish.color_correction)
    return parser.parse_args(arguments)


def wish_of(options: argparse.Namespace) -> Wish:
    """The options that decide the picture."""
    return Wish(
        new_resolution=options.resolution,
        seed=options.seed,
        batch_size=options.batch_size,
        cfg_scale=options.cfg_scale,
        strength=options.strength,
        color_correction=options.color_correction,
    )


def deliver(done: Upscaled, target: Path) -> media.Written:
    """Encode the joined intermediate as the target's suffix asks, sound and tags included."""
    with media.read(done.path) as reader:
        return media.write(target, reader)


def raise_if(stop: threading.Event) -> None:
    """Stop between two layers."""
    if stop.is_set():
        raise Stopped


def show(progress: Progress) -> None:
    """One line that is written over."""
    left = f", {progress.seconds_left:.0f} s left" if progress.seconds_left is not None else ""
    rate = f"{progress.frames_per_second:.2f} fps" if progress.frames_per_second else ""
    total = f" of {progress.expected}" if progress.expected else ""
    print(f"\rframe {progress.frames}{total}, shot {progress.shot}, {rate}{left}    ", end="", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
