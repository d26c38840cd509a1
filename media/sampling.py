"""A few hundred time stamps and a few dozen pictures of a video, from its beginning and further on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
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
LOOK_VALUES = 240 * 576  # of a luma plane, in whole columns, are enough to see combing
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


def sample(path: Path, container: av.container.InputContainer,
           stream: VideoStream) -> tuple[Look, list[list[int]], int | None]:  # fmt: skip
    """A look at pictures, runs of display ticks, and the frame count when the beginning was all there is.

    The beginning is read once for both, and so is each place further on. Raises UnreadableFile when nothing decodes.
    """
    look, decoder = Look(), make_decoder(stream, LOOK_THREADS)
    may_be_interlaced = _may_be_interlaced(stream)
    head = _Packets(container, stream)
    _look_here(path, head, decoder, look, LOOK_FRAMES if may_be_interlaced else 2)
    head.take(HEAD_PACKETS)
    runs = [head.known if head.is_over else head.known[:-REORDERED]]
    is_long = (stream.duration or 0) * (stream.time_base or 0) >= LONG_ENOUGH
    wants_stamps = is_long and bool(head.known) and not head.is_over
    is_doubtful = is_long and may_be_interlaced and _is_doubtful(look, container)
    for place in PLACES if wants_stamps or is_doubtful else ():
        later = _packets_at(place, container, stream)
        if later is None:
            continue
        if is_doubtful:
            decoder.flush_buffers()
            _look_here(path, later, decoder, look, LOOK_FRAMES)
        if wants_stamps:
            later.take(LATER_PACKETS)
            # after a seek the first pictures in decoding order may refer to ones that were passed over
            runs.append(later.known[REORDERED // 4 : len(later.known) if later.is_over else -REORDERED])
    return look, runs, head.count if head.is_over else None


class _Packets:
    """Packets of a stream from here on, their display ticks noted as they are taken."""

    def __init__(self, container: av.container.InputContainer, stream: VideoStream) -> None:
        self._packets = container.demux(stream)
        self._ticks: list[int] = []
        self._size = 0
        self.count = 0  # of packets that will be shown
        self.is_over = False

    @property
    def known(self) -> list[int]:
        """The ticks so far, in order of display."""
        return sorted(self._ticks)

    def __iter__(self) -> Iterator[av.Packet]:
        for packet in self._packets:
            if not packet.size:
                self.is_over = True
            elif not packet.is_discard:
                self.count += 1
                self._ticks += [] if packet.pts is None else [packet.pts]
            self._size += packet.size
            yield packet

    def take(self, limit: int) -> None:
        """Go on until so many packets were taken in all, or SAMPLE_BYTES."""
        packets = iter(self)
        # damage ends it: reading will meet that again and report it
        with suppress(av.error.FFmpegError, OSError, StopIteration):
            while not self.is_over and self.count < limit and self._size <= SAMPLE_BYTES:
                next(packets)


def _packets_at(place: Fraction, container: av.container.InputContainer, stream: VideoStream) -> _Packets | None:
    """The packets from this share of the duration on; None where the container cannot go there."""
    try:
        container.seek((stream.start_time or 0) + round(place * (stream.duration or 0)), stream=stream)
    except (av.error.FFmpegError, OSError):
        return None
    return _Packets(container, stream)


def _is_doubtful(look: Look, container: av.container.InputContainer) -> bool:
    """True when more of the clip should be seen: unless it is neither flagged nor looks interlaced."""
    if container.format.name in UNTIMED_CONTAINERS:
        return False
    # a run that ended early has shown all there is to see
    return look.flagged or (len(look.runs[0]) > ENOUGH_FRAMES and not deinterlace.is_clearly_progressive(look.runs[0]))


def _look_here(path: Path, packets: _Packets, decoder: VideoCodecContext, look: Look, count: int) -> None:
    """Decode up to `count` frames; raises UnreadableFile when there never was one."""
    run: list[np.ndarray] = []
    try:
        for seen, frame in enumerate(_decoded(packets, decoder), start=1):
            _see(frame, look, run, with_luma=count == LOOK_FRAMES)
            if seen == count or (seen == ENOUGH_FRAMES and not look.flagged and deinterlace.is_whole_in_motion(run)):
                break
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if look.first is None:
            raise unreadable(path, error) from error
    if look.first is None:
        raise UnreadableFile(f"{path.name}: no picture of it can be decoded. Fetch it again or repair it.")
    look.runs.append(run)


def _see(frame: av.VideoFrame, look: Look, run: list[np.ndarray], with_luma: bool) -> None:
    if look.first is None:
        look.first = frame
    if not look.runs and frame.pts is not None:
        look.ticks.append(frame.pts)
    look.flagged |= frame.interlaced_frame
    lines = deinterlace.luma(frame, max(1, LOOK_VALUES // frame.height)) if with_luma else None
    if lines is not None and (not run or lines.shape == run[0].shape):
        run.append(lines)


def _decoded(packets: _Packets, decoder: VideoCodecContext) -> Iterator[av.VideoFrame]:
    fruitless = 0
    for packet in packets:
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
