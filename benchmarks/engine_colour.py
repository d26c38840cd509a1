"""Time of the pixel stages beside the network: `python benchmarks/engine_colour.py [options]`.

Prints milliseconds per frame of each colour method, of resizing, tone mapping and quantising: the median on the clock,
and the processor time of the quickest turn, which a busy machine distorts less.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable

import torch
from network import PACK, load_pack
from torch import Tensor

METHODS = ("two_scale", "lab", "wavelet", "adain", "none")


def main(arguments: list[str]) -> None:
    """Time every stage on random frames of one size."""
    options = parse(arguments)
    sys.path.pop(0)  # this folder, put there by Python
    load_pack()
    torch.set_num_threads(options.threads)
    print(f"{options.width} × {options.height}, {options.device}, {options.threads} threads, torch {torch.__version__}")
    print(f"{'stage':<22}{'ms (median)':>12}{'cpu ms (least)':>16}")
    for name, stage in stages(options).items():
        clock, processor = time_stage(stage, options.turns, options.device)
        print(f"{name:<22}{1000 * clock:>12.1f}{1000 * processor:>16.1f}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(arguments)


def stages(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is timed: each call handles one frame, laid out as the decoder leaves it."""
    colour, quantize, resize, tone = (
        importlib.import_module(f"{PACK}.engine.{name}") for name in ("colour", "quantize", "resize", "tone")
    )
    height, width = options.height, options.width
    content, reference = (random_frame(height, width, seed, options.device) for seed in (1, 2))
    small = random_frame(height // 2, width // 2, 3, options.device)

    def correct(method: str) -> Callable[[], object]:
        return lambda: colour.transfer(content, reference, method, source_size=(height // 2, width // 2))

    return {
        **{f"colour {method}": correct(method) for method in METHODS},
        "resize ×2": lambda: resize.resize(small, height, width),
        "PQ to SDR": lambda: tone.to_sdr(content, "pq"),
        "HLG to SDR": lambda: tone.to_sdr(content, "hlg"),
        "8 bits, dithered": lambda: quantize.to_codes(content),
        "16 bits": lambda: quantize.to_codes(content, torch.uint16),
    }


def random_frame(height: int, width: int, seed: int, device: str) -> Tensor:
    """One frame [1, H, W, 3] in 0..1, planes in memory."""
    planes = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return planes.to(device).permute(0, 2, 3, 1)


def time_stage(stage: Callable[[], object], turns: int, device: str) -> tuple[float, float]:
    """(median seconds on the clock, least seconds of processor time) after one unmeasured turn."""
    stage()
    clocks, processors = [], []
    for _ in range(turns):
        wait(device)
        clock, processor = time.perf_counter(), time.process_time()
        stage()
        wait(device)
        clocks.append(time.perf_counter() - clock)
        processors.append(time.process_time() - processor)
    return statistics.median(clocks), min(processors)


def wait(device: str) -> None:
    """Let the device finish what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
