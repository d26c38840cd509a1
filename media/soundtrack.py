"""Sound on its way into a file: packets copied, or samples cut to the sample and encoded again.

A track hears how far the picture has come (`advance`) and where it ends (`finish`), so that sound and picture lie side
by side in the file and memory does not grow with length. Times are seconds after the first written frame.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Protocol

import av
import av.audio.stream
import av.stream
import numpy as np

from .muxing import Label, Muxer
from .output import Samples
from .presets import LOSSLESS_AUDIO

PREROLL = Fraction(1, 10)  # packets this long before the start are kept: AAC needs one, Opus 80 ms
JITTER = Fraction(1, 50)  # time stamps may be off by this much before silence is put in or samples are dropped
CHUNK = 1024  # samples per frame for encoders that take any number
# rates and bits per second of the encoders
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
BITS_PER_CHANNEL = 96_000
LOWEST_BIT_RATE = 128_000
# encoder → sample format handed to it
SAMPLE_FORMATS = {"aac": "fltp", "libopus": "flt", "flac": "s32", "pcm_s24le": "s32", "pcm_s16le": "s16"}
# samples come and go packed: PyAV reads beyond its planes when there are eight or more
KINDS = {"flt": np.float32, "s32": np.int32, "s16": np.int16}
MOST_CHANNELS = 8  # of the encoders above
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
# FFmpeg's encoders name the surround pair "back" where decoders say "side"
ENCODER_LAYOUTS = {"5.1(side)": "5.1", "5.0(side)": "5.0", "quad(side)": "quad"}


class Track(Protocol):
    """One sound or subtitle track on its way into the file."""

    reached: Fraction  # seconds of the source that have been taken in

    def take(self, packet: av.Packet) -> None:
        """Take in a packet of the source."""
        ...

    def advance(self, until: Fraction) -> None:
        """Write what starts before `until`."""
        ...

    def finish(self, end: Fraction | None, pad: bool) -> None:
        """Write the rest up to `end` (None: all), with silence up to it if `pad`."""
        ...


class CopiedTrack:
    """Packets as they are, moved to the output's clock."""

    def __init__(self, muxer: Muxer, source: av.stream.Stream, target: av.stream.Stream, origin: Fraction,
                 earliest: Fraction) -> None:  # fmt: skip
        assert source.time_base is not None
        self.reached = Fraction(-1)
        self.written_until = Fraction(0)
        self.left_out = Fraction(0)  # seconds before the start that the container cannot hold
        self._muxer, self._target = muxer, target
        self._tick = source.time_base
        self._shift = round(origin / self._tick)
        self._earliest = earliest
        self._waiting: deque[av.Packet] = deque()

    def take(self, packet: av.Packet) -> None:
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.pts is None:
            return
        placed = packet.pts - self._shift
        packet.pts = packet.dts = placed  # sound and text have no reordering
        self.reached = placed * self._tick
        if self.reached >= self._earliest:
            self._waiting.append(packet)
        elif not self._muxer.container.has_edit_list:
            self.left_out = (packet.duration or 0) * self._tick

    def advance(self, until: Fraction) -> None:
        while self._waiting and self._start(self._waiting[0]) < until:
            packet = self._waiting.popleft()
            self.written_until = self._start(packet) + (packet.duration or 0) * self._tick
            packet.stream = self._target
            self._muxer.mux(packet)

    def finish(self, end: Fraction | None, pad: bool) -> None:
        self.advance(self.reached + 1 if end is None else end)

    def _start(self, packet: av.Packet) -> Fraction:
        return (packet.pts or 0) * self._tick


class SampleWriter:
    """Samples at given places into an encoder, chunk by chunk; gaps become silence, NaN too."""

    def __init__(self, muxer: Muxer, codec: str, rate: int, layout: str, label: Label) -> None:
        self.rate = nearest_rate(codec, rate)
        self.layout = ENCODER_LAYOUTS.get(layout, layout)
        self.repaired = 0
        self._format = SAMPLE_FORMATS[codec]
        self.packed = self._format.removesuffix("p")
        self._unpacker = av.AudioResampler(self._format, self.layout, self.rate)
        self._muxer = muxer
        self._stream = muxer.add_encoder(codec, self.rate, label)
        self._context = self._open(codec)
        self._chunk = self._context.frame_size or CHUNK
        self._held: deque[np.ndarray] = deque()  # [C, n] each
        self._held_count = 0
        self._written = 0  # samples since the first frame

    def place(self, samples: np.ndarray, start: int) -> None:
        """Append [C, n] that begins `start` samples after the first frame; what lies before zero is cut off."""
        expected = self._written + self._held_count
        gap = start - expected
        if expected == 0 or abs(gap) > JITTER * self.rate:
            if gap < 0:
                samples = samples[:, -gap:]
            elif gap > 0:
                self._hold(np.zeros((samples.shape[0], gap), samples.dtype))
        self._hold(self._clean(samples))

    def advance(self, until: Fraction) -> None:
        """Encode the whole chunks that end before `until`."""
        allowed = int(until * self.rate) - self._written
        while min(allowed, self._held_count) >= self._chunk:
            self._encode(self._chunk)
            allowed -= self._chunk

    def finish(self, end: Fraction | None, pad: bool) -> None:
        """Encode the rest, cut or filled with silence to the sample that ends at `end`; flush the encoder."""
        last = self._written + self._held_count if end is None else round(end * self.rate)
        missing = last - self._written - self._held_count
        if pad and missing > 0:
            self._hold(np.zeros((self._context.layout.nb_channels, missing), self._kind))
        left = min(last - self._written, self._held_count)
        while left > 0:
            self._encode(min(self._chunk, left))
            left -= self._chunk
        for packet in self._context.encode(None):
            self._send(packet)

    @property
    def ends(self) -> Fraction:
        """Seconds taken in so far."""
        return Fraction(self._written + self._held_count, self.rate)

    @property
    def _kind(self) -> type:
        return KINDS[self.packed]

    def _open(self, codec: str) -> av.AudioCodecContext:
        context = self._stream.codec_context
        assert isinstance(context, av.AudioCodecContext)
        context.layout = self.layout
        context.format = self._format
        context.time_base = Fraction(1, self.rate)
        if codec in ("aac", "libopus"):
            context.bit_rate = max(LOWEST_BIT_RATE, BITS_PER_CHANNEL * context.layout.nb_channels)
        context.open()
        return context

    def _clean(self, samples: np.ndarray) -> np.ndarray:
        if samples.dtype != np.float32:
            return samples
        wrong = ~np.isfinite(samples)
        if wrong.any():
            self.repaired += int(wrong.sum())
            samples = np.where(wrong, np.float32(0), samples)
        return samples

    def _hold(self, samples: np.ndarray) -> None:
        if samples.shape[1]:
            self._held.append(samples)
            self._held_count += samples.shape[1]

    def _encode(self, count: int) -> None:
        packed = np.ascontiguousarray(self._pull(count).T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, self.packed, self.layout)
        frame.sample_rate = self.rate
        frame.time_base = Fraction(1, self.rate)
        frame.pts = self._written
        self._written += count
        for ready in [frame] if self._format == self.packed else self._unpacker.resample(frame):
            for packet in self._context.encode(ready):
                self._send(packet)

    def _pull(self, count: int) -> np.ndarray:
        parts, missing = [], count
        while missing:
            part = self._held.popleft()
            parts.append(part[:, :missing])
            if part.shape[1] > missing:
                self._held.appendleft(part[:, missing:])
            missing -= parts[-1].shape[1]
        self._held_count -= count
        return np.concatenate(parts, axis=1)

    def _send(self, packet: av.Packet) -> None:
        packet.stream = self._stream
        self._muxer.mux(packet)


class ResampledTrack:
    """What is encoded: frames brought to the encoder's rate and placed where they belong."""

    def __init__(self, writer: SampleWriter, origin: Fraction) -> None:
        self._writer, self._origin = writer, origin
        # the layout is renamed, not mixed: side and back pairs are the same speakers
        self._resampler = av.AudioResampler(writer.packed, writer.layout, writer.rate)

    @property
    def repaired(self) -> int:
        """Samples that were no numbers."""
        return self._writer.repaired

    @property
    def ends(self) -> Fraction:
        """Seconds taken in so far."""
        return self._writer.ends

    def advance(self, until: Fraction) -> None:
        self._writer.advance(until)

    def _place(self, frame: av.AudioFrame | None) -> None:
        """Hand a frame on; None hands on what the resampler still holds."""
        for part in self._resampler.resample(frame):
            self._writer.place(_channels(part), round((_start(part) - self._origin) * self._writer.rate))


class EncodedTrack(ResampledTrack):
    """A track of the source, decoded, cut to the sample and encoded."""

    def __init__(self, writer: SampleWriter, source: av.audio.stream.AudioStream, origin: Fraction) -> None:
        assert source.time_base is not None
        super().__init__(writer, origin)
        self.reached = Fraction(-1)
        self.lost = 0  # packets that did not decode
        self._source = source
        self._tick = source.time_base

    def take(self, packet: av.Packet) -> None:
        if packet.pts is not None:
            self.reached = packet.pts * self._tick - self._origin
            if self.reached + (packet.duration or 0) * self._tick < -2 * PREROLL:
                return
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            self.lost += 1
            return
        for frame in frames:
            self._place(self._stamped(frame))

    def finish(self, end: Fraction | None, pad: bool) -> None:
        for frame in self._source.codec_context.decode(None):
            self._place(self._stamped(frame))
        self._place(None)
        self._writer.finish(end, pad)

    def _stamped(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame; one without a time follows what came before it."""
        if frame.pts is None:
            frame.pts = round((self._writer.ends + self._origin) / self._tick)
            frame.time_base = self._tick
        return frame


class SampleTrack(ResampledTrack):
    """Sound from memory, encoded as it is needed."""

    def __init__(self, writer: SampleWriter, samples: Samples) -> None:
        super().__init__(writer, Fraction(0))
        self.reached = Fraction(0)
        self._sound = np.atleast_2d(np.asarray(samples.samples, np.float32))
        self._rate = samples.rate
        self._taken = 0

    def take(self, packet: av.Packet) -> None:
        raise AssertionError("sound from memory has no packets")

    def advance(self, until: Fraction) -> None:
        self._feed(min(int(until * self._rate), self._sound.shape[1]))
        super().advance(until)

    def finish(self, end: Fraction | None, pad: bool) -> None:
        self._feed(self._sound.shape[1] if end is None else min(-int(-end * self._rate // 1), self._sound.shape[1]))
        self._place(None)
        self._writer.finish(end, pad)

    def _feed(self, until: int) -> None:
        while self._taken < until:
            part = self._sound[:, self._taken : min(self._taken + CHUNK, until)]
            finite = np.isfinite(part)
            self._writer.repaired += int(part.size - np.count_nonzero(finite))
            part = np.clip(np.where(finite, part, 0), -1, 1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "fltp", self._writer.layout)
            frame.sample_rate, frame.time_base, frame.pts = self._rate, Fraction(1, self._rate), self._taken
            self._taken += part.shape[1]
            self._place(frame)


def choose_codec(muxer: Muxer, source_codec: str) -> str | None:
    """The encoder for a track that cannot be copied: lossless stays lossless where the container can."""
    container = muxer.container
    return container.lossless_encoder if source_codec in LOSSLESS_AUDIO else container.audio_encoder


def nearest_rate(codec: str, rate: int) -> int:
    """The encoder's sample rate for a source's: the same where it can, else the next higher, else the highest."""
    offered = {"aac": AAC_RATES, "libopus": OPUS_RATES}.get(codec)
    if offered is None or rate in offered:
        return rate
    return min((choice for choice in offered if choice > rate), default=max(offered))


def _start(frame: av.AudioFrame) -> Fraction:
    assert frame.pts is not None and frame.time_base is not None  # resamplers stamp what they give
    return frame.pts * frame.time_base


def _channels(frame: av.AudioFrame) -> np.ndarray:
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
