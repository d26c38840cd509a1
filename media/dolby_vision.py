"""The Dolby Vision configuration of a file: its profile decides whether the base layer is a picture by itself.

Read from the container's own record (`dvcC`, `dvvC`, `dvwC` in MP4 and Matroska), which PyAV does not hand out.
Layout: Dolby Vision Streams Within the ISO Base Media File Format, section 3.2.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

# in MP4 a box of 32 bytes; in Matroska the same 24 bytes follow the block addition's extra data element (41 ED)
MP4_BOX = re.compile(rb"\x00\x00\x00\x20dv[cvw]C(.{5})", re.DOTALL)
MATROSKA_RECORD = re.compile(rb"\x41\xe7.dv[cvw]C.{0,16}?\x41\xed\x98(.{5})", re.DOTALL)
INDEX_LIMIT = 64 << 20  # bytes of an MP4's index that are searched; two hours need about 5 MB
MATROSKA_HEAD = 4 << 20  # tracks are described at the beginning
# profiles whose base layer alone is no picture: 5 is coded in IPT-PQ-C2
WITHOUT_BASE_LAYER = frozenset({5})
SAMPLE_ENTRIES = frozenset({"dvh1", "dvhe", "dvav", "dva1", "dav1"})  # four-letter codes of Dolby Vision tracks


def find_profile(path: Path, container: str) -> tuple[int, int] | None:
    """(profile, compatibility of the base layer), such as (8, 4); None without a record."""
    with path.open("rb") as file:
        head = _movie_box(file) if container == "mov" else file.read(MATROSKA_HEAD) if container == "matroska" else b""
    match = (MP4_BOX if container == "mov" else MATROSKA_RECORD).search(head)
    if match is None:
        return None
    packed = int.from_bytes(match[1][2:5], "big")  # 7 bits profile, 6 level, 3 flags, 4 compatibility, 4 unused
    return packed >> 17, packed >> 4 & 15


def _movie_box(file: BinaryIO) -> bytes:
    """The `moov` box of an MP4 file, wherever it stands."""
    while len(header := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", header)
        used = 8
        if size == 1:
            size, used = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0], 16
        if name == b"moov":
            return file.read(min(INDEX_LIMIT, size - used) if size else INDEX_LIMIT)
        if size < used:
            break
        file.seek(size - used, 1)
    return b""
