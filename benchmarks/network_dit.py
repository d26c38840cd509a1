"""The transformer against ComfyUI's own module: same process, same weights, taking turns.

.env/venv/bin/python benchmarks/network_dit.py               CPU, float32
.env/venv/bin/python benchmarks/network_dit.py --device cuda  bfloat16, with TFLOP/s and peak memory
.env/venv/bin/python benchmarks/network_dit.py --load        memory of loading a full-size 3B file
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from ..models import load_dit
from ..models.config import DiTConfig, expected_keys
from ..models.windows import arrange
from .native_seedvr2 import comfy, native_dit, native_velocity
from .paired import matmul_rate, time_call, time_pair
from .toy_weights import REAL_DIT, dit_config, dit_inputs, random_dit_weights


@dataclass(frozen=True)
class Case:
    """A transformer and a latent grid (T, H, W), with the ratio to reach."""

    name: str
    config: DiTConfig
    grid: tuple[int, int, int]
    target: float


FULL_3B = dit_config("3b", 2560, layers=2, separate=1, text_width=5120)
FULL_7B = dit_config("7b", 3072, layers=2, text_width=5120)
CPU_CASES = [
    Case("3B width, 2 blocks", FULL_3B, (3, 32, 32), 1.05),
    Case("7B width, 2 blocks", FULL_7B, (3, 32, 32), 1.05),
    Case("width 256, 4 blocks", dit_config("3b", text_width=5120), (5, 30, 54), 1.5),
]
CUDA_CASES = [
    Case("3B, 720p × 5 frames", REAL_DIT["3b"], (2, 90, 160), 1.5),
    Case("3B, 1080p × 21 frames", REAL_DIT["3b"], (6, 136, 240), 1.5),
    Case("7B, 1080p × 21 frames", REAL_DIT["7b"], (6, 136, 240), 1.5),
]


def flops(config: DiTConfig, grid: tuple[int, int, int], text_length: int = 58) -> float:
    """Multiply-adds × 2 of linear layers and attention for the video tokens; text and edges are not counted."""
    tokens = (grid[0], grid[1] // 2, grid[2] // 2)
    matrices = (3 + 1) * config.width * config.inner + (3 if config.gated_mlp else 2) * config.width * config.hidden
    linear = 2 * tokens[0] * tokens[1] * tokens[2] * matrices * config.layers
    pairs = [
        sum(run.windows * (run.tokens + text_length) ** 2 for run in arrange(tokens, s).runs) for s in (False, True)
    ]
    return linear + 4 * config.inner * sum(pairs[block % 2] for block in range(config.layers))


def run_case(case: Case, device: str, turns: int, same_ops: bool) -> None:
    """Print both times and the ratio; on a GPU also rate and peak memory of ours."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    state = random_dit_weights(case.config, device=device, dtype=dtype)
    operations = comfy().ops.disable_weight_init if same_ops else None
    ours = load_dit(state, device=device, dtype=dtype, operations=operations)
    theirs = native_dit(case.config, state, dtype)
    latent, condition, text = (tensor.to(device, dtype) for tensor in dit_inputs(case.config, case.grid))
    result = time_pair(
        lambda: ours(latent, condition, text, 1000.0),
        lambda: native_velocity(theirs, latent, condition, text, 1000.0),
        turns,
    )
    verdict = "reached" if result.ratio >= case.target else "MISSED"
    print(f"{case.name} {case.grid}: {result}; target {case.target}× {verdict}", flush=True)
    if device == "cuda":
        print_device_figures(case, lambda: ours(latent, condition, text, 1000.0), dtype)


def print_device_figures(case: Case, call, dtype: torch.dtype) -> None:
    """TFLOP/s, share of the measured matmul rate, and memory beyond the weights."""
    resident = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    seconds = min(time_call(call) for _ in range(5))
    rate, ceiling = flops(case.config, case.grid) / seconds / 1e12, matmul_rate("cuda", dtype)
    peak = (torch.cuda.max_memory_allocated() - resident) / 2**30
    print(f"    {rate:.0f} TFLOP/s = {rate / ceiling:.0%} of matmul, {peak:.2f} GiB over weights", flush=True)


def measure_loading() -> None:
    """Write a 3B file of random float16 weights, load it in a fresh process and compare its peak with the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seedvr2_3b_fp16.safetensors"
        write_random_file(path, expected_keys(REAL_DIT["3b"]))
        command = [sys.executable, Path(__file__).with_name("network.py"), "dit", "--load-file", path]
        raise SystemExit(subprocess.run(command, check=False).returncode)


def write_random_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A float16 safetensors file written piece by piece: no more than one piece is in memory."""
    header, end = {}, 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    piece = torch.randn(1 << 24).mul_(0.02).half().numpy().tobytes()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, end, len(piece)):
            file.write(piece[: end - start])


def load_and_report(path: Path) -> None:
    """Load a file in this fresh process and print the peak of resident memory."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = time_call(lambda: load_dit(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = path.stat().st_size
    print(f"file {size / 1e9:.2f} GB, peak RSS {peak / 1e9:.2f} GB = {peak / size:.3f} × file, of which "
          f"{before / 1e9:.2f} GB before; loaded and checked in {seconds:.1f} s")  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--same-ops", action="store_true", help="give ours ComfyUI's layers too")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--load-file", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.load_file:
        return load_and_report(options.load_file)
    if options.load:
        return measure_loading()
    comfy()
    with torch.inference_mode():
        for case in CPU_CASES if options.device == "cpu" else CUDA_CASES:
            run_case(case, options.device, options.turns, options.same_ops)
    return None
