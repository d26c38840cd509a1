"""Pixels and sound in and out through PyAV; numpy only."""

from .copying import copy
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
from .identity import identify
from .output import Cadence, Encoding, Picture, Samples, Sound, Tagging, Written
from .pipeline import Treatment
from .places import copy_file, obstacle_to
from .probe import count_frames, probe
from .read import Reader, read
from .segments import Run, Segment, SegmentFolder
from .selection import Selection
from .soundness import sound_frames
from .source import resolve
from .timing import snap_rate
from .write import Writer, write

__all__ = [
    "AudioTrack",
    "BadSelection",
    "Cadence",
    "Chapter",
    "Colour",
    "Encoding",
    "Loss",
    "MediaError",
    "MediaInfo",
    "NoVideo",
    "NotAllowed",
    "Picture",
    "Reader",
    "Run",
    "Samples",
    "Segment",
    "SegmentFolder",
    "Selection",
    "Sound",
    "SubtitleTrack",
    "Tagging",
    "Treatment",
    "UnreadableFile",
    "Unsupported",
    "WriteFailed",
    "Writer",
    "Written",
    "copy",
    "copy_file",
    "count_frames",
    "identify",
    "obstacle_to",
    "probe",
    "read",
    "resolve",
    "snap_rate",
    "sound_frames",
    "write",
]
