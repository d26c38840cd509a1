"""What a file to be written should be: format, picture, sound, tags; and what was written in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from .description import AudioTrack, Colour, MediaInfo

Quality = Literal["small", "good", "high", "near lossless"]
OddSize = Literal["pad", "crop", "4:4:4"]
EncoderChoice = Literal["cpu", "nvenc", "auto"]
RateMode = Literal["keep speed", "change speed"]
AudioLength = Literal["trim to video", "pad silence", "trim video", "keep"]


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded; every field has the meaning of the Video Combine widget of that name."""

    format: str = "MP4 H.264"  # a name in presets.FORMATS
    quality: Quality = "high"
    crf: int = -1  # −1: the number that belongs to `quality`
    bit_depth: Literal["auto", 8, 10] = "auto"  # auto: 8 for uint8 frames, the deepest the format has for uint16
    encoder: EncoderChoice = "cpu"
    profile: str = "hq"  # ProRes only
    loop_count: int = 0  # GIF and WebP; 0 repeats for ever
    odd_size: OddSize = "pad"
    speed: str = ""  # the encoder's own preset name; empty: the table's


@dataclass(frozen=True)
class Picture:
    """What is known of the frames besides their pixels."""

    colour: Colour = field(default_factory=Colour)  # transfer and primaries decide how the file is tagged
    sample_aspect: Fraction = Fraction(1)  # pixel width / height
    rate: Fraction | None = None  # nominal frames per second; None: from the first time stamps
    duration: Fraction | None = None  # seconds expected in all, where known


@dataclass(frozen=True)
class Cadence:
    """When the frames are shown: as stamped, resampled to `rate`, or one after the other at `rate`."""

    rate: Fraction | None = None  # None keeps every time stamp
    mode: RateMode = "keep speed"


@dataclass(frozen=True)
class Samples:
    """Sound in memory: float32 [C, N] in −1..1."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True)
class Sound:
    """Which sound goes with the picture, and where it starts."""

    source: Path | None = None  # a file whose `tracks` are copied, or decoded and cut where they must be
    tracks: tuple[AudioTrack, ...] = ()
    origin: Fraction = Fraction(0)  # time on the source's clock at which the first written frame is shown
    samples: Samples | None = None  # replaces the source's sound; starts with the first frame
    length: AudioLength = "trim to video"


@dataclass(frozen=True)
class Tagging:
    """What the file says about itself."""

    source: MediaInfo | None = None  # date, place, camera, chapters, subtitles are kept from here
    start: Fraction = Fraction(0)  # seconds from the source's first frame to the first written one
    workflow: Mapping[str, str] = field(default_factory=dict)  # ComfyUI's `prompt` and `workflow`


@dataclass(frozen=True)
class Written:
    """What was written."""

    path: Path
    size: tuple[int, int]
    frames: int
    duration: Fraction  # seconds, of the picture
    pixel_format: str
    notes: tuple[str, ...] = ()  # what the format cannot hold, what was cut, padded or repaired
