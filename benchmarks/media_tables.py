"""The colour and timing tables of media/, as measured on the PyAV of the interpreter it is run by.

    .env/venv/bin/python benchmarks/media_tables.py          the newest PyAV
    .env/pyav16/bin/python benchmarks/media_tables.py        the oldest one ComfyUI allows

The clips are those of the tests. Colours are the largest error of eight patches in 255ths: as read, and as Debian's
ffmpeg shows the file written from that. Times are the largest difference to ffprobe's, in ticks of the file's clock.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import media_footage
import numpy as np

TESTS = Path(__file__).resolve().parent.parent / "tests" / "media"


def main() -> None:
    media_footage.enter()
    sys.path.insert(0, str(TESTS))
    print(
        f"PyAV {av.__version__}\n\n| tag | range | bits | read | written and shown by ffmpeg |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for tag, full, bits in product((None, "bt601", "bt709", "bt2020"), (False, True), (8, 10)):
            read, written = _card_errors(Path(folder), tag, full, bits)
            print(f"| {tag or 'none'} | {'full' if full else 'limited'} | {bits} | {read:.2f} | {written:.2f} |")
        print("\n| clip | frames | read | written to MP4 | written to MKV |\n|---|---|---|---|---|")
        from test_timing import CASES  # pyright: ignore[reportMissingImports]

        for name in CASES:
            count, *off = _time_errors(Path(folder), name)
            print(f"| {name} | {count} |", " | ".join(f"{float(ticks):.3g}" for ticks in off), "|")


def _card_errors(folder: Path, tag: str | None, full: bool, bits: int) -> tuple[float, float]:
    import test_colour  # pyright: ignore[reportMissingImports]
    from made_clips import ffmpeg_frames  # pyright: ignore[reportMissingImports]
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]
    from source_clips import patch_means  # pyright: ignore[reportMissingImports]

    def error(frame: np.ndarray) -> float:
        return float(np.abs(patch_means(frame) - test_colour.PATCHES).max() * 255)

    source, target = folder / "card.mp4", folder / "copy.mp4"
    test_colour.write_card(source, tag or "bt601", tag, full, bits)
    frame = next(iter(media.read(source)))[0][0]
    name = "MP4 H.264" if bits == 8 else "MP4 H.265"
    written = media.write(target, media.read(source), encoding=media.Encoding(name, quality="near lossless"))
    raw = ffmpeg_frames(target, "rgb24", "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp")
    width, height = written.size
    return error(frame), error(np.frombuffer(raw, np.uint8)[: 3 * width * height].reshape(height, width, 3))


def _time_errors(folder: Path, name: str) -> list[Fraction | int]:
    """Frames, then the largest differences: read, written to MP4, to MKV; in ticks of each file."""
    import test_timing  # pyright: ignore[reportMissingImports]
    from seedvr2_anywhere import media  # pyright: ignore[reportMissingImports]
    from source_clips import read_all, write_clip  # pyright: ignore[reportMissingImports]

    source = write_clip(folder / name, test_timing.CASES[name])
    reader = media.read(source)
    frames, pts = read_all(reader)
    stated = test_timing.ffprobe_pts(source)
    found: list[Fraction | int] = [len(frames), max(abs(a - b + stated[0]) for a, b in zip(pts, stated, strict=False))]
    times = [tick * reader.time_base for tick in pts.tolist()]
    for suffix in (".mp4", ".mkv"):
        path = media.write(folder / f"times{suffix}", media.read(source)).path
        base, stamps = media.probe(path).time_base, test_timing.ffprobe_pts(path)
        shown = [(stamp - stamps[0]) * base for stamp in stamps]
        found.append(max(abs(a - b) for a, b in zip(times, shown, strict=False)) / base)
    return found


if __name__ == "__main__":
    main()
