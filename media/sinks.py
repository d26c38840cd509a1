"""Where converted frames end: a video file with its sound, or a folder of pictures."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av

from .cadence import Showing
from .description import Chapter
from .muxing import Label, Muxer, reporting
from .remux import Companions
from .video_stream import StreamSpec, VideoStream

ALPHA_LABEL = Label({"handler_name": "alpha", "title": "alpha"}, is_default=False)
PNG_HEADER = 33  # bytes of signature and IHDR chunk: text goes right behind them


class Sink(Protocol):
    """Takes converted frames in order."""

    @property
    def notes(self) -> list[str]:
        """What the user should know, one sentence each."""
        ...

    def write(self, frame: av.VideoFrame, alpha: av.VideoFrame | None, showing: Showing) -> None:
        """Write a frame for one showing; `alpha` where alpha is a stream of its own."""
        ...

    def finish(self, end: Fraction, chapters: list[Chapter]) -> None:
        """Complete the file; the last frame is shown until `end` seconds."""
        ...

    def abort(self) -> None:
        """Leave nothing behind."""
        ...


class VideoFile:
    """A file with one picture stream, its alpha where that is a stream of its own, sound and subtitles."""

    def __init__(self, muxer: Muxer, spec: StreamSpec, alpha: StreamSpec | None) -> None:
        self._muxer = muxer
        self._companions: Companions | None = None
        self._video = VideoStream(muxer, spec, Label({}))
        self._alpha = VideoStream(muxer, alpha, ALPHA_LABEL) if alpha else None

    @property
    def notes(self) -> list[str]:
        return self._muxer.notes

    def accompany(self, companions: Companions) -> None:
        """Let sound and subtitles come along; before the first frame."""
        self._companions = companions

    def write(self, frame: av.VideoFrame, alpha: av.VideoFrame | None, showing: Showing) -> None:
        reached = self._video.encode(frame, showing)
        if self._alpha is not None and alpha is not None:
            self._alpha.encode(alpha, showing)
        if reached is not None and self._companions is not None:
            self._companions.advance(reached)

    def finish(self, end: Fraction, chapters: list[Chapter]) -> None:
        with reporting(self._muxer.path):
            self._video.finish()
            if self._alpha is not None:
                self._alpha.finish()
            if self._companions is not None:
                self._companions.finish(end)
                self._companions.close()
                self.notes.extend(self._companions.notes)
        self._muxer.close(chapters)

    def abort(self) -> None:
        if self._companions is not None:
            self._companions.close()
        self._muxer.abort()


class PictureFolder:
    """Numbered PNG files in a folder that appears when all are written; the first carries the workflow."""

    def __init__(self, path: Path, spec: StreamSpec, texts: Mapping[str, str], has_sound: bool) -> None:
        self._notes = ["A PNG sequence holds no time stamps: the frame rate must be given when it is read."]
        if has_sound:
            self._notes.append("A PNG sequence holds no sound: it was left out.")
        self._path, self._spec = path, spec
        self._part = path.with_name(path.name + ".part")
        self._texts = dict(texts)
        self._count = 0
        with reporting(path):
            shutil.rmtree(self._part, ignore_errors=True)
            self._part.mkdir()

    @property
    def notes(self) -> list[str]:
        return self._notes

    def write(self, frame: av.VideoFrame, alpha: av.VideoFrame | None, showing: Showing) -> None:
        encoder = av.CodecContext.create(self._spec.encoder, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height = self._spec.size
        encoder.pix_fmt, encoder.time_base = self._spec.pixel_format, Fraction(1, 25)
        self._count += 1
        with reporting(self._path):
            picture = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
            if self._count == 1 and self._texts:
                picture = with_texts(picture, self._texts)
            (self._part / f"{self._path.name}_{self._count:06d}.png").write_bytes(picture)

    def finish(self, end: Fraction, chapters: list[Chapter]) -> None:
        with reporting(self._path):
            if self._path.is_dir() and not any(self._path.iterdir()):
                self._path.rmdir()
            os.replace(self._part, self._path)

    def abort(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)


def with_texts(picture: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with text chunks behind its header, as ComfyUI reads workflows from (iTXt where Latin-1 is not enough)."""
    chunks = b"".join(_text_chunk(key, text) for key, text in texts.items())
    return picture[:PNG_HEADER] + chunks + picture[PNG_HEADER:]


def _text_chunk(key: str, text: str) -> bytes:
    try:
        kind, body = b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        kind, body = b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
