"""Train the embedded model from nothing: pictures from packages, the start in closed form, then the stages.

    python3 tools/train_embedded.py [--out models/embedded.safetensors] [--cache .work/embedded] [--quick]

Two processes with one thread each. Fixed seeds. Every stage's result is kept in the cache, so that a stopped run goes
on with the next stage. Needs Debian's `apt-get` and `dpkg` for one package of photos.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from environment import ROOT, reexec_inside

reexec_inside()

import pack  # noqa: E402

pack.load()

import torch  # noqa: E402
from embedded import stages  # noqa: E402
from embedded.clips import open_library  # noqa: E402
from embedded.export import export  # noqa: E402

QUICK_STEPS = 2


def main() -> None:
    """Run all stages and write the file."""
    options = parse()
    table = [replace(stage, steps=QUICK_STEPS) for stage in stages.STAGES] if options.quick else stages.STAGES
    open_library(options.cache, "training")  # decoded here, once, not by two processes at a time
    torch.multiprocessing.start_processes(  # pyright: ignore
        stages.work, (options.cache, tuple(table)), nprocs=stages.PROCESSES, start_method="spawn"
    )
    size = export(stages.finished(options.cache, table[-1]), options.out)
    print(f"{options.out}: {size / 1e6:.2f} MB")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "embedded.safetensors")
    parser.add_argument("--cache", type=Path, default=ROOT / ".work" / "embedded")
    parser.add_argument("--quick", action="store_true", help="two steps a stage: only to see that it runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
