"""Peak memory of read → write at 1080p for a short and a long clip: it must not grow with length.

    .env/venv/bin/python benchmarks/media_memory.py [--lengths 20 200] [--speed medium]
Each length runs in a process of its own; the figure is its peak resident size above that after its imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import media_footage

TARGET_MB = 400
TARGET_GROWTH = 0.05
LOOPED = 4  # seconds of footage, repeated to the length asked for


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--lengths", type=int, nargs="+", default=[20, 200])
    arguments.add_argument("--speed", default="medium", help="x264 preset")
    arguments.add_argument("--child", type=Path)
    chosen = arguments.parse_args()
    media_footage.enter()
    if chosen.child:
        print(json.dumps(_copy(chosen.child, chosen.speed)))
        return
    peaks = [_measure(_looped(seconds), chosen.speed) for seconds in chosen.lengths]
    for seconds, (base, peak, curve) in zip(chosen.lengths, peaks, strict=True):
        print(f"{seconds:5} s  after imports {base:6.1f} MB, peak above {peak - base:6.1f} MB (target {TARGET_MB})")
        print("         above imports while copying:", " ".join(f"{size - base:.0f}" for size in curve))
    above = [peak - base for base, peak, _ in peaks]
    print(f"growth {max(above) / min(above) - 1:.1%} (target {TARGET_GROWTH:.0%})")


def _measure(source: Path, speed: str) -> tuple[float, float, list[float]]:
    command = [sys.executable, __file__, "--child", str(source), "--speed", speed]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(json.loads(answer.splitlines()[-1]))


def _copy(source: Path, speed: str) -> tuple[float, float, list[float]]:
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]

    base = _resident()
    curve: list[float] = []

    def watched(reader):
        for number, batch in enumerate(reader):
            if number % 16 == 0:
                curve.append(_resident())
            yield batch

    reader = media.read(source)
    media.write(
        source.with_name(f"copy_{source.stem}.mp4"), watched(reader), time_base=reader.time_base,
        encoding=media.Encoding("MP4 H.264", speed=speed),
        picture=media.Picture(reader.colour, reader.sample_aspect, reader.rate),
        sound=media.Sound(source, reader.info.audio, reader.info.start), tagging=media.Tagging(reader.info),
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return base, peak, curve[:: max(1, len(curve) // 20)]


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS: this measurement needs Linux")


def _looped(seconds: int) -> Path:
    """Footage repeated by stream copy; raises SystemExit without ffmpeg."""
    path = media_footage.WORK / f"looped_{seconds}s.mp4"
    if not path.exists():
        part = media_footage.footage(LOOPED)
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-stream_loop", str(seconds // LOOPED - 1), "-i", str(part), "-c", "copy",
             str(path)],
            check=True,
        )  # fmt: skip
    return path


if __name__ == "__main__":
    main()
