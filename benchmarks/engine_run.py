"""Whole runs of the engine: what it takes outside the network, memory over length, and that options change no bit.

    .env/venv/bin/python benchmarks/engine_run.py share|memory|identity [--weights FILE]
Processor time, single-threaded, so that the figures hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from network import load_pack

load_pack()

from seedvr2_anywhere import media  # noqa: E402
from seedvr2_anywhere.engine import restore, shots, stretches, work  # noqa: E402
from seedvr2_anywhere.engine.embedded import embedded_model  # noqa: E402
from seedvr2_anywhere.engine.host import Host  # noqa: E402
from seedvr2_anywhere.engine.network import load_network  # noqa: E402
from seedvr2_anywhere.engine.plan import PROCESSOR_LEVELS, Neutral  # noqa: E402
from seedvr2_anywhere.engine.upscale import Source, Terms, Wish, upscale  # noqa: E402
from seedvr2_anywhere.models.dit import NaDiT  # noqa: E402
from seedvr2_anywhere.models.vae_stream import DecoderStream, EncoderStream  # noqa: E402

LENGTHS = 120, 2400  # frames
MOST_GROWTH, MOST_SHARE = 0.05, 0.15
SMALL, HALF = (64, 96), (144, 256)  # height and width of the clips


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("part", choices=["share", "memory", "identity", "child"])
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--frames", type=int, default=48)
    chosen = arguments.parse_args()
    weights = chosen.weights or embedded_model()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        {"share": share, "memory": memory, "identity": identity, "child": child}[chosen.part](
            Path(folder), weights, chosen.frames
        )


def share(folder: Path, weights: Path, frames: int) -> None:
    """Processor time of a run at 512 × 288, the network's and the rest."""
    spent: dict[str, float] = defaultdict(float)
    network = load_network(weights)
    source, wish = Source(clip_of(folder, frames, HALF)), Wish(new_resolution=288)
    upscale(replace_cap(source, 1), wish, network, folder / "first")  # plans, imports, tables: once for a process
    watched = [(EncoderStream, "push", "network"), (DecoderStream, "push", "network"), (NaDiT, "forward", "network"),
               (shots.ShotFinder, "push", "shots"), (restore, "picture_of", "resize of input"),
               (stretches, "finish_piece", "colour"), (work, "describe", "words")]  # fmt: skip
    for owner, name, key in watched:
        setattr(owner, name, timed(getattr(owner, name), key, spent))
    start = time.process_time()
    upscale(source, wish, network, folder / "jobs")
    total = time.process_time() - start
    outside = total - spent["network"]
    spent["reading, encoding, joining"] = outside - sum(value for key, value in spent.items() if key != "network")
    for key, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{key:28} {1000 * seconds / frames:8.1f} ms a frame {seconds / total:7.1%}")
    verdict = "reached" if outside <= MOST_SHARE * total else "MISSED"
    print(f"{weights.name}: {outside / total:.1%} of {total:.1f} s outside; at most {MOST_SHARE:.0%}: {verdict}")


def memory(folder: Path, weights: Path, _frames: int) -> None:
    """Peak resident size of whole processes for a short and a long clip."""
    peaks = []
    for frames in LENGTHS:
        command = [sys.executable, __file__, "child", "--weights", str(weights), "--frames", str(frames)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks.append(json.loads(answer.splitlines()[-1]))
        print(f"{frames:5} frames at {SMALL[1]} × {SMALL[0]}: peak {peaks[-1] / 1024:.0f} MiB", flush=True)
    growth = peaks[1] / peaks[0] - 1
    print(f"growth {growth:.1%}; at most {MOST_GROWTH:.0%}: {'reached' if growth <= MOST_GROWTH else 'MISSED'}")


def child(folder: Path, weights: Path, frames: int) -> None:
    """One run in a process of its own; prints its peak in KiB."""
    upscale(Source(clip_of(folder, frames, SMALL)), Wish(new_resolution=32), load_network(weights), folder / "jobs")
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def identity(folder: Path, weights: Path, _frames: int) -> None:
    """A clip of 60 frames with a cut under all options that must not matter, stopped and gone on with as well."""
    network, wish = load_network(weights), Wish(new_resolution=64, batch_size=9)
    source = Source(clip_of(folder, 60, SMALL, cut=37))
    terms = {"as planned": Terms(stretch=4)}
    for level in (*PROCESSOR_LEVELS, Neutral("resident", "host", 2), Neutral("resident", "device", 4, push=1)):
        terms[f"{level.state}, {level.full_frames} at a time, push {level.push}, {level.block_bytes}"] = Terms(
            neutral=level, stretch=4
        )
    results = {
        name: frames_of(upscale(source, wish, network, folder / f"{number}", terms=each).path)
        for number, (name, each) in enumerate(terms.items())
    }
    results["stopped four times"] = frames_of(stopped(source, wish, network, folder / "stopped", (3, 16, 33, 50)))
    expected = results["as planned"]
    for name, frames in results.items():
        print(f"{name:50} {len(frames)} frames, {'identical' if np.array_equal(frames, expected) else 'DIFFERENT'}")


class Stop(Exception):
    """Asked to stop."""


def stopped(source: Source, wish: Wish, network, jobs: Path, places: tuple[int, ...]) -> Path:
    """The result of a run that was stopped at these frames."""
    for place in places:
        done = [0]

        def check(done=done, place=place) -> None:
            if done[0] >= place:
                raise Stop

        host = Host(check=check, progress=lambda state, done=done: done.__setitem__(0, state.frames))
        try:
            upscale(source, wish, network, jobs, host=host, terms=Terms(stretch=4))
        except Stop:
            continue
    return upscale(source, wish, network, jobs, terms=Terms(stretch=4)).path


def clip_of(folder: Path, frames: int, size: tuple[int, int], cut: int = 1 << 30) -> Path:
    """A moving pattern; another one from the frame `cut` on. Made a few frames at a time."""
    rows, columns = np.mgrid[: size[0], : size[1]]

    def picture(number: int) -> np.ndarray:
        wave = 128 + 100 * np.sin((columns + 2 * number) / 5) * np.cos((rows + number / 3) / 7)
        if number < cut:
            return np.stack([wave, wave * 0.5 + 60, 255 - wave], axis=-1).astype(np.uint8)
        spots = ((rows // 6 + (columns + number) // 6) % 2) * 200
        return np.stack([spots * 0.2, spots, spots * 0.1 + 30], axis=-1).astype(np.uint8)

    path = folder / f"clip_{frames}.mkv"
    batches = ((picture(number)[None], np.array([number])) for number in range(frames))
    media.write(path, batches, time_base=Fraction(1, 24), encoding=media.Encoding("MKV FFV1"))
    return path


def replace_cap(source: Source, frames: int) -> Source:
    """The first frames of a source."""
    return replace(source, selection=media.Selection(cap=frames))


def frames_of(path: Path) -> np.ndarray:
    """All frames of a file."""
    return np.concatenate([batch[0] for batch in media.read(path)])


def timed(function: Callable, key: str, spent: dict[str, float]) -> Callable:
    """The same function, its processor time on its thread added to `spent`."""

    def call(*arguments, **options):
        start = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[key] += time.thread_time() - start

    return call


if __name__ == "__main__":
    main()
