"""What the service of the tests does with real clips: decode, upscale, crop, add an offset of its own, encode."""

from __future__ import annotations

import io
import threading

import av
import numpy as np

STEP = 16  # both sides are cropped to a multiple of this


class Upscaler:
    """Makes an MP4 of a clip's bytes and a request's values; each call adds brightness, colour and noise of its own.

    `shrink` makes results smaller than asked, so that tests take seconds.
    """

    def __init__(self, shrink: float = 1, seed: int = 0):
        self._shrink = shrink
        self._offsets = np.random.default_rng(seed)
        self._lock = threading.Lock()

    def __call__(self, data: bytes, values: dict) -> bytes:
        with self._lock:
            offset = self._offsets.normal(0, 1.0, 3) + self._offsets.choice([-1.5, 1.5])
            noise = np.random.default_rng(self._offsets.integers(1 << 32))
        frames = frames_of(data, values["33_frame_load_cap"])
        width, height = _full_size(frames[0], int(values["35_new_resolution"] // self._shrink))
        target = io.BytesIO()
        with av.open(target, "w", format="mp4") as container:
            options = {"crf": "8", "preset": "ultrafast"}
            stream = container.add_stream("libx264", rate=values["34_frame_rate"], options=options)
            stream.width, stream.height, stream.pix_fmt = width // STEP * STEP, height // STEP * STEP, "yuv420p"
            for picture in frames:
                large = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width, height)
                cropped = _cropped(large.to_ndarray(format="rgb24"), stream.width, stream.height)
                changed = np.clip(cropped + offset + noise.normal(0, 0.5, cropped.shape), 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(changed, "rgb24")))
            container.mux(stream.encode())
        return target.getvalue()


def frames_of(data: bytes | str, most: int | None = None) -> list[np.ndarray]:
    """Frames [H, W, 3] of a clip given as bytes or path, at most so many."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as container:
        found = []
        for frame in container.decode(video=0):
            if most is not None and len(found) == most:
                break
            found.append(frame.to_ndarray(format="rgb24"))
        return found


def _full_size(picture: np.ndarray, short_side: int) -> tuple[int, int]:
    height, width = picture.shape[:2]
    long_side = int(short_side * max(width, height) / min(width, height))
    return (short_side, long_side) if width <= height else (long_side, short_side)


def _cropped(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
