"""Whether the pictures of a file are all there and can be decoded, judged by a sample of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.container
import av.error
import av.stream

from .description import MediaInfo, UnreadableFile
from .source import open_container, unreadable

# decoded at the end, from a key frame on. Decoding costs by the byte, 25 ns each: all frames of usual clips, a fifth of
# a second of such that are nearly noise
MOST_BYTES = 8 << 20
LEAST_FRAMES = 3


class _Mark(NamedTuple):
    """What is kept of a packet."""

    pts: int | None
    size: int
    is_key: bool


def sound_frames(path: Path, info: MediaInfo) -> int:
    """How many frames a video shows: every packet is read, and frames at its end are decoded.

    Raises UnreadableFile when a packet is damaged or cut off, or a frame cannot be decoded.
    """
    with open_container(path) as container:
        stream = container.streams[info.stream_index]
        try:
            marks = list(_read(container, stream, path))
            _decode_sample(container, stream, marks, path)
        except (av.error.FFmpegError, OSError) as error:
            raise unreadable(path, error) from error
    return len(marks)


def _read(container: av.container.InputContainer, stream: av.stream.Stream, path: Path) -> Iterator[_Mark]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise UnreadableFile(f"{path.name} is damaged or cut off: a picture of it is not whole. Fetch it again.")
        if packet.size and not packet.is_discard:
            yield _Mark(packet.pts, packet.size, packet.is_keyframe)


def _decode_sample(
    container: av.container.InputContainer, stream: av.stream.Stream, marks: list[_Mark], path: Path
) -> None:
    if (start := _sample_start(marks)) is not None:
        container.seek(start, stream=stream)
    frames = taken = 0
    for packet in container.demux(stream):
        frames += len(decoded(packet))
        taken += packet.size
        if taken > MOST_BYTES and frames >= LEAST_FRAMES:
            return
    if not frames:
        raise UnreadableFile(f"{path.name}: no picture of it can be decoded. Fetch it again or repair it.")


def _sample_start(marks: list[_Mark]) -> int | None:
    """Time stamp of the earliest key frame with at most MOST_BYTES from it to the end, or of the last one."""
    start, left = None, 0
    for mark in reversed(marks):
        left += mark.size
        if start is not None and left > MOST_BYTES:
            break
        if mark.is_key and mark.pts is not None:
            start = mark.pts
    return start


def decoded(packet: av.Packet) -> list:
    """The frames that come out when a packet goes in; an empty packet gets the last ones out."""
    return packet.decode()
