"""Restore a clip or pictures from the command line, without ComfyUI, through the same engine.

    python tools/upscale.py IN OUT [--resolution 1080] [--weights FILE [--vae FILE] [--text FILE]] ...

IN is a clip, a picture or a folder of pictures; a folder becomes a folder (each picture by itself) or, where OUT is
named like a clip, a clip. Without --weights the embedded model is used. The same command goes on where a run stopped.

Exit codes: 0 done; 1 refused or failed, the message says why; 2 wrong command line; 3 stopped, run it again to go on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
    from . import pack
except ImportError:  # run as a script
    import pack

pack.load()

import torch  # noqa: E402
from seedvr2_anywhere import media  # noqa: E402
from seedvr2_anywhere.engine.embedded import embedded_model  # noqa: E402
from seedvr2_anywhere.engine.errors import EngineError  # noqa: E402
from seedvr2_anywhere.engine.host import Host, Progress  # noqa: E402
from seedvr2_anywhere.engine.job import JobError  # noqa: E402
from seedvr2_anywhere.engine.machine import Machine, machine_of  # noqa: E402
from seedvr2_anywhere.engine.network import load_network, outline_of  # noqa: E402
from seedvr2_anywhere.engine.outlook import foresee  # noqa: E402
from seedvr2_anywhere.engine.plan import PRECISIONS, choose_semantic  # noqa: E402
from seedvr2_anywhere.engine.speed import Speeds, probe  # noqa: E402
from seedvr2_anywhere.engine.upscale import Source, Upscaled, Wish, upscale  # noqa: E402
from seedvr2_anywhere.models.errors import ModelError  # noqa: E402

try:
    from . import pictures
except ImportError:
    import pictures

DONE, FAILED, STOPPED = 0, 1, 3
REFUSALS = (media.MediaError, EngineError, JobError, ModelError, OSError)
BAR = 30  # characters
WISHES = ("size_by", "scale", "max_long_side", "seed", "batch_size", "cfg_scale", "strength", "color_correction")


class Stopped(Exception):
    """The user asked to stop."""


def main(arguments: list[str]) -> int:
    """Run, and say in one line how it ended."""
    options = parse(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with torch.no_grad():
            run(options, lambda: raise_if(stop))
    except Stopped:
        print("\nStopped. What is finished is kept; the same command goes on.", file=sys.stderr)
        return STOPPED
    except REFUSALS as error:
        print(f"\n{error}", file=sys.stderr)
        return FAILED
    return DONE


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; what decides the picture is named as on the node."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--estimate", action="store_true", help="say sizes, plan, time and disk; compute nothing")
    parser.add_argument("--weights", type=Path, help="transformer, or a file that holds all parts")
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--memory-limit-gb", type=float, default=0.0, help="of the graphics card, 0 is what is free")
    parser.add_argument("--hdr", default="to-sdr", choices=["to-sdr", "keep"], help="what a PQ or HLG clip becomes")
    parser.add_argument("--jobs", type=Path, default=Path(os.environ.get("SEEDVR2_JOBS", "seedvr2_jobs")))
    parser.add_argument("--frames", type=int, default=0, help="most frames to load, 0 is all")
    parser.add_argument("--resolution", type=int, default=Wish.new_resolution, help="short side of the result")
    for name in WISHES:
        usual = getattr(Wish, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(usual), default=usual)
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, check: Callable[[], None]) -> None:
    """Estimate, or restore what the command line names."""
    files = files_of(options)
    machine = machine_of(options.device, options.memory_limit_gb)
    if options.estimate:
        estimate(options, files, machine)
        return
    wish = wish_of(options)
    if as_pictures(options):
        restore_all(options, wish, files, Host(check=check, machine=machine))
        return
    host = Host(check=check, progress=show, machine=machine)
    source = Source(options.source, media.Selection(cap=options.frames), keep_hdr=options.hdr == "keep")
    done = upscale(source, wish, load(options, files, machine), options.jobs, host=host)
    written = deliver(done, options.target, check)
    print(f"\n{done.plan}")
    for note in dict.fromkeys((*done.notes, *written.notes)):
        print(f"note: {note}")
    width, height = done.size
    print(f"{written.path}: {written.frames} frames, {width} × {height}, {float(done.rate):.3f} fps")


def as_pictures(options: argparse.Namespace) -> bool:
    """Whether the result is pictures."""
    if options.source.is_dir():
        return not options.target.suffix
    return pictures.is_picture(options.source) and pictures.is_picture(options.target)


def restore_all(options: argparse.Namespace, wish: Wish, files: list[Path | None], host: Host) -> None:
    """Each picture by itself; those that are there already are passed over, so that a stopped run goes on."""
    todo = list(pictures.pairs(options.source, options.target))
    if not todo:
        raise EngineError(f"{options.source} holds no picture ({', '.join(sorted(pictures.SUFFIXES))}).")
    if options.source.is_dir():
        options.target.mkdir(parents=True, exist_ok=True)
    network = load(options, files, host.machine or machine_of(options.device))
    made = 0
    for number, (source, target) in enumerate(todo, start=1):
        if target.exists() and options.source.is_dir():
            continue
        host.check()
        width, height = pictures.restore_picture(source, target, wish, network, host)
        made += 1
        print(f"{bar(number, len(todo))} {target.name}: {width} × {height}", flush=True)
    print(f"{options.target}: {made} restored, {len(todo) - made} were there already.")


def estimate(options: argparse.Namespace, files: list[Path | None], machine: Machine) -> None:
    """What a run would make and take. Nothing is read but headers, nothing written."""
    dit, vae, text = files
    assert dit
    outline, wish = outline_of(dit, vae, text), wish_of(options)
    with media.read(options.source, media.Selection(cap=options.frames)) as reader:
        (width, height), frames = reader.size, reader.expected
    padded = (height, width)
    precision = choose_semantic(machine.card, outline, padded, wish.batch_size, options.precision)[0].precision
    speed = Speeds(options.jobs).known(machine.card, outline, precision) or probe(outline, options.device, precision)
    print("\n".join(foresee((height, width), frames, wish, outline, machine, options.precision, speed).lines))


def files_of(options: argparse.Namespace) -> list[Path | None]:
    """Transformer, VAE and text; the embedded model where none is named."""
    if options.weights is None:
        return [embedded_model(), None, None]
    return [options.weights, options.vae, options.text]


def load(options: argparse.Namespace, files: list[Path | None], machine: Machine) -> Any:
    """The network, computing as the plan says."""
    dit, vae, text = files
    assert dit
    semantic, _ = choose_semantic(machine.card, outline_of(dit, vae, text), (16, 16), 0, options.precision)
    return load_network(dit, vae, text, device=options.device, dtype=semantic.dtype)


def wish_of(options: argparse.Namespace) -> Wish:
    """The options that decide the picture."""
    return Wish(new_resolution=options.resolution, **{name: getattr(options, name) for name in WISHES})


def deliver(done: Upscaled, target: Path, check: Callable[[], None]) -> media.Written:
    """Encode the joined intermediate as the target's suffix asks, sound and tags included."""
    with media.read(done.path) as reader:
        return media.write(target, Checked(reader, check))


class Checked:
    """A reader whose batches may be stopped between; everything else about it stays."""

    def __init__(self, reader: media.Reader, check: Callable[[], None]) -> None:
        self._reader, self._check = reader, check

    def __iter__(self) -> Iterator[tuple]:
        for batch in self._reader:
            self._check()
            yield batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def raise_if(stop: threading.Event) -> None:
    """Stop between two layers."""
    if stop.is_set():
        raise Stopped


def show(progress: Progress) -> None:
    """One line that is written over."""
    total = f" of {progress.expected:,}" if progress.expected else ""
    rate = f", {progress.frames_per_second:.2f} fps" if progress.frames_per_second else ""
    left = f", {say_left(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    line = f"{bar(progress.frames, progress.expected)} {progress.frames:,}{total}{rate}{left}, shot {progress.shot}"
    print(f"\r{line:<100}", end="", flush=True)


def bar(done: int, total: int | None) -> str:
    """A bar that fills; empty where nobody knows how far it is."""
    full = round(BAR * min(1, done / total)) if total else 0
    return f"[{'#' * full}{'.' * (BAR - full)}]"


def say_left(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
