"""What the media benchmarks share: the pack, loaded as ComfyUI does, and 1080p footage from packaged animations."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work" / "media"
PACK = "seedvr2_anywhere"
SIZE = (1920, 1080)
RATE = 30
SECONDS = 20
BIT_RATE = 8_000_000  # of a good camera clip
TEMPLATES = "comfyui_workflow_templates_media_*"


def enter() -> None:
    """Make the pack importable as seedvr2_anywhere, in the interpreter of the environment where one is there."""
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)


def footage(seconds: int = SECONDS) -> Path:
    """A 1080p30 H.264 clip with sound, made once from the animations of ComfyUI's template packages."""
    path = WORK / f"footage_{seconds}s.mp4"
    if not path.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".making.mp4")
        _encode(part, seconds)
        part.rename(path)
    return path


def _encode(path: Path, seconds: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.options = {"preset": "veryfast"}
        video.bit_rate = BIT_RATE
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        audio = output.add_stream("aac", rate=48000)
        audio.layout = "stereo"
        scaler = _scaler()
        for index, picture in zip(range(seconds * RATE), _pictures(), strict=False):
            scaler.push(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            frame = scaler.pull()
            assert isinstance(frame, av.VideoFrame)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            output.mux(video.encode(frame))
            tone = 0.1 * np.sin(2 * np.pi * 440 * (index * 1600 + np.arange(1600)) / 48000)
            sound = av.AudioFrame.from_ndarray(np.tile(tone.astype(np.float32), (2, 1)), "fltp", "stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48000, index * 1600, Fraction(1, 48000)
            output.mux(audio.encode(sound))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))


def _scaler():
    import av.filter

    graph = av.filter.Graph()
    source = graph.add("buffer", video_size="320x180", pix_fmt="rgb24", time_base="1/30", pixel_aspect="1/1")
    # a little moving grain, as every camera has: without it the pictures would be too easy for the encoder
    chain = [("scale", f"{SIZE[0]}:{SIZE[1]}:flags=lanczos:out_color_matrix=bt709"), ("format", "yuv420p"),
             ("noise", "alls=4:allf=t")]  # fmt: skip
    last = source
    for name, arguments in chain:
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pictures() -> Iterator:
    """uint8 [180, 320, 3] without end, from the animated WebPs in name order."""
    import numpy as np
    from PIL import Image, ImageSequence

    packages = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    files = sorted(file for folder in packages.glob(TEMPLATES) for file in folder.rglob("*.webp"))
    if not files:
        raise SystemExit("The template packages with the footage are not installed: run tools/environment.py.")
    while True:
        for file in files:
            with Image.open(file) as animation:
                if getattr(animation, "n_frames", 1) < 30:
                    continue
                for still in ImageSequence.Iterator(animation):
                    yield np.asarray(still.convert("RGB").resize((320, 320)).crop((0, 70, 320, 250)))
