"""Sound as samples, cut to the sample at the picture's times; any codec, rate and layout FFmpeg decodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.audio.frame
import av.audio.resampler
import av.container
import av.error
import numpy as np
from av.audio.stream import AudioStream

from .decode import RESTARTING_CONTAINERS, move_packet
from .description import AudioTrack, BadSelection, MediaInfo, NoVideo
from .probe import probe
from .source import open_container
from .timing import COARSE_TICK, Continuity, exact

# decoders that look back (AAC, Opus, MP3's reservoir) are right again after this much
PREROLL = Fraction(1, 2)  # seconds
# stamps may be off by this much (Matroska's milliseconds, a drifting camera) before silence fills a gap
JITTER = Fraction(1, 50)  # seconds


LONGEST_SILENCE = 600  # seconds of pause that a stamp may ask for
EXACT_REACH = 60  # seconds that are decoded rather than skipped where stamps are coarse


@dataclass(frozen=True)
class SoundSamples:
    """Decoded sound: float32 [C, N] within -1..1 where the source is, finite; sample 0 is the window's start."""

    samples: np.ndarray
    rate: int
    layout: str
    lost_packets: int  # that did not decode; silence stands in their place


def read_sound(path: str | Path, start: Fraction | float = 0, duration: Fraction | float = 0,
               track: AudioTrack | None = None, info: MediaInfo | None = None) -> SoundSamples | None:  # fmt: skip
    """The sound of a window, in seconds from the first displayed frame; duration 0 goes to the sound's end.

    `track` defaults to the one a player would choose. None when there is no sound that can be decoded. Sound that
    begins later is preceded by silence; sound that ends earlier is shorter than the window.
    """
    info = info or probe(path)
    track = track or info.default_audio
    if track is None:
        return None
    if start < 0 or duration < 0:
        raise BadSelection(f"A window of sound from {start} s for {duration} s; expected zero or more.")
    limit = round(exact(duration) * track.rate) if duration else None
    placed = _Placed(track.rate, track.channels, limit)
    with open_container(info.path) as container:
        stream = next((one for one in container.streams.audio if one.index == track.index), None)
        if stream is None:
            raise NoVideo(f"{info.path.name} no longer has the sound track that was probed. Was the file replaced?")
        _fill(placed, container, stream, info, exact(start), track.layout)
    return SoundSamples(placed.samples(), track.rate, track.layout, placed.lost)


class _Placed:
    """Samples put where their time stamps say."""

    def __init__(self, rate: int, channels: int, limit: int | None) -> None:
        self.rate, self.channels, self.limit = rate, channels, limit
        self.lost = 0
        self._parts: list[np.ndarray] = []
        self._filled = 0  # samples of the result so far
        self._next: int | None = None  # where the next frame should begin, when it follows without a gap

    @property
    def is_full(self) -> bool:
        return self.limit is not None and self._filled >= self.limit

    def put(self, samples: np.ndarray, position: int | None) -> None:
        """Add samples [C, N] whose first one belongs at `position`, or after the ones before."""
        follows = self._next is not None and (position is None or abs(position - self._next) <= JITTER * self.rate)
        place = (self._next if follows else position) or 0
        if place - self._filled > LONGEST_SILENCE * self.rate:
            place = self._filled  # a damaged stamp, not a pause
        self._next = place + samples.shape[1]
        samples = samples[:, max(0, self._filled - place) :]
        if samples.shape[1]:
            self._append(np.zeros((self.channels, max(0, place - self._filled)), np.float32))
            self._append(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0))

    def samples(self) -> np.ndarray:
        if not self._parts:
            return np.zeros((self.channels, 0), np.float32)
        return np.concatenate(self._parts, axis=1)

    def _append(self, samples: np.ndarray) -> None:
        if self.limit is not None:
            samples = samples[:, : self.limit - self._filled]
        if samples.shape[1]:
            self._parts.append(samples)
            self._filled += samples.shape[1]


def _fill(placed: _Placed, container: av.container.InputContainer, stream: AudioStream, info: MediaInfo,
          start: Fraction, layout: str) -> None:  # fmt: skip
    # packed, not planar: PyAV reads beyond its eight planes when a file claims more channels
    resampler = av.audio.resampler.AudioResampler(format="flt", layout=layout, rate=placed.rate)
    base = stream.time_base or Fraction(1, placed.rate)
    window = info.start + start  # on the container's clock
    for frame in _frames(placed, container, stream, window, info.path.is_dir()):
        stamp = frame.pts
        position = None if stamp is None else round((stamp * base - window) * placed.rate)
        frame.pts = None  # the resampler must not invent samples from stamps
        try:
            outputs = resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):  # another rate or layout in mid-stream
            placed.lost += 1
            continue
        for output in outputs:
            placed.put(output.to_ndarray().reshape(-1, placed.channels).T, position)
            position = None
        if placed.is_full:
            return


def _frames(placed: _Placed, container: av.container.InputContainer, stream: AudioStream, window: Fraction,
            is_disc: bool) -> Iterator[av.audio.frame.AudioFrame]:  # fmt: skip
    restarts = container.format.name in RESTARTING_CONTAINERS and (is_disc or window <= PREROLL)
    continuity = Continuity() if restarts else None
    base = stream.time_base or Fraction(1)
    # whole milliseconds cannot place a sample: near the beginning it is counted from there instead
    reach = EXACT_REACH if base >= COARSE_TICK else PREROLL
    if not is_disc and window > reach:
        with suppress(av.error.FFmpegError, OSError):  # without an index: from the beginning
            container.seek(round((window - PREROLL) / base), stream=stream, backward=True)
    # a disc's clock restarts for all streams at once: the picture's packets tell it too
    streams = container.streams.video if continuity else ()
    packets = container.demux(stream, *streams)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            return
        if packet is None:
            return
        if continuity is not None:
            move_packet(packet, continuity)
        if packet.stream.index != stream.index:
            continue
        try:
            yield from stream.codec_context.decode(packet if packet.size else None)
        except (av.error.FFmpegError, ValueError):
            placed.lost += 1
