"""One encoded picture stream of a file: opened with its tags, fed with converted frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import av.video.stream

from .cadence import REORDERED, DecodingClock, Showing
from .colour import ColourTags
from .description import WriteFailed
from .muxing import Label, Muxer

SHORT = 4  # frames; below, nothing leaves an encoder that reorders before its end
RATE_LIMIT = 1_001_000  # largest denominator of a nominal rate: FFmpeg holds rates in 32-bit numbers
# an encoder that refuses more frames a second: it is told this many, and every frame keeps its own time
SVT_FASTEST, SVT_SLOWED = 240, "fps-num=240:fps-denom=1"


@dataclass(frozen=True)
class StreamSpec:
    """All that opening an encoder needs."""

    encoder: str
    pixel_format: str
    size: tuple[int, int]  # width, height
    time_base: Fraction
    rate: Fraction
    options: Mapping[str, str]
    tags: ColourTags
    sample_aspect: Fraction = Fraction(1)
    codec_tag: str | None = None


class VideoStream:
    """An encoder tied to its stream in a file."""

    def __init__(self, muxer: Muxer, spec: StreamSpec, label: Label) -> None:
        self._muxer = muxer
        self._spec = spec
        self._durations: dict[int, int] = {}
        self._count, self._end = 0, 0
        self._begun: int | None = None  # first decoding time
        stream = muxer.add_encoder(spec.encoder, spec.rate.limit_denominator(RATE_LIMIT), label)
        assert isinstance(stream, av.video.stream.VideoStream)
        self._stream = stream
        self._open()

    def encode(self, frame: av.VideoFrame, showing: Showing) -> Fraction | None:
        """Encode a frame for one showing; returns how far, in seconds, the written packets reach, if any came out."""
        frame.pts, frame.time_base = showing.pts, self._spec.time_base
        frame.duration = showing.duration
        frame.colorspace, frame.color_range = self._spec.tags.matrix, self._spec.tags.range
        self._durations[showing.pts] = showing.duration
        self._count += 1
        self._end = showing.pts + showing.duration
        return self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Get the last packets out of the encoder."""
        packets = self._stream.encode(None)
        if len(packets) == self._count <= SHORT:
            self._stamp_anew(packets)
        if packets and packets[-1].dts is not None:
            # MP4 adds up the steps between decoding times: with the last one they must make the whole duration
            begun = packets[0].dts if self._begun is None else self._begun
            self._durations[packets[-1].pts or 0] = max(1, self._end - (packets[-1].dts - (begun or 0)))
        self._mux(packets)

    def _stamp_anew(self, packets: list[av.Packet]) -> None:
        """Set decoding times: x265 leaves chance numbers in them when there are fewer frames than it reorders."""
        clock = DecodingClock(REORDERED.get(self._stream.codec_context.codec.canonical_name, 0))
        clock.enter([packet.pts for packet in packets if packet.pts is not None])
        for packet in packets:
            if packet.pts is not None:
                packet.dts = clock.next(packet.pts, self._muxer.path.name)

    def _open(self) -> None:
        spec, context = self._spec, self._stream.codec_context
        context.width, context.height = spec.size
        context.pix_fmt = spec.pixel_format
        context.time_base = spec.time_base
        self._stream.time_base = spec.time_base
        context.options = {key: value for key, value in spec.options.items() if key != "b"}
        if spec.encoder == "libsvtav1" and spec.rate > SVT_FASTEST:
            given = [spec.options["svtav1-params"]] if "svtav1-params" in spec.options else []
            context.options |= {"svtav1-params": ":".join([*given, SVT_SLOWED])}
        if "b" in spec.options:
            context.bit_rate = 0  # constant quality: no rate to keep
        context.colorspace, context.color_range = spec.tags.matrix, spec.tags.range
        context.color_primaries, context.color_trc = spec.tags.primaries, spec.tags.transfer
        if spec.sample_aspect != 1:
            context.sample_aspect_ratio = spec.sample_aspect
        if spec.codec_tag:
            context.codec_tag = spec.codec_tag
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            raise WriteFailed(
                f"{spec.encoder} does not open for {spec.size[0]} × {spec.size[1]} {spec.pixel_format}: {error}."
                " Choose another format or size."
            ) from error

    def _mux(self, packets: list[av.Packet]) -> Fraction | None:
        reached = None
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
            if packet.dts is not None:
                self._begun = packet.dts if self._begun is None else self._begun
                reached = packet.dts * self._spec.time_base
            packet.stream = self._stream
            self._muxer.mux(packet)
        return reached
