"""Clips with known code values, times and faults for the tests of the reading side, made with PyAV alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # Kr, Kb
MATRIX_TAG = {"bt601": 6, "bt709": 1, "bt2020": 9, None: 2}
# white, grey, black, the primaries and two mixtures, 0..1
PATCHES = np.array([[1, 1, 1], [0.5, 0.5, 0.5], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.5, 0.2],
                    [0.1, 0.6, 0.7]])  # fmt: skip
LOSSLESS = {"libx264": {"qp": "0", "preset": "ultrafast"}, "libx265": {"x265-params": "lossless=1:log-level=none",
            "preset": "ultrafast"}, "ffv1": {}}  # fmt: skip


@dataclass
class Clip:
    """What a made clip shows and when; enough to write it."""

    frames: Sequence[Sequence[np.ndarray]]  # planes of each frame
    pixel_format: str = "yuv420p"
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=lambda: {"qp": "0", "preset": "ultrafast"})
    stamps: Sequence[int] | None = None  # ticks of time_base; None: one after the other
    time_base: Fraction | None = None
    aspect: Fraction | None = None
    tags: dict[str, int] = field(default_factory=dict)  # attributes of the codec context
    metadata: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    format: str | None = None


def write_clip(path: Path, clip: Clip) -> Path:
    """Encode and mux a clip."""
    height, width = clip.frames[0][0].shape
    base = clip.time_base or 1 / clip.rate
    with av.open(str(path), "w", format=clip.format, options=clip.muxer) as container:
        for key, value in clip.metadata.items():
            container.metadata[key] = value
        stream = container.add_stream(clip.codec, clip.rate, options=clip.options)
        stream.width, stream.height, stream.pix_fmt = width, height, clip.pixel_format
        stream.codec_context.time_base = base
        if clip.aspect:
            stream.codec_context.sample_aspect_ratio = clip.aspect
        for name, value in clip.tags.items():
            setattr(stream.codec_context, name, value)
        stamps = clip.stamps if clip.stamps is not None else range(len(clip.frames))
        for stamp, planes in zip(stamps, clip.frames, strict=True):
            frame = frame_of(planes, clip.pixel_format)
            frame.pts, frame.time_base = stamp, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frame_of(planes: Sequence[np.ndarray], pixel_format: str) -> av.VideoFrame:
    """A frame with exactly these planes."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame


def card(width: int, height: int) -> np.ndarray:
    """The eight patches side by side, RGB 0..1 [H, W, 3]; wide enough that chroma does not bleed into their middles."""
    return np.repeat(np.tile(PATCHES[None], (height, 1, 1)), width // len(PATCHES), axis=1)


def patch_means(frame: np.ndarray) -> np.ndarray:
    """The middle of each patch of a card [H, W, 3], as a fraction of full scale."""
    height, width, _ = frame.shape
    step = width // len(PATCHES)
    middle = slice(height // 3, height // 3 * 2)
    top = np.iinfo(frame.dtype).max
    return np.array([frame[middle, i * step + step // 3 : i * step + step // 3 * 2].reshape(-1, 3).mean(0)
                     for i in range(len(PATCHES))]) / top  # fmt: skip


def to_yuv(rgb: np.ndarray, matrix: str, full: bool, bits: int, chroma: tuple[int, int] = (2, 2)) -> list[np.ndarray]:
    """Planes of RGB 0..1 by the formulas of BT.601/709/2020, in float, rounded once; chroma averaged."""
    kr, kb = LUMA_WEIGHTS[matrix]
    y = kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]
    u, v = (rgb[..., 2] - y) / (2 * (1 - kb)), (rgb[..., 0] - y) / (2 * (1 - kr))
    unit, top = 1 << (bits - 8), (1 << bits) - 1
    kind = np.uint8 if bits == 8 else np.uint16
    scaled = [y * top, u * top, v * top] if full else [16 * unit + y * 219 * unit, u * 224 * unit, v * 224 * unit]
    planes = [scaled[0], *(_averaged(plane, *chroma) + 128 * unit for plane in scaled[1:])]
    return [np.clip(np.rint(plane), 0, top).astype(kind) for plane in planes]


def _averaged(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    height, width = plane.shape
    return plane.reshape(height // down, down, width // across, across).mean((1, 3))


def numbered(count: int, width: int = 64, height: int = 48) -> list[list[np.ndarray]]:
    """Grey 4:2:0 frames whose number is written in sixteen black or white columns, lowest bit left."""
    frames = []
    for index in range(count):
        bits = [(index >> bit) & 1 for bit in range(16)]
        row = np.repeat(np.where(bits, 235, 16), width // 16).astype(np.uint8)
        luma = np.tile(row, (height, 1))
        chroma = np.full((height // 2, width // 2), 128, np.uint8)
        frames.append([luma, chroma, chroma])
    return frames


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers written into frames [T, H, W, 3] by `numbered`."""
    _, height, width, _ = frames.shape
    step = width // 16
    samples = frames[:, height // 2, step // 2 :: step, 1].astype(np.float64)
    limit = np.iinfo(frames.dtype).max / 2
    return [int(sum(1 << bit for bit, value in enumerate(row[:16]) if value > limit)) for row in samples]


@cache
def texture(width: int, height: int) -> np.ndarray:
    """A smooth random luma, uint8 [height, width] of mean 128, to be moved about."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(0, 1, (height // 4 + 1, width // 8 + 1))
    fine = np.kron(coarse, np.ones((4, 8)))[:height, :width]
    for _ in range(2):
        fine = (fine + np.roll(fine, 1, 0) + np.roll(fine, 1, 1) + np.roll(fine, 2, 1)) / 4
    return np.rint(np.clip(128 + 45 * fine / fine.std(), 20, 230)).astype(np.uint8)


def moved(picture: np.ndarray, time: float, speed: float = 4.0) -> np.ndarray:
    """The picture at a time, moving sideways by whole pixels."""
    return np.roll(picture, round(time * speed), axis=1)


def woven(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Even rows of one picture, odd rows of the other."""
    result = top.copy()
    result[1::2] = bottom[1::2]
    return result


def gray_frames(pictures: Iterable[np.ndarray]) -> list[list[np.ndarray]]:
    """4:2:0 frames of these lumas."""
    frames = []
    for picture in pictures:
        chroma = np.full((picture.shape[0] // 2, picture.shape[1] // 2), 128, np.uint8)
        frames.append([picture, chroma, chroma])
    return frames


def read_all(reader: Any) -> tuple[np.ndarray, np.ndarray]:
    """All frames and pts of a reader."""
    batches = list(reader)
    return np.concatenate([batch[0] for batch in batches]), np.concatenate([batch[1] for batch in batches])


def turn_by_matrix(path: Path, across: tuple[int, int], down: tuple[int, int]) -> Path:
    """Put a display matrix (a, b), (c, d) into an MP4's first track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: flags, times, number, length, reserved, layer, group, volume
    rows = [*across, 0, *down, 0, 0, 0, 1 << 14]
    data[at : at + 36] = struct.pack(">9i", *(value << 16 for value in rows))
    path.write_bytes(data)
    return path


def add_dolby_vision(path: Path, profile: int, compatibility: int) -> Path:
    """Put a Dolby Vision record behind the HEVC one of an MP4 whose index stands at its end."""
    packed = (profile << 17 | 6 << 11 | 0b101 << 8 | compatibility << 4).to_bytes(3, "big")
    box = struct.pack(">I", 32) + b"dvcC" + b"\1\0" + packed + bytes(19)
    data = bytearray(path.read_bytes())
    at = data.index(b"hvcC") - 4
    at += struct.unpack(">I", data[at : at + 4])[0]
    for name in (b"hev1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        start = data.rindex(name, 0, at) - 4
        data[start : start + 4] = struct.pack(">I", struct.unpack(">I", data[start : start + 4])[0] + len(box))
    path.write_bytes(data[:at] + box + data[at:])
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, layout: str, *, start: float = 0.0,
                picture_start: int = 0, pictures: int = 50) -> Path:  # fmt: skip
    """A file with 25 small pictures a second and float32 samples [C, N] beginning at `start` seconds."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        audio = container.add_stream(codec, rate, layout=layout)
        packets = []
        for index, planes in enumerate(numbered(pictures)):
            frame = frame_of(planes, "yuv420p")
            frame.pts, frame.time_base = picture_start + index, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        packets += _encoded_sound(audio, samples, rate, layout, round(start * rate))
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            container.mux(packet)
    return path


def _encoded_sound(stream: Any, samples: np.ndarray, rate: int, layout: str, first: int) -> list[av.Packet]:
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    fifo, packets = av.AudioFifo(), []
    whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
    whole.sample_rate = rate
    for frame in resampler.resample(whole):
        fifo.write(frame)
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    while (frame := fifo.read(size)) or (frame := fifo.read(size, partial=True)):
        frame.pts, frame.time_base = first, Fraction(1, rate)
        first += frame.samples
        packets += stream.encode(frame)
    return packets + stream.encode(None)
