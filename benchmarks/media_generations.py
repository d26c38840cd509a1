"""What eight generations of reading and writing do to real pictures, format by format, at top quality.

    .env/venv/bin/python benchmarks/media_generations.py
The pictures are the animations of ComfyUI's template packages. Differences are in steps of 8 bit, between the first
file and the eighth made from it: of single values, which is mostly coding noise, and of the means of blocks of 8 × 8,
which is what the eye sees as drift. The last column is the eighth file against the pictures themselves.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path

import media_footage
import numpy as np

GENERATIONS = 8
CLIPS, FRAMES, EVERY = 6, 12, 25
BLOCK = 8  # pixels
LOSSLESS = "H.264, crf 0"  # what is left then is this pack's own: colours, chroma, rounding
FORMATS = {LOSSLESS: ".mp4", "MP4 H.264": ".mp4", "MP4 H.265": ".mp4", "MOV ProRes": ".mov", "MKV FFV1": ".mkv"}


def main() -> None:
    media_footage.enter()
    clips = _clips()
    print(f"{len(clips)} clips of {FRAMES} frames, {GENERATIONS} generations, PyAV {_version()}")
    print(f"{'format':18} {'mean':>6} {'99 %':>6} {'largest':>8}   {'8 × 8: mean':>11} {'99 %':>6} {'largest':>8}"
          f" {'shift of the mean':>18} {'against the source':>19}")  # fmt: skip
    for name, suffix in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            figures = np.mean([_drift(clip, name, Path(folder), suffix) for clip in clips], axis=0)
        mean, high, largest, *block, shift, source = figures
        print(f"{name:18} {mean:6.2f} {high:6.1f} {largest:8.0f}   {block[0]:11.2f} {block[1]:6.2f} {block[2]:8.1f}"
              f" {shift:18.3f} {source:19.2f}")  # fmt: skip


def _drift(clip: np.ndarray, name: str, folder: Path, suffix: str) -> list[float]:
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]

    encoding = media.Encoding(name, quality="near lossless", profile="4444xq")
    if name == LOSSLESS:
        encoding = media.Encoding("MP4 H.264", crf=0)
    path = folder / f"0{suffix}"
    media.write(path, [(clip, np.arange(len(clip)))], time_base=Fraction(1, 24), encoding=encoding)
    first = _frames(path)
    for generation in range(1, GENERATIONS + 1):
        following = folder / f"{generation}{suffix}"
        media.write(following, media.read(path), encoding=encoding)
        path = following
    last = _frames(path)
    moved = np.abs(last - first)
    shift = np.abs((last - first).mean((0, 1, 2))).max()
    blocks = np.abs(_block_means(last - first))
    return [*_figures(moved), *_figures(blocks), shift, np.abs(last - clip).mean()]


def _figures(moved: np.ndarray) -> list[float]:
    return [moved.mean(), np.percentile(moved, 99), moved.max()]


def _block_means(difference: np.ndarray) -> np.ndarray:
    """[T, H, W, 3] → the means of whole blocks, [T, H // 8, W // 8, 3]."""
    frames, height, width, _ = difference.shape
    rows, columns = height // BLOCK, width // BLOCK
    whole = difference[:, : rows * BLOCK, : columns * BLOCK]
    return whole.reshape(frames, rows, BLOCK, columns, BLOCK, 3).mean((2, 4))


def _frames(path: Path) -> np.ndarray:
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]

    frames = np.concatenate([batch[0] for batch in media.read(path)])
    return frames.astype(float) if frames.dtype == np.uint8 else frames / 257


def _clips() -> list[np.ndarray]:
    from PIL import Image, ImageSequence

    packages = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    files = sorted(file for folder in packages.glob(media_footage.TEMPLATES) for file in folder.rglob("*.webp"))
    clips = []
    for file in files[::EVERY]:
        with Image.open(file) as animation:
            if getattr(animation, "n_frames", 1) < FRAMES or len(clips) == CLIPS:
                continue
            stills = [np.asarray(still.convert("RGB")) for still in islice(ImageSequence.Iterator(animation), FRAMES)]
        clip = np.stack(stills)
        clips.append(np.ascontiguousarray(clip[:, : clip.shape[1] // 2 * 2, : clip.shape[2] // 2 * 2]))
    if not clips:
        raise SystemExit("The template packages with the footage are not installed in this environment.")
    return clips


def _version() -> str:
    import av

    return av.__version__


if __name__ == "__main__":
    main()
