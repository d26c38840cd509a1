"""Train the embedded model from nothing: pictures from packages, the start in closed form, then the stages.

    python3 tools/train_embedded.py [--out FILE] [--cache FOLDER] [--device cuda] [--quick]

Fixed seeds. The last stage is meant for a GPU: twelve minutes; on one core it takes days, the others two hours.
Every stage's result is kept in the cache, and what is half done once a minute, so that a stopped run goes on.
Needs Debian's `apt-get` and `dpkg` for one package of photos.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from environment import ROOT, reexec_inside

reexec_inside()

import pack  # noqa: E402
import torch  # noqa: E402

pack.load()

from embedded import stages  # noqa: E402
from embedded.export import export  # noqa: E402
from embedded.latents import LatentStage  # noqa: E402
from embedded.place import Place  # noqa: E402
from embedded.stage import Stage  # noqa: E402

QUICK_STEPS, QUICK_BATCHES = 2, ((5, 1, 48),)


def main() -> None:
    """Run all stages and write the file."""
    options = parse()
    table = [quick(stage) for stage in stages.STAGES] if options.quick else stages.STAGES
    device = torch.device(options.device)
    place = Place(device, 0 if device.type == "cpu" else max(1, (os.cpu_count() or 2) - 1))
    size = export(stages.work(options.cache, table, place), options.out)
    print(f"{options.out}: {size / 1e6:.2f} MB")


def quick(stage: Stage | LatentStage) -> Stage | LatentStage:
    """The stage cut down to see that it runs."""
    few = {"clips": QUICK_STEPS} if isinstance(stage, LatentStage) else {"batches": QUICK_BATCHES}
    return replace(stage, steps=QUICK_STEPS, **few)  # pyright: ignore


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "embedded.safetensors")
    parser.add_argument("--cache", type=Path, default=ROOT / ".work" / "embedded")
    parser.add_argument("--device", default="cpu", help="where the network learns: cpu, cuda")
    parser.add_argument("--quick", action="store_true", help="two steps a stage: only to see that it runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
