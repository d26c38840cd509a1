"""What a browser can show of a clip: the file itself where it plays, else a smaller H.264 copy in temp, made once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from .. import media
from ..engine.images import sdr_batches
from ..engine.quantize import to_codes
from ..engine.resize import resize
from . import comfy_host
from .video_value import ClipVideo

PLAYABLE = {"h264": 8, "vp8": 8, "vp9": 8, "av1": 10}  # codec → most bits that browsers show
SUFFIXES = (".mp4", ".webm")
FOLDER = "seedvr2_proxies"
COPY = media.Encoding("MP4 H.264", quality="high", speed="veryfast")
EVEN = 2  # H.264 in 4:2:0 halves both sides


def plays_in_browser(path: Path, info: media.MediaInfo) -> bool:
    """True for files that browsers decode without help."""
    return path.suffix.lower() in SUFFIXES and info.bit_depth <= PLAYABLE.get(info.codec, 0)


def playable(
    video: ClipVideo, longest_side: int, tell: Callable[[int, int | None], None] | None = None
) -> dict[str, str]:
    """How /view is asked for something playable that shows the frames of a clip, sound included.

    `tell` hears of frames done and expected; ComfyUI's interrupt passes through and leaves nothing behind.
    """
    whole = video.is_plain and video.clip.selection.is_whole and plays_in_browser(video.info.path, video.info)
    if whole and max(video.info.size) <= longest_side:
        view = comfy_host.view_of(video.info.path)
        if view:
            return view
    path = comfy_host.temporary_folder() / FOLDER / f"{_name(video, longest_side)}.mp4"
    if not path.is_file():
        _write(video, path, longest_side, tell or (lambda done, expected: None))
    view = comfy_host.view_of(path)
    assert view
    return view


def fitted(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """(width, height) with even sides, the longer one at most `longest_side`, never enlarged by more than a pixel."""
    scale = min(1.0, longest_side / max(size))
    width, height = (max(EVEN, round(side * scale / EVEN) * EVEN) for side in size)
    return width, height


def _name(video: ClipVideo, longest_side: int) -> str:
    state = os.stat(video.info.path)
    clip = video.clip
    parts = (clip.path, state.st_mtime_ns, state.st_size, clip.selection, clip.treatment, clip.as_sdr, longest_side)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _write(video: ClipVideo, path: Path, longest_side: int, tell: Callable[[int, int | None], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}.part.mp4")
    try:
        with video.open() as reader:
            info = reader.info
            size = fitted(reader.size, longest_side)
            media.write(unfinished, _smaller(reader, size, tell), time_base=reader.time_base, encoding=COPY,
                        picture=media.Picture(media.Colour(), reader.sample_aspect, reader.rate),
                        sound=media.Sound(info.path, info.audio[:1], info.start + reader.start))  # fmt: skip
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _smaller(reader: media.Reader, size: tuple[int, int], tell) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    done = 0
    for frames, pts, *_opacity in sdr_batches(reader):
        comfy_host.stop_if_interrupted()
        yield to_codes(resize(torch.from_numpy(frames), size[1], size[0])).numpy(), pts
        done += len(pts)
        tell(done, reader.expected)
