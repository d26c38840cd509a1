"""Read → write of 1080p H.264 against the ffmpeg command line with the same encoder settings, in the same run.

    .env/venv/bin/python benchmarks/media_write.py [--speed medium] [--rounds 3]
Alternates the two, takes the best of each, prints both and the ratio, of elapsed and of processor time: on a machine
that others use too, only the second is steady. Needs Debian's ffmpeg.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import media_footage

TARGET = 0.8


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--speed", default="medium", help="x264 preset of both sides")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=10)
    chosen = arguments.parse_args()
    if shutil.which("ffmpeg") is None:
        raise SystemExit("ffmpeg is not installed: apt-get install -y ffmpeg. Nothing was measured.")
    media_footage.enter()
    source = media_footage.footage(chosen.seconds)
    frames = chosen.seconds * media_footage.RATE
    ours, theirs = [], []
    for _ in range(chosen.rounds):
        theirs.append(_time(lambda: _ffmpeg(source, chosen.speed)))
        ours.append(_time(lambda: _pack(source, chosen.speed)))
    print(f"1080p H.264 crf 16 {chosen.speed}, {frames} frames, best of {chosen.rounds}, {os.cpu_count()} processors:")
    for kind, place in (("elapsed", 0), ("processor", 1)):
        best = min(one[place] for one in theirs), min(one[place] for one in ours)
        print(f"  {kind:9}  ffmpeg {best[0]:6.2f} s   media.read → write {best[1]:6.2f} s"
              f"   ratio {best[0] / best[1]:.2f} (target {TARGET})")  # fmt: skip


def _time(work: Callable[[], None]) -> tuple[float, float]:
    """(elapsed, processor) seconds, child processes and all threads included."""
    start, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


def _ffmpeg(source: Path, speed: str) -> None:
    from seedvr2_anywhere.media.presets import FORMATS  # pyright: ignore[reportMissingImports]

    result = source.with_name("by_ffmpeg.mp4")
    settings = FORMATS["MP4 H.264"].options["x264-params"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-c:v", "libx264", "-preset", speed, "-crf", "16",
         "-x264-params", settings, "-pix_fmt", "yuv420p", "-c:a", "copy", "-movflags", "faststart", str(result)],
        check=True,
    )  # fmt: skip


def _pack(source: Path, speed: str) -> None:
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]

    result = source.with_name("by_pack.mp4")
    media.write(result, media.read(source), encoding=media.Encoding("MP4 H.264", crf=16, speed=speed))


if __name__ == "__main__":
    main()
