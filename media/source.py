"""From a path to an opened container: what may be opened, and every way that can fail, said clearly.

Only local files and folders are opened. libavformat could follow playlists and links; a list of allowed containers
without any playlist, and the file protocol alone, keep it from reading or fetching anything the user did not name.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.container
import av.error
from av.audio.stream import AudioStream

from .description import MediaError, NotAllowed, UnreadableFile, Unsupported

# libavformat demuxers that read one file and nothing else
CONTAINERS = (
    "3dostr,aac,ac3,aiff,amr,apng,asf,ast,au,av1,avi,avs,avs2,avs3,cavsvideo,cine,dirac,dnxhd,dts,dv,dxa,eac3,evc,flac,"
    "flic,flv,live_flv,gif,gxf,h261,h263,h264,hevc,ipu,ivf,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_anim,kux,"
    "lmlm4,m4v,matroska,webm,mjpeg,mjpeg_2000,mlv,mods,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mpegtsraw,mpegvideo,mtv,mv,"
    "mxf,mxg,nc,nsv,nut,obu,ogg,png_pipe,pmp,psxstr,r3d,rawvideo,rm,roq,rpl,smk,swf,tiff_pipe,truehd,ty,vc1,vc1test,"
    "viv,vvc,vividas,w64,wav,webp_pipe,wtv,wv,xmv,xwma,yuv4mpegpipe,bmp_pipe"
)
# program streams start their sound late and carry no index: libavformat's 5 MB are not always enough to see it
STREAM_FORMATS = ("mpeg", "mpegts")
PROGRAM_STREAM_OPTIONS = {"probesize": str(16 << 20), "analyzeduration": str(15_000_000)}
JOINED_BUFFER = 1 << 20  # bytes per read through Python
# width × height; above 8K cinema (8192 × 4320) and 16384 × 4096, below what would fill memory by a damaged header
MAX_PIXELS = 8192 * 8192
# given as container_options: PyAV 16 applies plain options to streams too, and crashes on formats that find theirs late
OPEN_OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
# how an MP4 or MOV begins: (kind of its first box)
ISO_BOXES = (b"ftyp", b"moov", b"wide", b"free", b"skip", b"mdat", b"pnot")
# Opening decodes pictures to learn what reading them tells anyway: a frame of every stream, 20 ms each at 1080p. Frames
# of MP4 and MOV are left out of that, whose headers hold the rest. Older PyAV frees the wrong options where a damaged
# file shows more streams later than at first.
FRAMES_UNSEEN = {"skip_frame": "all"}
MOST_STREAMS = 64  # options beyond the streams there are do nothing
HAS_SAFE_STREAM_OPTIONS = tuple(int(part) for part in av.__version__.split(".")[:2]) >= (17, 1)
LINK = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
TITLE_PART = re.compile(r"^VTS_(\d\d)_([1-9])\.VOB$", re.IGNORECASE)  # part 0 is the menu


class JoinedFiles(io.RawIOBase):
    """Files read as one, in order: the parts of a DVD title are one program stream cut at 1 GB."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files = [path.open("rb") for path in paths]
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        part = bisect_right(self._ends, self._position)
        if part >= len(self._ends):
            return b""
        left = self._ends[part] - self._position
        self._files[part].seek(self._position - self._ends[part] + self._files[part].seek(0, io.SEEK_END))
        data = self._files[part].read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def resolve(path: str | Path, allowed: Sequence[str | Path] | None = None) -> Path:
    """The absolute path of an existing file or folder, quotes stripped, links followed.

    With `allowed`, refuses everything that does not lie in one of those folders after following links.
    Raises Unsupported for web links, NotAllowed and UnreadableFile.
    """
    text = str(path).strip().strip("\"'")
    if LINK.match(text):
        raise Unsupported(f"{text[:80]} is a link, not a file. Download it first; files and folders are read here.")
    if not text or "\0" in text:
        raise UnreadableFile("The path is empty. Give the path of a video, a picture or a folder.")
    found = Path(text).expanduser().resolve()
    if allowed is not None:
        _refuse_outside([found], text, allowed)
    if not found.exists():
        raise UnreadableFile(f"{text} does not exist. Check the path.")
    if allowed is not None and found.is_dir():
        members = [*found.iterdir(), *(found / "VIDEO_TS").glob("*")]
        _refuse_outside([member.resolve() for member in members], text, allowed)
    return found


def open_container(path: Path, *, to_decode: bool = False) -> av.container.InputContainer:
    """Open a video file or a DVD's VIDEO_TS folder with PyAV.

    `to_decode`: the caller reads frames, and what only frames tell (a pixel format) need not be known before.

    Raises UnreadableFile with the reason libavformat gives.
    """
    if path.is_dir():
        return _open_joined(path)
    if not path.is_file():
        raise UnreadableFile(f"{path} is no regular file. Give a video, a picture or a folder.")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path.name} is empty (0 bytes). The copy or download may have failed; fetch it again.")
    try:
        container = _open_unseen(path) if to_decode else None
        container = container or av.open(str(path), "r", container_options=OPEN_OPTIONS)
        if container.format.name in STREAM_FORMATS and any(not _is_known(one) for one in container.streams.audio):
            container.close()
            container = av.open(str(path), "r", container_options=OPEN_OPTIONS | PROGRAM_STREAM_OPTIONS)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return container


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, or of a DVD title's parts in a row."""
    return JoinedFiles(dvd_title_parts(path)) if path.is_dir() else path.open("rb")  # pyright: ignore[reportReturnType]


def dvd_title_parts(folder: Path) -> list[Path]:
    """The VOB files of the longest title of a DVD folder (or its parent), in playing order; empty if it is no DVD."""
    inside = folder / "VIDEO_TS"
    titles: dict[str, list[Path]] = {}
    for file in sorted((inside if inside.is_dir() else folder).iterdir()):
        match = TITLE_PART.match(file.name)
        if match and file.is_file() and file.stat().st_size:
            titles.setdefault(match[1], []).append(file)
    return max(titles.values(), key=lambda parts: sum(part.stat().st_size for part in parts), default=[])


def check_size(width: int, height: int, name: str) -> None:
    """Refuse frame sizes that no camera or disc has before anything is allocated. Raises Unsupported."""
    if width * height > MAX_PIXELS:
        raise Unsupported(
            f"{name} says its pictures are {width} × {height} pixels; up to {MAX_PIXELS >> 20} megapixels are read."
            " The header may be damaged; otherwise make the pictures smaller first."
        )


def unreadable(path: Path, error: Exception) -> MediaError:
    """The error to raise when PyAV could not make sense of a file."""
    reason = getattr(error, "strerror", None) or str(error)
    return UnreadableFile(
        f"{path.name} cannot be read as a video: {reason}. It may be incomplete (an MP4 without its index, a stopped"
        " download) or of another kind; fetch it again or repair it with another program."
    )


def _open_unseen(path: Path) -> av.container.InputContainer | None:
    """An MP4 or MOV, opened without decoding anything; None where that cannot be done."""
    with path.open("rb") as file:
        is_iso = file.read(8)[4:] in ISO_BOXES
    if not (is_iso and HAS_SAFE_STREAM_OPTIONS):
        return None
    options: list[Any] = [FRAMES_UNSEEN] * MOST_STREAMS
    try:
        return av.open(str(path), "r", container_options=OPEN_OPTIONS, stream_options=options)
    except (av.error.FFmpegError, OSError, ValueError):  # no streams in its header, or no such file after all
        return None


def _open_joined(folder: Path) -> av.container.InputContainer:
    parts = dvd_title_parts(folder)
    if not parts:
        raise UnreadableFile(f"{folder.name} holds no DVD title (VTS_01_1.VOB …). Choose a file or a VIDEO_TS folder.")
    joined = JoinedFiles(parts)
    try:
        options = OPEN_OPTIONS | PROGRAM_STREAM_OPTIONS
        return av.open(joined, "r", format="mpeg", container_options=options, buffer_size=JOINED_BUFFER)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        joined.close()
        raise unreadable(folder, error) from error


def _is_known(stream: AudioStream) -> bool:
    return stream.codec_context is None or bool(stream.codec_context.sample_rate)


def _refuse_outside(paths: Sequence[Path], text: str, allowed: Sequence[str | Path]) -> None:
    folders = [Path(folder).expanduser().resolve() for folder in allowed]
    if not all(any(path.is_relative_to(folder) for folder in folders) for path in paths):
        named = ", ".join(str(folder) for folder in allowed)
        raise NotAllowed(f"{text} lies, or leads, outside the folders that may be read here ({named}).")
