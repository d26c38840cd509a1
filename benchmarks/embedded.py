"""How well the embedded model restores: held-out clips, made worse as a user's are, through the whole engine.

    python benchmarks/embedded.py [--frames N] [--only NAME ...] [--weights FILE] [--crops FOLDER] [--speed]

Each clip is made smaller by 2 and by 4, blurred, noisy, compressed; then the engine enlarges it as it usually does.
The table compares with bicubic enlargement of the same small clip. Ceiling: the clean clip through the VAE alone.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a script
    from media_footage import enter

    enter()

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from seedvr2_anywhere.benchmarks.footage import footage, read_footage
from seedvr2_anywhere.engine.embedded import EMBEDDED
from seedvr2_anywhere.engine.images import restore_images
from seedvr2_anywhere.engine.network import Network, load_network
from seedvr2_anywhere.engine.resize import resize
from seedvr2_anywhere.engine.upscale import Wish
from seedvr2_anywhere.tools.embedded.degrade import Harm, draw_harm, shrink
from torch import Tensor

# held out: one take, the whole frame a moving picture. Chosen by eye before anything was measured
CLIPS = (
    "api_kling_effects-1", "ltxv_image_to_video-1", "api_luma_t2v-1", "api_vidu_image_to_video-1",
    "api_wan_text_to_video-1", "api_bytedance_flf2v-1", "api_runway_gen3a_turbo_image_to_video-1", "api_wan2_6_t2v-1",
    "api_hailuo_minimax_i2v-1", "video_wan2_2_14B_fun_control-1", "api_kling_o3_flf2v-1", "api_kling_i2v-1",
)  # fmt: skip
FACTORS = (2, 4)
SIDE = 16  # the clean picture is cut to a multiple of this
FRAMES = 21
SPEED_FRAMES = 13
LUMA = torch.tensor([0.2126, 0.7152, 0.0722])
SSIM_SIGMA, SSIM_RADIUS = 1.5, 5  # Wang et al. 2004
SSIM_FLOORS = (0.01**2, 0.03**2)


@dataclass(frozen=True)
class Score:
    """Of frames against the clean ones."""

    psnr: float  # of luma
    ssim: float
    flicker: float  # mean absolute difference of consecutive residuals, in 8-bit codes


@dataclass(frozen=True)
class Row:
    """One clip at one factor."""

    name: str
    harm: Harm
    restored: Score
    bicubic: Score
    ceiling: Score
    ceiling_rgb: float


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    network = load_network(options.weights)
    rows = []
    for name in [name for name in options.only or CLIPS if name in footage()][: options.clips]:
        rows += list(measure(name, network, options))
    if rows:
        report(rows)
    if options.speed:
        report_speed(network)


def measure(name: str, network: Network, options: argparse.Namespace) -> Iterator[Row]:
    """The clip at each factor."""
    clean = clean_clip(name, options.frames)
    through = vae_alone(clean, network)
    ceiling, ceiling_rgb = score(through, clean), psnr(through, clean)
    for factor in options.factors:
        harm = harm_for(name, factor)
        small = torch.from_numpy(shrink(clean.permute(3, 0, 1, 2) * 2 - 1, harm)).float() / 255
        wish = Wish(size_by="scale", scale=float(factor))
        restored, bicubic = restore_images(small, wish, network), resize(small, *clean.shape[1:3])
        row = Row(name, harm, score(restored, clean), score(bicubic, clean), ceiling, ceiling_rgb)
        print(line(row), flush=True)
        if options.crops:
            save_crops(options.crops / f"{name}_x{factor}.png", bicubic, restored, clean)
        yield row


def clean_clip(name: str, frames: int) -> Tensor:
    """[T,H,W,3] in 0..1, sides cut to multiples of SIDE."""
    clip = torch.from_numpy(read_footage(name, frames, 10**4)).float() / 255
    height, width = (size // SIDE * SIDE for size in clip.shape[1:3])
    top, left = (clip.shape[1] - height) // 2, (clip.shape[2] - width) // 2
    return clip[: (len(clip) - 1) // 4 * 4 + 1, top : top + height, left : left + width]


def harm_for(name: str, factor: int) -> Harm:
    """What is done to a clip: a function of its name."""
    seed = int(hashlib.sha256(f"{name} {factor}".encode()).hexdigest()[:8], 16)
    return draw_harm(np.random.default_rng(seed), (factor,))


def vae_alone(clean: Tensor, network: Network) -> Tensor:
    """Clean frames encoded and decoded, as decoded but for the clamp."""
    video = clean.permute(3, 0, 1, 2)[None] * 2 - 1
    with torch.no_grad():
        back = network.vae.decode(network.vae.encode(video))
    return back[0].permute(1, 2, 3, 0).add(1).div(2).clamp(0, 1)


def score(frames: Tensor, clean: Tensor) -> Score:
    """All measures of frames [T,H,W,3] in 0..1."""
    luma, wanted = frames @ LUMA, clean @ LUMA
    residual = luma - wanted
    return Score(psnr(luma, wanted), ssim(luma, wanted), 255 * residual.diff(dim=0).abs().mean().item())


def psnr(frames: Tensor, clean: Tensor) -> float:
    """Decibels, over the whole clip."""
    return -10 * float(torch.log10((frames - clean).square().mean()))


def ssim(luma: Tensor, wanted: Tensor) -> float:
    """Structural similarity of frames [T,H,W], Gaussian window."""
    place = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = torch.exp(-0.5 * (place / SSIM_SIGMA) ** 2)
    kernel = kernel / kernel.sum()

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x[:, None], kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))

    a, b = mean(luma), mean(wanted)
    aa, bb, ab = mean(luma**2) - a * a, mean(wanted**2) - b * b, mean(luma * wanted) - a * b
    first, second = SSIM_FLOORS
    return float(((2 * a * b + first) * (2 * ab + second) / ((a * a + b * b + first) * (aa + bb + second))).mean())


def report(rows: list[Row]) -> None:
    """Averages, and the targets' counts."""
    for factor in sorted({row.harm.factor for row in rows}):
        print_average(f"average ×{factor:g}", [row for row in rows if row.harm.factor == factor])
    print_average("average", rows)
    able = [row for row in rows if row.ceiling.psnr >= row.bicubic.psnr + 1]
    better = [row for row in able if row.restored.psnr > row.bicubic.psnr]
    print(f"better than bicubic: {len(better)} of the {len(able)} whose ceiling exceeds bicubic by 1 dB "
          f"({len(rows)} in all, {sum(row.restored.psnr > row.bicubic.psnr for row in rows)} better)")  # fmt: skip


def print_average(title: str, rows: list[Row]) -> None:
    """One line of means."""

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    parts = []
    for kind in ("restored", "bicubic", "ceiling"):
        scores: list[Score] = [getattr(row, kind) for row in rows]
        decibels, likeness = mean(each.psnr for each in scores), mean(each.ssim for each in scores)
        flicker = mean(each.flicker for each in scores)
        parts.append(f"{kind} {decibels:.2f} dB, SSIM {likeness:.4f}, flicker {flicker:.2f}")
    print(f"{title}: {'; '.join(parts)}; VAE alone, RGB {mean(row.ceiling_rgb for row in rows):.2f} dB")


def line(row: Row) -> str:
    """One row of the table."""
    gain = row.restored.psnr - row.bicubic.psnr
    cells = [
        f"{row.name[:34]:34} ×{row.harm.factor:g}",
        f"{row.restored.psnr:.2f}", f"{row.bicubic.psnr:.2f}", f"{gain:+.2f}",
        f"{row.restored.ssim:.4f}", f"{row.bicubic.ssim:.4f}",
        f"{row.restored.flicker:.2f}", f"{row.bicubic.flicker:.2f}",
        f"{row.ceiling.psnr:.2f}", f"{row.ceiling_rgb:.2f}", describe(row.harm),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def describe(harm: Harm) -> str:
    """The degradation in words."""
    codec = f"H.264 crf {harm.crf}" if harm.crf else f"JPEG {harm.jpeg}" if harm.jpeg else "uncompressed"
    return f"{harm.shrinker}, blur {harm.blur:.1f}, noise {harm.noise * 255:.1f}, {codec}"


def save_crops(path: Path, *versions: Tensor) -> None:
    """Bicubic, restored and clean side by side: the middle of the middle frame, twice the size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [version[len(version) // 2].clamp(0, 1) for version in versions]
    height, width = frames[0].shape[:2]
    window = (slice(height // 2 - 96, height // 2 + 96), slice(width // 2 - 96, width // 2 + 96))
    joined = torch.cat([frame[window] for frame in frames], dim=1).mul(255).round().byte().numpy()
    picture = Image.fromarray(joined)
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path)


def report_speed(network: Network) -> None:
    """Frames a second from 256 × 144 to 512 × 288, and the processor's time, which a busy machine distorts less."""
    small = torch.rand(1, 144, 256, 3).expand(SPEED_FRAMES, -1, -1, -1)
    start, processor = time.perf_counter(), time.process_time()
    restore_images(small, Wish(new_resolution=288), network)
    taken, processor = time.perf_counter() - start, time.process_time() - processor
    print(f"speed: {SPEED_FRAMES / taken:.2f} frames/s at 512 × 288 with {torch.get_num_threads()} threads; "
          f"{processor / SPEED_FRAMES:.2f} s of processor time a frame")  # fmt: skip


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=EMBEDDED)
    parser.add_argument("--clips", type=int, default=len(CLIPS))
    parser.add_argument("--only", nargs="*", help="names of clips instead of the usual ones")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--factors", type=int, nargs="*", default=list(FACTORS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--crops", type=Path, help="folder for pictures: bicubic, restored, clean")
    parser.add_argument("--speed", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
