"""Decoded frames through libavfilter: a chain of filters around PyAV's graph, and the way into numpy RGB.

swscale writes planar RGB, which it does exactly and about four times faster than packed RGB; the one copy after it
interleaves the planes straight into the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import av.error
import av.filter
import av.video.plane
import numpy as np

from . import colour as colours
from .colour import Filter
from .description import Colour

# libavfilter's transpose directions for pictures that must be turned counter-clockwise by so many degrees
TURNS: dict[int, list[Filter]] = {
    0: [],
    90: [("transpose", "cclock")],
    # not hflip and vflip: those hand out planes with rows in backward order in memory
    180: [("transpose", "clock"), ("transpose", "clock")],
    270: [("transpose", "clock")],
}
# left and right exchanged, likewise without negative strides
MIRROR: list[Filter] = [("transpose", "cclock_flip"), ("transpose", "clock")]


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


def plane_values(plane: av.video.plane.VideoPlane, kind: np.dtype, height: int, width: int) -> np.ndarray:
    """A plane's values [height, width], a view into the frame's memory."""
    row = plane.line_size // kind.itemsize
    values = np.frombuffer(plane, kind, row * height)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return values.reshape(height, row)[:, :width]


class RgbConverter:
    """Writes decoded frames as full-range RGB into arrays, turned upright and at one fixed size.

    `coded_size` is what frames are scaled to before turning; a stream that changes its size keeps the first one.
    """

    def __init__(self, colour: Colour, codec: str, coded_size: tuple[int, int], turn: int, mirrored: bool,
                 deep: bool) -> None:  # fmt: skip
        self._colour, self._codec, self._size, self._deep = colour, codec, coded_size, deep
        self._turn = [*(MIRROR if mirrored else []), *TURNS[turn]]
        self._chain: FilterChain | None = None
        self._shift: int | None = None

    def write(self, frame: av.VideoFrame, rgb: np.ndarray, alpha: np.ndarray | None) -> None:
        """Fill `rgb` [H, W, 3] and `alpha` [H, W], uint8 or (deep) uint16 with white at 65535."""
        if self._chain is None or self._chain.key != frame_key(frame):
            self._rebuild(frame, alpha is not None)
        assert self._chain is not None
        converted = next(self._chain.push(frame))
        channels = [rgb[..., 0], rgb[..., 1], rgb[..., 2]] + ([] if alpha is None else [alpha])
        for channel, plane in zip(channels, colours.PLANE_OF_CHANNEL, strict=False):
            self._copy(converted.planes[plane], channel, is_alpha=plane == colours.PLANE_OF_CHANNEL[3])

    def _rebuild(self, frame: av.VideoFrame, with_alpha: bool) -> None:
        pixel_format = frame.format.name
        if with_alpha:
            output = colours.RGBA_16BIT if self._deep else colours.RGBA_8BIT
        else:
            output = colours.RGB_16BIT if self._deep else colours.RGB_8BIT
        size = None if (frame.width, frame.height) == self._size else self._size
        filters = colours.to_rgb_filters(self._colour, pixel_format, self._codec, output, size)
        # frames carry no time here: one goes in, one comes out
        self._chain = FilterChain(frame, [*filters, *self._turn], Fraction(1, 1000), Fraction(25))
        self._shift = colours.expansion_shift(self._colour, pixel_format)
        self._alpha_shift = colours.alpha_shift(pixel_format)

    def _copy(self, plane: av.video.plane.VideoPlane, channel: np.ndarray, is_alpha: bool) -> None:
        height, width = channel.shape
        values = plane_values(plane, channel.dtype, height, width)
        if not self._deep:
            channel[...] = values
            return
        colours.expand_16bit(values, self._alpha_shift if is_alpha else self._shift, channel)
