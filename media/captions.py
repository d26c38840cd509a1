"""Subtitle text from one container's form into another's: Matroska's plain lines, MP4's timed text, WebVTT, ASS.

PyAV's oldest version cannot encode subtitles, and all of these are text with a few bytes around it. Words, line breaks
and times are kept; italics, bold and underline too where both forms write them as tags; other styles are not.
"""

from __future__ import annotations

import html
import io
import re
import struct
from fractions import Fraction
from functools import cache

import av
import av.stream

from .muxing import Label, Muxer
from .soundtrack import CopiedTrack

# forms that are read here, and the one each container is given, by the codec that container can hold
TEXT_CODECS = ("subrip", "text", "mov_text", "webvtt", "ass")
WRITTEN_CODECS = ("mov_text", "subrip", "webvtt")
TAGGED = ("subrip", "webvtt")  # write <i>, <b>, <u>
TAG = re.compile(r"<[^<>\n]*>")
KEPT_TAG = re.compile(r"</?[ibu]>", re.IGNORECASE)
ASS_FIELDS = 8  # in front of the text of a packet in Matroska: order, layer, style, name, three margins, effect
ASS_STYLE = re.compile(r"\{[^}]*\}")
ASS_DRAWING = re.compile(r"\{[^}]*\\p[1-9]")  # shapes, not words
SAMPLES = {"subrip": ("srt", b"1\n00:00:00,000 --> 00:00:01,000\n-\n\n"),
           "webvtt": ("webvtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\n-\n\n")}  # fmt: skip
WHITE, CENTRED, BOTTOM = b"\xff\xff\xff\xff", 1, -1
FONT, FONT_SIZE = b"Arial", 16  # players take their own


def convertible(codec: str, held: frozenset[str]) -> str | None:
    """The form a track can be given where a container holds these codecs; None when it holds no text or is none."""
    if codec not in TEXT_CODECS:
        return None
    return next((form for form in WRITTEN_CODECS if form in held), None)


def converted(payload: bytes, source: str, target: str) -> bytes:
    """A packet's contents in another form; empty where it shows nothing."""
    text = _read(payload, source)
    keep = source in TAGGED and target in TAGGED
    parts = [(part, False) for part in TAG.split(text)]
    for place, tag in enumerate(TAG.findall(text)):
        parts.insert(2 * place + 1, (tag, True))
    words = "".join(
        (part if keep and KEPT_TAG.fullmatch(part) else "") if is_tag else _escaped(part, source, target)
        for part, is_tag in parts
    ).strip("\n")
    return _write(words, target) if words.strip() else b""


class ConvertedTrack(CopiedTrack):
    """A subtitle track whose packets are given another form on their way."""

    def __init__(self, muxer: Muxer, source: av.stream.Stream, origin: Fraction, label: Label, codec: str,
                 form: str) -> None:  # fmt: skip
        super().__init__(muxer, source, muxer.add_copy(template(form), label), origin, Fraction(0))
        self._codec, self._form = codec, form

    def take(self, packet: av.Packet) -> None:
        payload = converted(bytes(packet), self._codec, self._form)
        if not payload or packet.pts is None:
            return
        fresh = av.Packet(payload)
        fresh.pts = fresh.dts = packet.pts
        fresh.duration, fresh.time_base = packet.duration, packet.time_base
        super().take(fresh)


@cache
def template(codec: str) -> av.stream.Stream:
    """A stream of this form to make an output's stream from, as libavformat reads it from a file in memory."""
    kind, sample = SAMPLES.get(codec) or ("mov", _timed_text_file())
    return av.open(io.BytesIO(sample), "r", format=kind).streams[0]


def _read(payload: bytes, codec: str) -> str:
    if codec == "mov_text":
        length = int.from_bytes(payload[:2], "big")
        payload = payload[2 : 2 + length]  # boxes with styles may follow
        # a mark of byte order announces UTF-16, as the standard allows
        return payload.decode("utf-16" if payload[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8", "replace")
    text = payload.rstrip(b"\0").decode("utf-8", "replace").replace("\r\n", "\n")
    if codec != "ass":
        return text
    text = text.split(",", ASS_FIELDS)[-1]
    text = "" if ASS_DRAWING.search(text) else ASS_STYLE.sub("", text)
    return text.replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", "\N{NO-BREAK SPACE}")


def _escaped(text: str, source: str, target: str) -> str:
    plain = html.unescape(text) if source == "webvtt" else text
    return html.escape(plain, quote=False) if target == "webvtt" else plain


def _write(text: str, codec: str) -> bytes:
    if codec != "mov_text":
        # an empty line would end the cue
        return re.sub(r"\n{2,}", "\n", text).encode()
    encoded = text.encode()[:0xFFFF]
    return struct.pack(">H", len(encoded)) + encoded


def _timed_text_file() -> bytes:
    """The smallest MP4 with a timed-text track: white, centred at the bottom, as FFmpeg describes it by default."""
    style = struct.pack(">HHHBB", 0, 0, 1, 0, FONT_SIZE) + WHITE
    fonts = _box(b"ftab", struct.pack(">HHB", 1, 1, len(FONT)) + FONT)
    entry = bytes(6) + struct.pack(">HIbb4xHHHH", 1, 0, CENTRED, BOTTOM, 0, 0, 0, 0) + style + fonts
    empty = [_box(name, bytes(8)) for name in (b"stts", b"stsc", b"stco")] + [_box(b"stsz", bytes(12))]
    table = _box(b"stbl", _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"tx3g", entry)), *empty)
    handler = _box(b"hdlr", bytes(8) + b"sbtl" + bytes(13))
    header = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, 0, 0x55C4, 0))
    track_header = _box(b"tkhd", struct.pack(">IIII", 1, 0, 0, 1) + bytes(68))
    track = _box(b"trak", track_header, _box(b"mdia", header, handler, _box(b"minf", table)))
    movie_header = _box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 1000, 0) + bytes(80))
    return _box(b"ftyp", b"isom" + bytes(4) + b"isom") + _box(b"moov", movie_header, track)


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body
