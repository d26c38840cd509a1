"""What windows cost: the jump where they meet, and the distance to one window over the whole shot.

    .env/venv/bin/python benchmarks/engine_windows.py [--weights FILE] [--frames 60] [--size 64 96]
A change is the mean absolute difference of neighbouring frames, in 8-bit levels. A boundary's zone holds the
transitions into the latents that two windows share and into the first after them; its jump is compared with the flicker
of the one window at the same transitions, where no boundary is, so that motion does not count.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from network import load_pack

load_pack()

from seedvr2_anywhere.benchmarks.footage import read_footage  # noqa: E402
from seedvr2_anywhere.engine.embedded import embedded_model  # noqa: E402
from seedvr2_anywhere.engine.finish import finish_piece  # noqa: E402
from seedvr2_anywhere.engine.network import Network, load_network  # noqa: E402
from seedvr2_anywhere.engine.padding import plan_geometry  # noqa: E402
from seedvr2_anywhere.engine.quantize import to_float  # noqa: E402
from seedvr2_anywhere.engine.restore import Method, Streams, latents_in, restore_shot  # noqa: E402
from seedvr2_anywhere.engine.shot_stream import Frame  # noqa: E402
from seedvr2_anywhere.engine.windows import Windowing, plan_windows  # noqa: E402
from seedvr2_anywhere.engine.wish import Wish  # noqa: E402

CLIP = "video_wan2_2_14B_i2v-1"  # one shot
CASES = (Windowing(6, 0), Windowing(6, 2), Windowing(5, 2), Windowing(3, 1))
TARGET = 1.1  # boundary jump over flicker, with shared latents
LEVELS = 255


@dataclass(frozen=True)
class Measured:
    """Of one windowing."""

    jump: float  # mean change in boundaries' zones
    flicker: float  # the same of one window over all
    worst: float  # largest of all quotients of both, transition by transition
    psnr: float  # dB to one window


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--clip", default=CLIP)
    arguments.add_argument("--frames", type=int, default=60)
    arguments.add_argument("--size", type=int, nargs=2, default=[64, 96], help="height and width of the source")
    arguments.add_argument("--color", default="two_scale")
    chosen = arguments.parse_args()
    weights = chosen.weights or embedded_model()
    network, source = load_network(weights), clip_of(chosen.clip, chosen.frames, tuple(chosen.size))
    print(f"{weights.name}, {chosen.clip}, {len(source)} frames, colour {chosen.color}")
    whole = restored(network, source, Windowing(latents_in(len(source)), 0), chosen.color)
    for windowing in CASES:
        found = measure(restored(network, source, windowing, chosen.color), whole, windowing)
        ratio = found.jump / found.flicker
        verdict = "" if not windowing.shared else f"; {'reached' if ratio <= TARGET else 'MISSED'} (at most {TARGET})"
        print(
            f"windows of {windowing.length} sharing {windowing.shared}: jump {found.jump:.3f},",
            f"flicker {found.flicker:.3f}, quotient {ratio:.3f} (worst {found.worst:.3f}),",
            f"PSNR to one window {found.psnr:.2f} dB{verdict}",
        )


def clip_of(name: str, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Footage cut to a size [T,H,W,3] uint8."""
    pictures = read_footage(name, frames, width=2 * size[1])
    return pictures[:, : size[0], : size[1]]


def restored(network: Network, source: np.ndarray, windowing: Windowing, colour: str) -> torch.Tensor:
    """Result [T,H,W,3] in 0..1, twice as large, of one shot."""
    size = source.shape[1:3]
    method = Method(plan_geometry(size, (2 * size[0], 2 * size[1])), windowing)
    frames = [Frame(pixels, number) for number, pixels in enumerate(source)]
    wish = Wish(color_correction=colour)
    with torch.no_grad():
        pieces = restore_shot(network, frames, 0, method, Streams())
        return torch.cat([to_float(finish_piece(piece, method, wish)[0]) for piece in pieces])


def measure(result: torch.Tensor, whole: torch.Tensor, windowing: Windowing) -> Measured:
    """Compare a result with that of one window, at boundaries and over all."""
    found, expected = changes(result), changes(whole)
    windows = plan_windows(latents_in(len(result)), windowing)[1:]
    inside = np.concatenate([np.arange(len(found))[zone(window.start, windowing.shared)] for window in windows])
    error = (result - whole).square().mean((1, 2, 3)).clamp(min=1e-12)
    return Measured(
        float(found[inside].mean()),
        float(expected[inside].mean()),
        float((found / expected)[inside].max()),
        float((-10 * error.log10()).mean()),
    )


def changes(frames: torch.Tensor) -> np.ndarray:
    """[T − 1] mean absolute differences of neighbours among [T,H,W,3] in 0..1, in levels."""
    return (frames.diff(dim=0).abs().mean((1, 2, 3)) * LEVELS).numpy()


def zone(start: int, shared: int) -> slice:
    """Transitions of a boundary: into the first frame of the first shared latent, up to that after the last one."""
    return slice(4 * start - 4, 4 * (start + shared) - 3)


if __name__ == "__main__":
    main()
