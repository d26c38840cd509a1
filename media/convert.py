"""Decoded frames through libavfilter: a chain of filters around PyAV's graph, and the way into numpy RGB.

swscale makes planar RGB from YUV exactly and about four times faster than packed RGB. 8-bit RGB is then interleaved by
swscale too and copied once into the batch; 16-bit and opacity go plane by plane, expanded on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import av.error
import av.filter
import numpy as np
from av.video.plane import VideoPlane

from . import colour as colours
from .colour import PLANE_OF_CHANNEL, Filter
from .description import Colour
from .filling import CONVERTERS

# libavfilter's transpose directions for pictures that must be turned counter-clockwise by so many degrees
# of a picture, worked on at once: the cores there are for each of the converters of a reading
SLICES = max(1, (os.cpu_count() or 1) // CONVERTERS)
TURNS: dict[int, list[Filter]] = {
    0: [],
    90: [("transpose", "cclock")],
    # not hflip and vflip: those hand out planes with rows in backward order in memory
    180: [("transpose", "clock"), ("transpose", "clock")],
    270: [("transpose", "clock")],
}
# left and right exchanged, likewise without negative strides
MIRROR: list[Filter] = [("transpose", "cclock_flip"), ("transpose", "clock")]
# swscale refuses frames tagged with curves or primaries it does not know, damaged or not, although it converts neither
UNTAGGED: list[Filter] = [("setparams", "color_primaries=unknown:color_trc=unknown")]
PACK: list[Filter] = [("scale", ""), ("format", "rgb24")]  # from planar RGB: only moves bytes


class FilterChain:
    """Filters in a row for frames of one size and format."""

    def __init__(self, frame: av.VideoFrame, filters: Sequence[Filter], time_base: Fraction, rate: Fraction) -> None:
        graph = av.filter.Graph()
        source = graph.add("buffer", f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
                                     f":time_base={time_base}:frame_rate={rate}:pixel_aspect=1/1")  # fmt: skip
        nodes = [source, *(graph.add(name, arguments or None) for name, arguments in filters), graph.add("buffersink")]
        graph.link_nodes(*nodes)
        graph.configure()
        self._graph, self._source, self._sink = graph, source, nodes[-1]
        self.key = frame_key(frame)

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Everything the chain has ready after this frame; None ends the stream."""
        self._source.push(frame)
        while True:
            try:
                yield self._sink.pull()  # pyright: ignore[reportReturnType]
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def frame_key(frame: av.VideoFrame) -> tuple[int, int, str]:
    """What a filter chain must be rebuilt for."""
    return frame.width, frame.height, frame.format.name


def plane_values(plane: VideoPlane, kind: np.dtype, height: int, width: int) -> np.ndarray:
    """A plane's values [height, width], a view into the frame's memory."""
    row = plane.line_size // kind.itemsize
    values = np.frombuffer(plane, kind, row * height)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return values.reshape(height, row)[:, :width]


class RgbConverter:
    """Writes decoded frames as full-range RGB into arrays, turned upright and at one fixed size.

    `coded_size` is what frames are scaled to before turning; a stream that changes its size keeps the first one. If it
    `lends`, write answers with the memory swscale filled, where its rows follow each other, instead of copying that.
    """

    def __init__(self, colour: Colour, codec: str, coded_size: tuple[int, int], turn: int, mirrored: bool,
                 deep: bool, lends: bool = False) -> None:  # fmt: skip
        self._lends = lends
        self._colour, self._codec, self._size, self._deep = colour, codec, coded_size, deep
        self._turn = [*(MIRROR if mirrored else []), *TURNS[turn]]
        self._chain: FilterChain | None = None
        self._packed = False
        self._shift: int | None = None
        self._alpha_shift: int | None = None

    def write(self, frame: av.VideoFrame, rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray | None:
        """Fill `rgb` [H, W, 3] and `alpha` [H, W], uint8 or (deep) uint16 with white at 65535, or lend."""
        if self._chain is None or self._chain.key != frame_key(frame):
            self._rebuild(frame, alpha is not None)
        assert self._chain is not None
        converted = next(self._chain.push(frame))
        if self._packed:
            return self._unpack(converted, rgb, alpha)
        for channel, plane in zip([rgb[..., 0], rgb[..., 1], rgb[..., 2], alpha], PLANE_OF_CHANNEL, strict=True):
            if channel is not None:
                shift = self._alpha_shift if channel is alpha else self._shift
                self._expand(converted.planes[plane], channel, shift)
        return None

    def _rebuild(self, frame: av.VideoFrame, with_alpha: bool) -> None:
        pixel_format = frame.format.name
        is_deep_rgb = self._deep and frame.format.is_rgb
        if is_deep_rgb:
            output = colours.PACKED_ALPHA_16BIT if with_alpha else colours.PACKED_16BIT
        elif with_alpha:
            output = colours.RGBA_16BIT if self._deep else colours.RGBA_8BIT
        else:
            output = colours.RGB_16BIT if self._deep else colours.RGB_8BIT
        size = None if (frame.width, frame.height) == self._size else self._size
        to_rgb = colours.to_rgb_filters(self._colour, pixel_format, self._codec, output, size)
        filters = [*UNTAGGED, *to_rgb, *self._turn]
        if output == colours.RGB_8BIT:
            filters += PACK
        self._packed = is_deep_rgb or output == colours.RGB_8BIT
        # frames carry no time here: one goes in, one comes out
        self._chain = FilterChain(frame, _sliced(filters), Fraction(1, 1000), Fraction(25))
        self._shift = colours.expansion_shift(self._colour, pixel_format)
        self._alpha_shift = colours.alpha_shift(pixel_format)

    def _unpack(self, frame: av.VideoFrame, rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray | None:
        height, width, _ = rgb.shape
        channels = 3 if alpha is None else 4
        pixels = plane_values(frame.planes[0], rgb.dtype, height, width * channels)
        if alpha is None:
            if self._lends and pixels.flags.c_contiguous:
                return pixels.reshape(rgb.shape)
            rgb.reshape(height, width * channels)[...] = pixels
            return None
        pixels = pixels.reshape(height, width, channels)
        rgb[...], alpha[...] = pixels[..., :3], pixels[..., 3]
        return None

    def _expand(self, plane: VideoPlane, channel: np.ndarray, shift: int | None) -> None:
        values = plane_values(plane, channel.dtype, *channel.shape)
        if self._deep:
            colours.expand_16bit(values, shift, channel)
        else:
            channel[...] = values


def _sliced(filters: Sequence[Filter]) -> list[Filter]:
    """The same filters, scaling in SLICES slices instead of one for every core."""
    return [(name, f"{text}:threads={SLICES}".removeprefix(":") if name == "scale" else text) for name, text in filters]
