"""Mutated files through probe, read and sound: none may crash, hang, eat memory or raise anything but a MediaError.

    .env/venv/bin/python tools/campaign_fuzz.py [count] [seed]

A worker process opens the files one after the other; this one mutates, watches the clock and starts a new worker when
one dies or has to be killed.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PACK = "seedvr2_anywhere"
TIME_LIMIT = 10.0  # seconds for one file
MEMORY_LIMIT = 1 << 20  # kilobytes at the peak
MOST_FRAMES = 400  # read from one file
FRAMES, WIDTH, HEIGHT = 24, 96, 64
# name → video codec, pixel format, sound codec, encoder options
VIDEO_SEEDS: dict[str, tuple[str, str, str | None, dict[str, str]]] = {
    "h264.mp4": ("libx264", "yuv420p", "aac", {"g": "8", "bf": "2"}),
    "h265.mp4": ("libx265", "yuv420p10le", None, {"x265-params": "log-level=none:keyint=8", "preset": "ultrafast"}),
    "h264.mkv": ("libx264", "yuv420p", "libopus", {"g": "8"}),
    "vp9.webm": ("libvpx-vp9", "yuva420p", "libopus", {"cpu-used": "8", "deadline": "realtime"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", "mp2", {"g": "8", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", "mp2", {"g": "8", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", "libmp3lame", {"g": "8"}),
    "prores.mov": ("prores_ks", "yuv422p10le", "pcm_s16le", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", "flac", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", None, {}),
    "av1.mp4": ("libsvtav1", "yuv420p", "aac", {"preset": "12"}),
    "flv1.flv": ("flv", "yuv420p", "libmp3lame", {"g": "8"}),
    "raw.h264": ("libx264", "yuv420p", None, {"g": "8"}),
    "dnxhd.mxf": ("mpeg2video", "yuv422p", None, {"g": "8"}),
}
PICTURE_SEEDS = ("anim.gif", "anim.webp", "anim.png", "still.jpg", "still.png", "still.webp", "still.tif", "still.bmp")


@dataclass
class Summary:
    """What became of the files."""

    count: int = 0
    seconds: float = 0.0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)  # "name mutation: what happened"
    slowest: float = 0.0  # seconds
    peak: int = 0  # kilobytes, of the worst file

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {number}" for name, number in self.outcomes.most_common())
        return (f"{self.count} mutated files in {self.seconds:.0f} s: {shown}; slowest {self.slowest:.2f} s, "
                f"peak memory {self.peak / 1024:.0f} MiB, failures {len(self.failures)}")  # fmt: skip


def run(count: int, seed: int, keep: Path | None = None) -> Summary:
    """Mutate and open `count` files; files that fail are kept in `keep` when given."""
    rng = np.random.default_rng(seed)
    summary = Summary()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sources = make_sources(Path(folder))
        worker = Worker()
        for index in range(count):
            name, data = sources[index % len(sources)]
            how, mutated = mutate(data, rng)
            path = Path(folder) / f"{index}_{name}"
            path.write_bytes(mutated)
            outcome = worker.open(path)
            _record(summary, f"{name} {how}", outcome)
            if keep is not None and outcome["failed"]:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_bytes(mutated)
            path.unlink()
        worker.stop()
    summary.seconds = time.monotonic() - begin
    return summary


def _record(summary: Summary, what: str, outcome: dict[str, Any]) -> None:
    summary.count += 1
    summary.outcomes[outcome["result"]] += 1
    summary.slowest = max(summary.slowest, outcome["seconds"])
    summary.peak = max(summary.peak, outcome["peak"])
    if outcome["peak"] > MEMORY_LIMIT:
        outcome["failed"] = True
    if outcome["failed"]:
        summary.failures.append(f"{what}: {outcome}")


# --- mutations ------------------------------------------------------------------------------------------------------
def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A damaged copy and the name of the damage."""
    name = str(rng.choice(sorted(MUTATIONS)))
    return name, bytes(MUTATIONS[name](bytearray(data), rng))


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), int(rng.integers(1, 64))):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def _flip_head(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, min(len(data), 1024), int(rng.integers(1, 12))):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(1, len(data)))]


def _lose(data: bytearray, rng: np.random.Generator) -> bytearray:
    first, last = sorted(int(at) for at in rng.integers(0, len(data), 2))
    return data[:first] + data[last:]


def _swap(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b, c, d = sorted(int(at) for at in rng.integers(0, len(data), 4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = int(rng.integers(1, max(2, len(data) // 8)))
    at = int(rng.integers(0, len(data)))
    fill = [rng.bytes(size), b"\xff" * size, bytes(size)][int(rng.integers(3))]
    data[at : at + size] = fill
    return data


def _extreme(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A few 32-bit fields at their limits: lengths, counts, sizes."""
    for at in rng.integers(0, max(1, len(data) - 4), int(rng.integers(1, 8))):
        values = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\0\1")
        data[at : at + 4] = values[int(rng.integers(4))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    first, last = sorted(int(at) for at in rng.integers(0, len(data), 2))
    return data[:last] + data[first:last] * int(rng.integers(1, 4)) + data[last:]


MUTATIONS: dict[str, Callable[[bytearray, np.random.Generator], bytearray]] = {
    "flip": _flip, "flip head": _flip_head, "cut": _cut, "lose": _lose, "swap": _swap, "overwrite": _overwrite,
    "extreme": _extreme, "repeat": _repeat,
}  # fmt: skip


# --- files to mutate ------------------------------------------------------------------------------------------------
def make_sources(folder: Path) -> list[tuple[str, bytes]]:
    """(name, bytes) of a small clip of every kind."""
    made = []
    for name, (codec, pixel_format, sound, options) in VIDEO_SEEDS.items():
        if codec in av.codecs_available:
            _write_video(folder / name, codec, pixel_format, sound, options)
            made.append((name, (folder / name).read_bytes()))
    for name in PICTURE_SEEDS:
        _write_picture(folder / name)
        made.append((name, (folder / name).read_bytes()))
    return made


def _pictures() -> list[np.ndarray]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return [np.stack([(x * 2 + t * 5) % 256, (y * 3 + t * 7) % 256, (x + y + t * 3) % 256], -1).astype(np.uint8)
            for t in range(FRAMES)]  # fmt: skip


def _write_video(path: Path, codec: str, pixel_format: str, sound: str | None, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, 25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        audio: Any = container.add_stream(sound, 48000, layout="stereo") if sound else None
        for index, picture in enumerate(_pictures()):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        if audio:
            _write_tone(container, audio)
        container.mux(stream.encode(None))


def _write_tone(container: Any, stream: Any) -> None:
    time_axis = np.arange(FRAMES * 1920) / 48000
    tone = np.tile(np.sin(2 * np.pi * 440 * time_axis).astype(np.float32) / 4, (2, 1))
    whole = av.AudioFrame.from_ndarray(tone, "fltp", "stereo")
    whole.sample_rate = 48000
    fifo = av.AudioFifo()
    for frame in av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=48000).resample(whole):
        fifo.write(frame)
    stream.codec_context.open(strict=False)
    first, size = 0, stream.codec_context.frame_size or 1024
    while (frame := fifo.read(size)) or (frame := fifo.read(size, partial=True)):
        frame.pts, frame.time_base = first, Fraction(1, 48000)
        first += frame.samples
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_picture(path: Path) -> None:
    images = [Image.fromarray(picture) for picture in _pictures()]
    if path.stem == "anim":
        images[0].save(path, save_all=True, append_images=images[1:12], duration=80)
    else:
        images[0].save(path)


# --- the worker -----------------------------------------------------------------------------------------------------
class Worker:
    """A process that opens files and says what became of them."""

    def __init__(self) -> None:
        self._process = self._start()

    def open(self, path: Path) -> dict[str, Any]:
        """The outcome for a file: result, seconds, peak memory in kilobytes, failed."""
        begin = time.monotonic()
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], TIME_LIMIT)
        line = self._process.stdout.readline() if ready else ""
        seconds = time.monotonic() - begin
        if line:
            return {"seconds": seconds, **json.loads(line)}
        result = "hang" if not ready else f"crash {self._process.wait()}"
        self.stop()
        self._process = self._start()
        return {"result": result, "seconds": seconds, "peak": 0, "failed": True}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--worker"]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True, bufsize=1)
        assert process.stdout
        process.stdout.readline()  # ready: importing does not count as opening
        return process


def _work() -> None:
    """Open the files named on standard input."""
    media = _load_pack()
    print("ready", flush=True)
    for line in sys.stdin:
        _forget_peak()
        result, failed = _open(media, line.rstrip("\n"))
        print(json.dumps({"result": result, "failed": failed, "peak": _peak()}), flush=True)


def _open(media: Any, path: str) -> tuple[str, bool]:
    sound = importlib.import_module(f"{PACK}.media.sound")
    try:
        info = media.probe(path)
        reader = media.read(path, media.Selection(cap=MOST_FRAMES), info=info, alpha=info.has_alpha)
        total = sum(len(batch[0]) for batch in reader)
        if info.kind == "video":
            sound.read_sound(path, duration=60, info=info)
    except media.MediaError as error:
        return type(error).__name__, False
    except BaseException as error:  # the campaign reports whatever it was
        return f"{type(error).__name__}: {error}"[:200], True
    return ("read, losses told" if reader.losses else "read"), total == 0


def _load_pack() -> Any:
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    sys.modules[PACK] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return importlib.import_module(f"{PACK}.media")


def _forget_peak() -> None:
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # Linux: the peak starts again from what is resident now


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        _work()
    else:
        given = [int(text) for text in sys.argv[1:3]]
        summary = run(*(given + [2000, 1][len(given) :]), keep=Path("fuzz_failures"))
        print(summary)
        print("\n".join(summary.failures))
