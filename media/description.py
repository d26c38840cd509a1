"""What a clip is, in words both the reading and the writing side use, and what can be wrong with one.

Errors: MediaError ┬ UnreadableFile   the bytes are no clip: missing, empty, damaged head, no frame decodes
                   ├ NoVideo          a sound file, or nothing with pictures in it
                   ├ Unsupported      understood and refused by name: Dolby Vision profile 5, absurd sizes, links
                   ├ NotAllowed       the path lies outside the folders this server may read
                   ├ BadSelection     the window asked for holds no frame
                   └ WriteFailed      a file could not be written as asked
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

Matrix = Literal["bt601", "bt709", "bt2020", "rgb"]
Range = Literal["limited", "full"]
Transfer = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt601-525", "bt601-625", "bt709", "bt2020", "p3"]
DecidedBy = Literal["tag", "override", "size", "comfyui", "pixel format", "matrix", "default"]
Kind = Literal["video", "animation", "image", "folder"]
# film: 24 frames a second stored as 60 fields (3:2 pulldown); soft film: stored as 24 frames with repeat flags
Scan = Literal["progressive", "interlaced", "film", "soft film"]


class MediaError(Exception):
    """A clip could not be read or written; the message says what was found and what to do."""


class UnreadableFile(MediaError):
    """The file is missing, empty or damaged, or no frame of it decodes."""


class NoVideo(MediaError):
    """The file opens but has no picture in it."""


class Unsupported(MediaError):
    """The file is understood and refused by name."""


class NotAllowed(MediaError):
    """The path lies outside the folders that may be read."""


class BadSelection(MediaError):
    """The selection holds no frame, or contradicts itself."""


class WriteFailed(MediaError):
    """A file could not be written as asked."""


@dataclass(frozen=True)
class Mastering:
    """The screen an HDR picture was graded on, and how bright it gets (SMPTE ST 2086, CTA-861.3)."""

    display: tuple[Fraction, ...] | None  # x, y of red, green, blue and white; darkest, brightest in cd/m²
    light: tuple[int, int] | None  # brightest pixel, brightest mean of a frame, in cd/m²


@dataclass(frozen=True)
class Colour:
    """How code values become colour, and how each part of that was decided."""

    matrix: Matrix = "bt709"
    range: Range = "limited"
    transfer: Transfer = "sdr"
    primaries: Primaries = "bt709"
    matrix_by: DecidedBy = "default"
    range_by: DecidedBy = "default"
    transfer_by: DecidedBy = "default"
    primaries_by: DecidedBy = "default"
    mastering: Mastering | None = None  # of HDR, where the file says it

    @property
    def is_hdr(self) -> bool:
        """True when code values follow PQ or HLG and so are no display values."""
        return self.transfer != "sdr"


@dataclass(frozen=True)
class AudioTrack:
    """One sound track; `index` is the stream's index in the container."""

    index: int
    codec: str
    rate: int  # samples per second
    channels: int
    layout: str  # FFmpeg's name: mono, stereo, 5.1(side) …
    start: Fraction  # seconds on the container's clock, the same clock as MediaInfo.start
    duration: Fraction | None  # seconds, None when the container does not say
    bit_rate: int | None
    language: str | None
    title: str | None
    is_default: bool
    is_decodable: bool  # False: no decoder in this build; packets can still be copied


@dataclass(frozen=True)
class SubtitleTrack:
    """One subtitle track; `index` is the stream's index in the container."""

    index: int
    codec: str
    language: str | None
    title: str | None
    is_default: bool


@dataclass(frozen=True)
class Chapter:
    """A named stretch; seconds from the first displayed frame."""

    start: Fraction
    end: Fraction
    title: str


@dataclass(frozen=True)
class Loss:
    """A stretch of the source that could not be decoded; seconds from the first displayed frame."""

    start: Fraction
    end: Fraction | None  # None: unknown, up to the end of the file
    frames: int | None  # estimate, None when the container does not say
    reason: str

    def __str__(self) -> str:
        count = "some frames" if self.frames is None else f"about {self.frames} frames"
        return f"{count} lost at {float(self.start):.3f} s: {self.reason}"


@dataclass(frozen=True)
class MediaInfo:
    """What probing a clip found. Sizes are (width, height) in pixels, times in seconds as exact fractions."""

    path: Path
    kind: Kind
    container: str  # FFmpeg's short name, first of the list: mov, matroska, mpegts … ; for pictures Pillow's format
    codec: str
    pixel_format: str
    stream_index: int  # of the video stream in the container; -1 for pictures
    coded_size: tuple[int, int]  # as stored, before rotation
    size: tuple[int, int]  # after rotation, pixels as stored
    square_size: tuple[int, int]  # after rotation and with square pixels
    sample_aspect: Fraction  # pixel width / height after rotation, 1 for square
    rotation: int  # counter-clockwise degrees that show the picture upright: 0, 90, 180, 270
    is_mirrored: bool  # left and right to be exchanged before turning
    rate: Fraction  # frames per second, snapped to a standard rate when it is one; for VFR the average
    is_vfr: bool
    time_base: Fraction  # seconds per pts tick
    start: Fraction  # container time of the first displayed frame
    duration: Fraction | None  # of the video, None when unknown
    frame_count: int | None
    frame_count_exact: bool
    colour: Colour
    bit_depth: int  # of one component
    has_alpha: bool
    alpha_index: int | None  # of the grey stream that holds the opacity, where it is a stream of its own
    scan: Scan
    top_field_first: bool
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    creation_time: str | None = None  # as the container says it, ISO 8601
    location: str | None = None  # ISO 6709
    dolby_vision: str | None = None  # "8.4"; profiles without a usable base layer are refused
    notes: tuple[str, ...] = ()  # what was repaired, ignored or guessed, one sentence each

    @property
    def workflow(self) -> dict[str, str]:
        """ComfyUI's `prompt` and `workflow` texts, where the file carries them."""
        return {key.lower(): text for key, text in self.tags.items() if key.lower() in ("prompt", "workflow")}

    @property
    def default_audio(self) -> AudioTrack | None:
        """The track a player would choose: the default one that decodes, else the first that does."""
        usable = [track for track in self.audio if track.is_decodable]
        return next((track for track in usable if track.is_default), usable[0] if usable else None)
