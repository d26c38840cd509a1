"""A few hundred time stamps and a few dozen pictures of a video, from its beginning and further on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from . import deinterlace
from .decode import UNTIMED_CONTAINERS, make_decoder
from .description import UnreadableFile
from .source import unreadable

HEAD_PACKETS = 300  # whose stamps tell the rate
LATER_PACKETS = 60  # and whether it holds further on
SAMPLE_BYTES = 48 << 20  # but no more than this is read for it
REORDERED = 16  # the longest reordering of any codec: the last stamps of a sample may miss neighbours
LOOK_FRAMES = 16  # three cycles of pulldown
# enough when all of them move and are whole: any five frames of pulled-down film hold two that are not
ENOUGH_FRAMES = 7
LOOK_COLUMNS = 240  # of the luma are enough to see combing
LOOK_THREADS = 2
PLACES = (Fraction(2, 5), Fraction(3, 4))  # of the duration, besides the beginning
LONG_ENOUGH = 4  # seconds: in shorter clips the beginning says it all
MAX_FRUITLESS = 1000  # packets decoded without a picture before the stream counts as broken


@dataclass
class Look:
    """What decoding a few frames showed."""

    runs: list[list[np.ndarray]] = field(default_factory=list)  # luma of consecutive frames
    ticks: list[int] = field(default_factory=list)  # of the first run
    first: av.VideoFrame | None = None
    flagged: bool = False
    top_first: bool = True

    @property
    def frame(self) -> av.VideoFrame:
        """The first one."""
        assert self.first is not None
        return self.first


def sample_stamps(container: av.container.InputContainer,
                   stream: VideoStream) -> tuple[list[list[int]], int | None]:  # fmt: skip
    """Runs of display ticks from the beginning and further on, and the frame count when the beginning was all."""
    head, is_all = _stamps(container, stream, HEAD_PACKETS)
    count = len(head) if is_all else None
    ticks = [tick for tick in head if tick is not None]
    runs = [sorted(ticks) if is_all else sorted(ticks)[:-REORDERED]]
    length = (stream.duration or 0) * (stream.time_base or 0)
    if is_all or not ticks or length < LONG_ENOUGH:
        return runs, count
    for place in PLACES:
        try:
            container.seek((stream.start_time or 0) + round(place * (stream.duration or 0)), stream=stream)
            later, ended = _stamps(container, stream, LATER_PACKETS)
        except (av.error.FFmpegError, OSError):
            continue
        known = sorted(tick for tick in later if tick is not None)
        # after a seek the first pictures in decoding order may refer to ones that were passed over
        runs.append(known[REORDERED // 4 : len(known) if ended else -REORDERED])
    return runs, count


def _stamps(container: av.container.InputContainer, stream: VideoStream,
            limit: int) -> tuple[list[int | None], bool]:  # fmt: skip
    """Display ticks of up to `limit` packets, None where missing, and whether the stream ended with them."""
    ticks: list[int | None] = []
    size = 0
    try:
        for packet in container.demux(stream):
            if not packet.size:
                return ticks, True
            if not packet.is_discard:
                ticks.append(packet.pts)
            size += packet.size
            if len(ticks) >= limit or size > SAMPLE_BYTES:
                return ticks, False
    except (av.error.FFmpegError, OSError):
        pass  # reading will meet the damage again and report it
    return ticks, False


def look_at(path: Path, container: av.container.InputContainer, stream: VideoStream) -> Look:
    """Decode a few frames at the beginning and, where that leaves doubt about fields, further on.

    Raises UnreadableFile when nothing decodes.
    """
    look = Look()
    decoder = make_decoder(stream, LOOK_THREADS)
    may_be_interlaced = _may_be_interlaced(stream)
    try:
        _look_here(container, stream, decoder, look, LOOK_FRAMES if may_be_interlaced else 2)
        for place in PLACES if may_be_interlaced and _is_doubtful(look, container, stream) else ():
            container.seek((stream.start_time or 0) + round(place * (stream.duration or 0)), stream=stream)
            decoder.flush_buffers()
            _look_here(container, stream, decoder, look, LOOK_FRAMES)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if look.first is None:
            raise unreadable(path, error) from error
    if look.first is None:
        raise UnreadableFile(f"{path.name}: no picture of it can be decoded. Fetch it again or repair it.")
    return look


def _is_doubtful(look: Look, container: av.container.InputContainer, stream: VideoStream) -> bool:
    """True when more of the clip should be seen: unless it is short, or neither flagged nor looking interlaced."""
    length = (stream.duration or 0) * (stream.time_base or 0)
    if length < LONG_ENOUGH or container.format.name in UNTIMED_CONTAINERS:
        return False
    return look.flagged or not deinterlace.is_clearly_progressive(look.runs[0])


def _look_here(container: av.container.InputContainer, stream: VideoStream, decoder: VideoCodecContext, look: Look,
               count: int) -> None:  # fmt: skip
    run: list[np.ndarray] = []
    for seen, frame in enumerate(_decoded(container, stream, decoder), start=1):
        if look.first is None:
            look.first = frame
        if not look.runs and frame.pts is not None:
            look.ticks.append(frame.pts)
        look.flagged |= frame.interlaced_frame
        lines = deinterlace.luma(frame, LOOK_COLUMNS) if count == LOOK_FRAMES else None
        if lines is not None and (not run or lines.shape == run[0].shape):
            run.append(lines)
        if seen == count or (seen == ENOUGH_FRAMES and not look.flagged and deinterlace.is_whole_in_motion(run)):
            break
    look.runs.append(run)


def _decoded(container: av.container.InputContainer, stream: VideoStream,
             decoder: VideoCodecContext) -> Iterator[av.VideoFrame]:  # fmt: skip
    fruitless = 0
    for packet in container.demux(stream):
        try:
            frames = decoder.decode(packet if packet.size else None)
        except (av.error.FFmpegError, ValueError):
            frames = []
        yield from frames
        fruitless = 0 if frames else fruitless + 1
        if fruitless > MAX_FRUITLESS:
            return


def _may_be_interlaced(stream: VideoStream) -> bool:
    low, high = deinterlace.INTERLACED_HEIGHTS
    return (
        low <= stream.height <= high and stream.codec_context.codec.canonical_name not in deinterlace.PROGRESSIVE_CODECS
    )
