"""A small clip for trying things: two shots of moving texture with a cut between them, and a tone that rises.

python tools/example_clip.py FILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pack

pack.load()

from seedvr2_anywhere import media  # noqa: E402

HEIGHT, WIDTH, FRAMES, CUT = 120, 160, 48, 30
RATE = Fraction(24)
SAMPLE_RATE = 48000


def write_example(path: Path) -> media.Written:
    """Write the clip, compressed as a phone or a website would."""
    seconds = float(FRAMES / RATE)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 0.2 * np.sin(2 * np.pi * (220 + 110 * time) * time)
    return media.write(
        path, batches(), time_base=1 / RATE, picture=media.Picture(rate=RATE),
        encoding=media.Encoding("MP4 H.264", quality="good"),
        sound=media.Sound(samples=media.Samples(np.stack([tone, tone]).astype(np.float32), SAMPLE_RATE)),
    )  # fmt: skip


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The frames, one at a time."""
    for number in range(FRAMES):
        shot = hills(number) if number < CUT else tiles(number - CUT)
        yield (np.clip(shot, 0, 255).astype(np.uint8)[None], np.array([number]))


def hills(number: int) -> np.ndarray:
    """Rolling bands under a light sky, panning."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    ridge = HEIGHT * 0.45 + 14 * np.sin((columns + 2 * number) / 17) + 6 * np.sin((columns + 3 * number) / 5)
    ground = (rows > ridge)[..., None]
    grass = np.stack([70 + 20 * np.sin(columns / 2 + rows), 120 + rows * 0.4, 50 + 0 * rows], axis=-1)
    sky = np.stack([150 + rows * 0.6, 190 + rows * 0.3, 235 - rows * 0.2], axis=-1)
    return np.where(ground, grass, sky)


def tiles(number: int) -> np.ndarray:
    """A tiled floor with a ball rolling over it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    board = ((rows // 12 + columns // 12) % 2)[..., None] * np.array([60.0, 50, 40]) + np.array([120.0, 105, 90])
    distance = np.hypot(rows - 60, columns - 30 - 5 * number)[..., None]
    light = 1 - np.clip(np.hypot(rows - 52, columns - 24 - 5 * number) / 40, 0, 1)[..., None]
    return np.where(distance < 24, np.array([190.0, 40, 50]) * (0.4 + light), board)


if __name__ == "__main__":
    print(write_example(Path(sys.argv[1])))
