"""Shot detection on installed footage joined at random: `python benchmarks/shots.py [options]`.

Every join is a cut that must be found. Cuts found inside a file count as false unless they are listed as real ones.
Brightness factors below 1 make dark footage. Files are mostly generated clips at about nine frames a second, so motion
between frames is larger than in most video.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from dataclasses import dataclass

import numpy as np
from network import PACK, load_pack

PUSH = 50  # frames handed over at a time
TOLERANCE = 1  # frames


@dataclass(frozen=True)
class Score:
    """What was found in one reel."""

    joins: int
    found: int
    exact: int
    missed: tuple[str, ...]  # the file that begins there
    false: tuple[str, ...]  # file@frame
    frames: int
    seconds: float  # of processor time

    def __str__(self) -> str:
        precision = self.found / max(1, self.found + len(self.false))
        return (
            f"recall {self.found / max(1, self.joins):.3f} ({self.found} of {self.joins} joins, {self.exact} exact), "
            f"precision {precision:.3f} ({len(self.false)} false in {self.frames} frames), "
            f"{1000 * self.seconds / max(1, self.frames):.2f} ms a frame"
        )


def main(arguments: list[str]) -> None:
    """Score as many reels as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000, help="files in a reel")
    parser.add_argument("--reels", type=int, default=1, help="random orders")
    parser.add_argument("--brightness", type=float, nargs="*", default=[1.0, 0.25, 0.1])
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--show-errors", action="store_true")
    options = parser.parse_args(arguments)
    sys.path.pop(0)  # this folder, put there by Python
    load_pack()
    clips = read_clips(options.clips, options.seed)
    for reel in range(options.reels):
        order = np.random.default_rng(options.seed + reel).permutation(sorted(clips))
        for brightness in options.brightness:
            score = score_reel({str(name): clips[str(name)] for name in order}, brightness)
            print(f"reel {reel}, brightness {brightness}: {score}", flush=True)
            if options.show_errors:
                print("    missed:", *score.missed, "\n    false:", *score.false)


def read_clips(count: int, seed: int) -> dict[str, np.ndarray]:
    """Small versions of that many files, chosen at random."""
    files = importlib.import_module(f"{PACK}.benchmarks.footage")
    names = np.random.default_rng(seed).permutation(sorted(files.footage()))[:count]
    clips = {str(name): files.read_footage(name) for name in names}
    return {name: clip for name, clip in clips.items() if len(clip) >= files.FEWEST_FRAMES}


def score_reel(clips: dict[str, np.ndarray], brightness: float) -> Score:
    """Find the shots of all clips in a row and compare with where they were joined."""
    shots = importlib.import_module(f"{PACK}.engine.shots")
    inside = importlib.import_module(f"{PACK}.benchmarks.footage").CHANGES_INSIDE
    starts = np.cumsum([0, *(len(clip) for clip in clips.values())])
    begin, finder, found = time.process_time(), shots.ShotFinder(), []
    for clip in clips.values():
        for first in range(0, len(clip), PUSH):
            found += finder.push((clip[first : first + PUSH] * brightness).round().astype(np.uint8))
    found += finder.finish()
    seconds = time.process_time() - begin
    joins = [int(start) for start in starts[1:-1]]
    false = [place for place in found if not near(place, joins)]
    named = [locate(place, list(clips), starts) for place in false]
    return Score(
        joins=len(joins),
        found=sum(near(join, found) for join in joins),
        exact=len(set(joins) & set(found)),
        missed=tuple(locate(join, list(clips), starts)[0] for join in joins if not near(join, found)),
        false=tuple(f"{name}@{frame}" for name, frame in named if not near(frame, inside.get(name, ()))),
        frames=int(starts[-1]),
        seconds=seconds,
    )


def near(frame: int, others) -> bool:
    """Whether one of the others is this frame or its neighbour."""
    return any(abs(frame - other) <= TOLERANCE for other in others)


def locate(place: int, names: list[str], starts: np.ndarray) -> tuple[str, int]:
    """File and frame of a place in the reel."""
    number = int(np.searchsorted(starts, place, side="right")) - 1
    return names[number], int(place - starts[number])


if __name__ == "__main__":
    main(sys.argv[1:])
