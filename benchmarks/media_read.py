"""Reading speed at 1080p: `media.read` into uint8 batches against ComfyUI's VideoFromFile.get_components, same process.

    .env/venv/bin/python benchmarks/media_read.py [seconds of clip] [rounds]

Both read the same H.264 clip, turn about, so that other load on the machine meets both: footage of the template
packages at 8 Mbit/s, whose decoding takes half the time, and a smooth moving pattern, whose decoding takes little. Ours
probes, hands every batch on and forgets it; "known clip" was probed before, as in a run of the pack. ComfyUI's call
returns the whole clip as float32, as it must.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import media_footage
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZE, RATE = (1920, 1080), 30
SEED = 1


def make_clip(path: Path, seconds: float) -> None:
    """A moving pattern in H.264: 4:2:0, BT.709, easy to decode."""
    width, height = SIZE
    rng = np.random.default_rng(SEED)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    noise = rng.integers(-6, 7, (height, width, 3), dtype=np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.colorspace = stream.codec_context.color_range = 1
        for index in range(round(seconds * RATE)):
            shades = [((x * (c + 1) + y * 2 + index * 8 * (c + 1)) // 4) % 256 for c in range(3)]
            picture = np.stack(shades, axis=-1) + np.roll(noise, index * 7, axis=0)
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def load_core():
    """ComfyUI's VideoFromFile."""
    sys.path.insert(0, str(ROOT / ".env" / "ComfyUI"))
    sys.argv = [sys.argv[0], "--cpu"]  # ComfyUI parses the command line on import
    from comfy_api.latest._input_impl.video_types import VideoFromFile  # pyright: ignore[reportMissingImports]

    return VideoFromFile


def timed(action: Callable[[], int]) -> tuple[float, float]:
    """Frames per second, and milliseconds of CPU time per frame."""
    start, cpu = time.perf_counter(), time.process_time()
    frames = action()
    return frames / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / frames


def compare(media, core, clip: Path, rounds: int) -> None:
    """Print the speeds for a clip and the ratios of the medians to ComfyUI's, of speed and of CPU time."""
    info = media.probe(clip)
    actions = {
        "media.read": lambda: sum(len(batch[0]) for batch in media.read(clip)),
        "known clip": lambda: sum(len(batch[0]) for batch in media.read(clip, info=info)),
        "get_components": lambda: len(core(str(clip)).get_components().images),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            results[name].append(timed(action))
    middle = {name: [statistics.median(part) for part in zip(*values, strict=True)] for name, values in results.items()}
    core_speed, core_cpu = middle["get_components"]
    for name, (speed, cpu) in middle.items():
        best = max(value for value, _ in results[name])
        print(f"  {name:16} {speed:7.1f} frames/s (best {best:.1f}), {cpu:6.1f} ms CPU per frame,"
              f" ratios {speed / core_speed:.2f} and {core_cpu / cpu:.2f}")  # fmt: skip


def main(seconds: float, rounds: int) -> None:
    media_footage.enter()
    media, core = importlib.import_module(f"{media_footage.PACK}.media"), load_core()
    with tempfile.TemporaryDirectory() as folder:
        pattern = Path(folder) / "pattern.mp4"
        make_clip(pattern, seconds)
        for name, clip in {"footage": media_footage.footage(round(seconds)), "pattern": pattern}.items():
            print(f"{name}, {round(seconds * RATE)} frames of {SIZE[0]} × {SIZE[1]}, PyAV {av.__version__}")
            compare(media, core, clip, rounds)


if __name__ == "__main__":
    arguments = [float(argument) for argument in sys.argv[1:3]]
    main(*(arguments[:1] or [3.0]), rounds=int(arguments[1]) if len(arguments) > 1 else 5)
