"""Clips, sound and measurements for the tests of the writing side; loaded by path, since tests/ is no package."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from seedvr2_anywhere.media.description import AudioTrack

RATE = 48000
CLICK_EVERY = 12000  # samples at RATE
FILM_TICK = Fraction(1, 24000)


def picture(height: int, width: int) -> np.ndarray:
    """A smooth uint8 [H, W, 3] with a coloured box: easy for every encoder."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)
    frame[height // 4 : height // 2, width // 4 : width // 2] = (200, 30, 90)
    return frame


def moving(count: int, height: int = 96, width: int = 128, dtype: type = np.uint8) -> np.ndarray:
    """[T, H, W, 3] that drifts sideways."""
    base = picture(height, width)
    frames = np.stack([np.roll(base, 2 * index, 1) for index in range(count)])
    return frames if dtype == np.uint8 else frames.astype(np.uint16) * np.uint16(257)


def batches(frames: np.ndarray, pts: np.ndarray, size: int = 7) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(frames), size):
        yield frames[start : start + size], pts[start : start + size]


def clicks(samples: int, channels: int, rate: int = RATE) -> np.ndarray:
    """float32 [C, N]: a quiet tone with a loud burst every quarter second; channel c has its own pitch."""
    time = np.arange(samples) / rate
    tone = np.stack([0.02 * np.sin(2 * np.pi * 220 * (channel + 1) * time) for channel in range(channels)])
    inside = np.arange(samples) % (rate // 4) < rate // 1000
    tone[:, inside] = 0.8 * np.sign(np.sin(2 * np.pi * 2000 * time[inside]))
    return tone.astype(np.float32)


def write_sound(path: Path, codec: str, *, seconds: float = 4, layout: str = "stereo", rate: int = RATE,
                video: bool = True, tracks: int = 1) -> Path:  # fmt: skip
    """A file with clicks in it, and 25 pictures a second to look at."""
    with av.open(str(path), "w") as output:
        pictures = None
        if video:
            vp = path.suffix == ".webm"
            pictures = output.add_stream("libvpx-vp9" if vp else "libx264", rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            pictures.options = {"cpu-used": "8", "deadline": "realtime"} if vp else {"preset": "ultrafast"}
        streams = []
        for number in range(tracks):
            stream = output.add_stream(codec, rate=rate)
            stream.layout = layout
            stream.metadata["language"] = ["eng", "fra", "deu"][number]
            streams.append(stream)
        if pictures is not None:
            for index in range(int(seconds * 25)):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 256, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(pictures.encode(frame))
            output.mux(pictures.encode(None))
        for stream in streams:
            _encode_sound(
                output, stream, clicks(int(seconds * rate), stream.codec_context.layout.nb_channels, rate), layout
            )
    return path


def _encode_sound(output, stream, sound: np.ndarray, layout: str) -> None:
    resampler = av.AudioResampler(stream.codec_context.format.name, layout, stream.codec_context.sample_rate)
    size = 960
    for start in range(0, sound.shape[1], size):
        part = np.ascontiguousarray(sound[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
        frame.sample_rate, frame.pts = stream.codec_context.sample_rate, start
        frame.time_base = Fraction(1, stream.codec_context.sample_rate)
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
    output.mux(stream.encode(None))


def tracks_of(path: Path) -> tuple[AudioTrack, ...]:
    """The sound tracks as probing would describe them."""
    with av.open(str(path)) as source:
        return tuple(
            AudioTrack(
                stream.index, stream.codec_context.codec.canonical_name, stream.codec_context.sample_rate,
                stream.codec_context.channels, stream.codec_context.layout.name,
                (stream.start_time or 0) * stream.time_base,
                None if stream.duration is None else stream.duration * stream.time_base,
                None, stream.metadata.get("language"), None, number == 0, True,
            )
            for number, stream in enumerate(source.streams.audio)
        )  # fmt: skip


def ffprobe(path: Path, *sections: str) -> dict:
    """What Debian's ffprobe says."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", *sections, str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def probed_pts(path: Path, stream: int = 0) -> list[Fraction]:
    """Times of the packets of a stream in display order, in seconds, from ffprobe."""
    found = ffprobe(path, "-show_packets", "-show_entries", "packet=pts,stream_index")
    tick = Fraction(found["streams"][stream]["time_base"])
    return sorted(packet["pts"] * tick for packet in found["packets"] if packet["stream_index"] == stream)


def ffmpeg_sound(path: Path, stream: int = 0, rate: int = RATE) -> np.ndarray:
    """float32 [C, N] of a sound track as Debian's ffmpeg plays it, from time zero on."""
    command = ["ffmpeg", "-v", "error", "-copyts", "-i", str(path), "-map", f"0:a:{stream}",
               "-af", f"aresample={rate}:async=1:first_pts=0", "-c:a", "pcm_f32be", "-f", "au", "-"]  # fmt: skip
    played = subprocess.run(command, capture_output=True, check=True).stdout
    # Sun's header: magic, where the samples begin, their length, coding, rate and channels, 32 bits each
    begin, channels = struct.unpack_from(">4xI12xI", played)
    return np.frombuffer(played, ">f4", offset=begin).reshape(-1, channels).T.astype(np.float32)


def ffmpeg_frames(path: Path, pixel_format: str = "rgb24", filters: str = "null") -> bytes:
    """Raw frames as Debian's ffmpeg decodes them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough",
               "-f", "rawvideo", "-pix_fmt", pixel_format, "-"]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=True).stdout


def click_times(sound: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Where bursts begin, in seconds."""
    loud = np.abs(sound[0]) > 0.35
    starts = np.flatnonzero(loud & ~np.concatenate([[False], loud[:-1]]))
    return starts[np.concatenate([[True], np.diff(starts) > CLICK_EVERY // 2])] / rate if len(starts) else starts / rate


def expected_clicks(start: float, end: float) -> np.ndarray:
    """The same for a window of the made sound, on the window's clock."""
    every = CLICK_EVERY / RATE
    first = int(np.ceil(start / every - 1e-9))
    times = np.arange(first, int(end / every) + 1) * every - start
    return times[(times >= -1e-9) & (times < end - start - 0.002)]
