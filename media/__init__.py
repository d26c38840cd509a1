"""Pixels and sound in and out through PyAV; numpy only."""

from .description import (
    AudioTrack,
    BadSelection,
    Chapter,
    Colour,
    Loss,
    MediaError,
    MediaInfo,
    NotAllowed,
    NoVideo,
    SubtitleTrack,
    UnreadableFile,
    Unsupported,
    WriteFailed,
)
from .pipeline import Treatment
from .probe import count_frames, probe
from .read import Reader, read
from .selection import Selection
from .timing import snap_rate

__all__ = [
    "AudioTrack",
    "BadSelection",
    "Chapter",
    "Colour",
    "Loss",
    "MediaError",
    "MediaInfo",
    "NoVideo",
    "NotAllowed",
    "Reader",
    "Selection",
    "SubtitleTrack",
    "Treatment",
    "UnreadableFile",
    "Unsupported",
    "WriteFailed",
    "count_frames",
    "probe",
    "read",
    "snap_rate",
]
