"""A stream's packets to frames in display order, with whole, increasing time stamps; damage is noted, never fatal.

Edit lists are libavformat's business: frames outside them never come out of its decoders. Streams without time stamps
get them from their rate. Broadcast and DVD streams that restart their clock are joined into one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import av.container
import av.error
import av.stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from .description import Loss, MediaInfo, NoVideo, UnreadableFile
from .program_stream import has_one_clock
from .selection import Timed
from .source import MAX_PIXELS, open_container, unreadable
from .timing import Continuity

# frame threads hold a frame each; this bounds what they hold together
THREAD_MEMORY = 96 << 20  # bytes: seven threads at 1080p
BYTES_PER_PIXEL = 6  # 4:4:4 in 16 bit, the deepest planar YUV
SPARE_THREADS = 2
MAX_THREADS = 16  # libavcodec's own limit for frame threads
# program streams have no index: one whose clock restarts, as a disc's may, is read from its beginning
UNINDEXED_CONTAINERS = ("mpeg",)
# where to start decoding for a frame in mid-file, in seconds before it; None is the beginning. Broadcast streams
# seek to about the right place and need a key frame from there
SEEK_MARGINS: tuple[int | None, ...] = (0, 3, 20, None)
RESTARTING_CONTAINERS = ("mpeg", "mpegts")
INDEXED_CONTAINERS = ("mov", "matroska")  # whose stated length is the end of the last frame shown
UNTIMED_CONTAINERS = ("h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu", "vc1", "dirac", "h263", "h261")
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop Matroska's alpha
# libavcodec's frame threads wait for each other for ever on some damaged pictures of these (seen in FFmpeg 8.0 and 8.1)
SLICE_THREADED = ("hevc",)
MAX_LOSSES = 100  # remembered one by one
JOINED_LOSS = Fraction(1, 2)  # seconds: losses closer than this are told as one
# the end is missing when more than this is: frames where the stream states its own length, seconds where only the
# container does and another stream may have been the longest
MISSING_FRAMES = Fraction(3, 2)
MISSING_SECONDS = Fraction(1, 2)
TIME_UNIT = Fraction(1, av.time_base)  # of container.duration


@dataclass
class _Seen:
    """What one pass over the packets has shown so far."""

    following: int | None = None  # tick expected next, in the stream's own count
    reached: dict[int, int] = field(default_factory=dict)  # furthest tick each stream came to, in its own ticks
    decoded: int | None = None  # end of the last packet in decoding order, in ticks
    delay: int = 0  # most ticks a picture was shown after its decoding time
    longest: int = 0  # ticks between two neighbouring frames


class FrameDecoder:
    """Frames of a clip's video stream. `losses` and `notes` fill while frames are taken."""

    def __init__(self, path: Path, info: MediaInfo) -> None:
        self.stop = threading.Event()  # set from another thread, ends the frames at the next packet
        self.losses: list[Loss] = []
        self.notes: list[str] = []
        self._path, self._info = path, info
        self._base = info.time_base
        self._origin = round(info.start / info.time_base)
        self._is_passing = True  # until the first key frame after the target, where there is no index
        self._last = 0  # tick of the frame before, in the stream's own count
        self._seen = _Seen()
        self._last_length: int | None = None  # ticks, where the stream's end tells it
        self._scale = Fraction(1)  # ticks of the stream in ticks of the clip
        self._size = info.coded_size
        self._step = max(1, round(1 / (info.rate * info.time_base)))

    def frames(self, start: int = 0) -> Iterator[Timed[av.VideoFrame]]:
        """Frames with ticks of the stream's time base, counted from the first displayed frame.

        With `start`, begins at a frame at or before that tick, the nearest that can be reached without decoding all.
        """
        margins = (None,) if start <= 0 or self._info.container in UNTIMED_CONTAINERS else SEEK_MARGINS
        for margin in margins:
            target = None if margin is None else max(0, start - round(margin / self._base))
            with _opened(self._path, self._info.stream_index) as (container, stream):
                self._is_passing = True
                if target is not None and not self._seek(container, stream, target):
                    continue
                frames = self._lasting(self._decode(container, stream, target))
                first = next(frames, None)
                if first is not None and (target is None or first.tick <= start):
                    yield first
                    yield from frames
                    return
            self.losses.clear()

    def _seek(self, container: av.container.InputContainer, stream: VideoStream, target: int) -> bool:
        if self._info.container in UNINDEXED_CONTAINERS and not self._is_searchable:
            return True  # packets before the target are passed over undecoded instead
        try:
            container.seek(
                round((self._origin + target) * self._base / (stream.time_base or self._base)), stream=stream
            )
        except (av.error.FFmpegError, OSError):
            return False
        return True

    @cached_property
    def _is_searchable(self) -> bool:
        return has_one_clock(self._path)

    def _lasting(self, frames: Iterator[Timed[av.VideoFrame]]) -> Iterator[Timed[av.VideoFrame]]:
        """Each frame with the time until the next one: a packet's own duration is that of another frame in B order."""
        held = next(frames, None)
        for frame in frames:
            assert held is not None
            yield Timed(held.picture, held.tick, frame.tick - held.tick)
            held = frame
        if held is not None:
            yield Timed(held.picture, held.tick, self._last_length or held.duration)

    def _decode(self, container: av.container.InputContainer, stream: VideoStream,
                target: int | None) -> Iterator[Timed[av.VideoFrame]]:  # fmt: skip
        decoder = make_decoder(stream)
        self._scale = (stream.time_base or self._base) / self._base
        self._seen, self._last_length = _Seen(), None
        for packet in self._packets(container):
            # not packet.stream_index: the packets that end a stream all carry 0 there
            is_own = packet.stream.index == stream.index
            self._see(packet, is_own)
            if not is_own or (self._seen.following is None and self._is_early(packet, target)):
                continue
            for frame in self._decode_packet(decoder, packet):
                if frame.pts is None and target is not None and self._seen.following is None:
                    return  # nobody knows where the seek led
                yield self._timed(frame)
        if self._seen.following is not None:
            self._judge_end(stream)

    def _see(self, packet: av.Packet, is_own: bool) -> None:
        if packet.dts is None and packet.pts is None:
            return
        seen = self._seen
        stamp = packet.dts if packet.pts is None else packet.pts
        index, end = packet.stream_index, (stamp or 0) + (packet.duration or 0)
        seen.reached[index] = max(seen.reached.get(index, 0), end)
        if is_own and packet.dts is not None:
            seen.decoded = self._to_tick(packet.dts + (packet.duration or 0))
            seen.delay = max(seen.delay, self._to_tick((packet.pts or packet.dts) - packet.dts))

    def _timed(self, frame: av.VideoFrame) -> Timed[av.VideoFrame]:
        tick = self._tick(frame, self._seen.following)
        duration = max(0, self._to_tick(frame.duration or 0)) or self._step
        if self._seen.following is not None:
            self._seen.longest = max(self._seen.longest, tick - self._last)
        self._seen.following, self._last = tick + duration, tick
        self._note_size(frame)
        return Timed(frame, tick - self._origin, duration)

    def _is_early(self, packet: av.Packet, target: int | None) -> bool:
        """True for packets to pass over: before the target, or after it as long as no key frame came."""
        if target is None or self._info.container not in UNINDEXED_CONTAINERS or not packet.size:
            return False
        if not self._is_passing:
            return False
        self._is_passing = packet.pts is None or packet.pts - self._origin < target or not packet.is_keyframe
        return self._is_passing

    def _packets(self, container: av.container.InputContainer) -> Iterator[av.Packet]:
        continuity = Continuity() if container.format.name in RESTARTING_CONTAINERS else None
        # not by stream.type: PyAV 16 crashes on asking a stream of no known kind, as in a damaged AVI
        streams: list[av.stream.Stream] = [*container.streams.video, *container.streams.audio]
        streams.sort(key=lambda stream: stream.index)
        packets = container.demux(*streams)
        while not self.stop.is_set():
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError) as error:
                self._note_loss(self._time_of(None), None, None, f"the file cannot be read on ({_reason(error)})")
                yield from _flush_packets(streams)
                break
            if continuity is not None:
                move_packet(packet, continuity)
            yield packet
        if continuity is not None and continuity.jumps:
            self.notes.append(f"The stream restarts its clock {continuity.jumps} times; the parts were joined.")

    def _decode_packet(self, decoder: VideoCodecContext, packet: av.Packet) -> list[av.VideoFrame]:
        is_flush = packet.dts is None and packet.size == 0
        try:
            return decoder.decode(None if is_flush else packet)
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, ValueError) as error:
            self._note_loss(
                self._time_of(packet.pts), self._step * self._base, 1, f"a damaged picture ({_reason(error)})"
            )
            return []

    def _tick(self, frame: av.VideoFrame, following: int | None) -> int:
        if frame.pts is not None:
            stated = self._to_tick(frame.pts)
        elif following is not None:
            stated = following
        else:
            stated = self._origin if frame.dts is None else self._to_tick(frame.dts)
        if following is None:
            self._last = stated - 1
        return max(stated, self._last + 1)

    def _note_size(self, frame: av.VideoFrame) -> None:
        size = (frame.width, frame.height)
        if size != self._size:
            width, height = self._info.coded_size
            self.notes.append(f"The video changes its size to {size[0]} × {size[1]}; scaled to {width} × {height}.")
            self._size = size

    def _to_tick(self, stamp: int) -> int:
        """A stamp of the stream in the clip's time base; a second stream may have its own."""
        return stamp if self._scale == 1 else round(stamp * self._scale)

    def _note_loss(self, start: Fraction | None, length: Fraction | None, frames: int | None, reason: str) -> None:
        start = max(Fraction(0), start or Fraction(0))
        end = None if length is None else start + length
        last = self.losses[-1] if self.losses else None
        if last and last.reason == reason and last.end is not None and abs(start - last.end) < JOINED_LOSS:
            joined = None if frames is None or last.frames is None else last.frames + frames
            self.losses[-1] = Loss(min(start, last.start), max(end or start, last.end), joined, reason)
        elif len(self.losses) < MAX_LOSSES:
            self.losses.append(Loss(start, end, frames, reason))

    def _time_of(self, stamp: int | None) -> Fraction | None:
        """Seconds from the first displayed frame of a stamp, or of the frame expected next."""
        tick = self._seen.following if stamp is None else self._to_tick(stamp)
        return None if tick is None else (tick - self._origin) * self._base

    def _judge_end(self, stream: VideoStream) -> None:
        """At the end of the packets: the last frame may last longer than it says, or the file may lack its end."""
        expected = self._info.duration
        if expected is None or self._info.container in UNTIMED_CONTAINERS:
            return
        end = self._origin + round(expected / self._base)
        arrived = self._time_of(None) or Fraction(0)
        missing = expected - arrived
        if states_own_length(stream):
            is_missing = missing * self._info.rate > MISSING_FRAMES
            if end > self._last and self._lasts_until(end):
                self._last_length, is_missing = end - self._last, False
        else:
            others = self._reached(stream.container) - self._info.start if self._seen.reached else arrived
            is_missing = expected - max(arrived, others) > MISSING_SECONDS
        if is_missing:
            self._note_loss(arrived, missing, round(missing * self._info.rate), "the file ends early")

    def _reached(self, container: av.container.Container) -> Fraction:
        """Furthest time any stream came to, in seconds."""
        streams = container.streams
        return max(end * (streams[index].time_base or self._base) for index, end in self._seen.reached.items())

    def _lasts_until(self, end: int) -> bool:
        """True when the last frame is shown until `end`: all packets were there, or a gap like others follows."""
        if self._info.container not in INDEXED_CONTAINERS:
            return False
        is_complete = self._seen.decoded is not None and end - self._seen.decoded <= self._seen.delay + 1
        return is_complete or (self._info.is_vfr and end - self._last <= self._seen.longest)


def make_decoder(stream: VideoStream, threads: int = 0) -> VideoCodecContext:
    """A decoder for this stream with bounded threads and frame size; VP8 and VP9 with alpha get the one that keeps it.

    Raises UnreadableFile when this build of FFmpeg has none.
    """
    if stream.codec_context is None:
        raise UnreadableFile("The video's codec has no decoder in this build of FFmpeg. Convert the file first.")
    context = stream.codec_context
    alternative = ALPHA_DECODERS.get(context.name) if stream.metadata.get("alpha_mode") == "1" else None
    if alternative and alternative in av.codecs_available:
        context = av.CodecContext.create(alternative, "r")
        context.extradata = stream.codec_context.extradata
    pixels = max(1, stream.width * stream.height)
    affordable = max(1, THREAD_MEMORY // (pixels * BYTES_PER_PIXEL))
    # more frames in flight than cores: the threads that convert take turns with these
    wanted = threads or (os.cpu_count() or 1) + SPARE_THREADS
    context.thread_count = min(wanted, affordable, MAX_THREADS)
    context.thread_type = "SLICE" if context.codec.canonical_name in SLICE_THREADED else "AUTO"
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context  # pyright: ignore[reportReturnType]


def states_own_length(stream: av.stream.Stream) -> bool:
    """True when the length is the stream's own, not the container's longest."""
    return stream.duration is not None or "DURATION" in stream.metadata


def move_packet(packet: av.Packet, continuity: Continuity) -> None:
    """Put a packet of a stream that restarts its clock on the continuous one."""
    if packet.dts is None or packet.time_base is None:
        return
    base = packet.time_base
    moved = continuity.correct(packet.stream_index, packet.dts * base, (packet.duration or 0) * base)
    correction = round(moved / base)
    packet.dts += correction
    if packet.pts is not None:
        packet.pts += correction


@contextmanager
def _opened(path: Path, index: int) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    with open_container(path, to_decode=True) as container:
        streams = [stream for stream in container.streams.video if stream.index == index]
        if not streams:
            raise NoVideo(f"{path.name} no longer has the video stream that was probed. Was the file replaced?")
        try:
            yield container, streams[0]
        except av.error.FFmpegError as error:
            raise unreadable(path, error) from error


def _flush_packets(streams: list[av.stream.Stream]) -> Iterator[av.Packet]:
    for stream in streams:
        packet = av.Packet()
        packet.stream = stream
        yield packet


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
