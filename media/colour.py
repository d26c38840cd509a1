"""How code values become RGB and back: the decision about a source's colour, and swscale told exactly what to do.

FFmpeg's own defaults are wrong here: PyAV 16 ignores the matrix tag, every version guesses BT.601 for untagged HD,
chroma is placed in the middle of its pixels, and 16-bit RGB is scaled to 65280 instead of 65535. So every conversion
names matrix, range and chroma position, and 16-bit RGB passes expand_16bit after reading and contract_16bit before
writing. Measured against float arithmetic (tests/media/test_colour.py), the same on PyAV 16.0.1 and 18.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import av
import numpy as np

from .description import Colour, DecidedBy, Matrix, Primaries, Range, Transfer, Unsupported

# H.273 code points, as in the tags of streams and frames
UNSPECIFIED = 2
MATRIX_CODES: dict[int, Matrix] = {0: "rgb", 1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709",
                                   9: "bt2020", 10: "bt2020"}  # fmt: skip
PRIMARIES_CODES: dict[int, Primaries] = {1: "bt709", 5: "bt601-625", 6: "bt601-525", 7: "bt601-525", 9: "bt2020",
                                         11: "p3", 12: "p3"}  # fmt: skip
TRANSFER_CODES: dict[int, Transfer] = {16: "pq", 18: "hlg"}
REFUSED_MATRICES = {8: "YCgCo", 11: "Y'D'zD'x", 12: "chromaticity-derived", 13: "chromaticity-derived", 14: "ICtCp",
                    15: "IPT-PQ-C2"}  # fmt: skip
RANGE_CODES: dict[int, Range] = {1: "limited", 2: "full"}  # FFmpeg's AVColorRange

# what a writer puts into the stream: (matrix, primaries, transfer) code points
TAG_OF_MATRIX: dict[Matrix, int] = {"rgb": 0, "bt709": 1, "bt601": 6, "bt2020": 9}
TAG_OF_PRIMARIES: dict[Primaries, int] = {"bt709": 1, "bt601-625": 5, "bt601-525": 6, "bt2020": 9, "p3": 12}
TAG_OF_TRANSFER: dict[Transfer, int] = {"pq": 16, "hlg": 18}
SDR_TRANSFER_TAG: dict[Matrix, int] = {"rgb": 13, "bt709": 1, "bt601": 6, "bt2020": 14}
TAG_OF_RANGE: dict[Range, int] = {"limited": 1, "full": 2}
# primaries that belong to a matrix when the file says nothing
PRIMARIES_OF_MATRIX: dict[Matrix, Primaries] = {"rgb": "bt709", "bt709": "bt709", "bt601": "bt601-525",
                                                "bt2020": "bt2020"}  # fmt: skip
PAL_HEIGHTS = (288, 576)  # untagged BT.601 of these heights is 625-line material

# untagged video below this is standard definition; the width keeps 1280 × 536 films on the HD side
HD_HEIGHT = 720
HD_WIDTH = 1280

COMFYUI_TAGS = {"prompt", "workflow"}  # Matroska spells them in capitals

SWS_RANGE: dict[Range, str] = {"limited": "tv", "full": "pc"}
# lanczos loses least chroma over eight generations of writing; on the way back bicubic is as good and faster
SWS_EXACT = "accurate_rnd+full_chroma_int+full_chroma_inp"
SWS_FLAGS, SWS_CHROMA_UP_FLAGS = f"lanczos+{SWS_EXACT}", f"bicubic+{SWS_EXACT}"
# swscale's chroma positions in 1/256 of a luma pixel: (horizontal, vertical)
CHROMA_LEFT = (0, 128)  # MPEG-2 and everything after it, and what this pack writes
CHROMA_CENTRE = (128, 128)  # JPEG and MPEG-1
CHROMA_TOP_LEFT = (0, 0)  # DV
CHROMA_BY_CODEC = {"mjpeg": CHROMA_CENTRE, "mpeg1video": CHROMA_CENTRE, "dvvideo": CHROMA_TOP_LEFT}
FULL_RANGE_GRAY_CODECS = frozenset({"png", "apng", "bmp", "gif", "tiff", "mjpeg", "jpeg2000", "rawvideo", "ffv1"})

RGB_8BIT, RGB_16BIT = "gbrp", "gbrp16le"  # planar: swscale's fast and exact way from YUV
RGBA_8BIT, RGBA_16BIT = "gbrap", "gbrap16le"
PACKED_16BIT, PACKED_ALPHA_16BIT = "rgb48le", "rgba64le"  # exact from deep RGB, full scale by itself
PLANE_OF_CHANNEL = (2, 0, 1, 3)  # R, G, B, A in a gbrap frame
Filter = tuple[str, str]  # libavfilter's name and arguments
# between two names of one format: nothing may be converted, whatever the frame is tagged with
SAME_VALUES = "in_range=pc:out_range=pc:in_color_matrix=bt709:out_color_matrix=bt709"
SWS_WHITE_SHIFT = 8  # swscale's 16-bit RGB white from and to limited range is 255 << 8


@dataclass(frozen=True)
class ColourTags:
    """The four code points of a stream, as a decoder reports them; 2 (range: 0) is unspecified."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: int = 0


def decide_colour(tags: ColourTags, pixel_format: str, codec: str, size: tuple[int, int],
                  metadata: Mapping[str, str] | None = None) -> Colour:  # fmt: skip
    """What a stream's code values mean, and how that was decided; `size` is the coded one.

    Raises Unsupported for matrices that no conversion here can undo.
    """
    if tags.matrix in REFUSED_MATRICES:
        raise Unsupported(
            f"The video's colours are coded as {REFUSED_MATRICES[tags.matrix]}, which cannot be converted exactly here."
            " Convert it to BT.709 or BT.2020 YUV first."
        )
    transfer = TRANSFER_CODES.get(tags.transfer, "sdr")
    matrix, matrix_by = _decide_matrix(tags, pixel_format, size, transfer, metadata or {})
    range_, range_by = _decide_range(tags, pixel_format, codec)
    primaries, primaries_by = _decide_primaries(tags, matrix, size)
    transfer_by: DecidedBy = "default" if tags.transfer in (0, UNSPECIFIED) else "tag"
    return Colour(matrix, range_, transfer, primaries, matrix_by, range_by, transfer_by, primaries_by)


def override_colour(colour: Colour, matrix: str = "auto", range: str = "auto") -> Colour:
    """The user's word over the file's. RGB sources have no matrix to override and keep theirs."""
    if matrix != "auto" and colour.matrix != "rgb":
        if matrix not in ("bt601", "bt709", "bt2020"):
            raise ValueError(f"colour matrix {matrix!r}: expected auto, bt601, bt709 or bt2020")
        colour = replace(colour, matrix=matrix, matrix_by="override")
        if colour.primaries_by in ("matrix", "size"):
            colour = replace(colour, primaries=PRIMARIES_OF_MATRIX[matrix])
    if range != "auto" and colour.matrix != "rgb":
        if range not in SWS_RANGE:
            raise ValueError(f"colour range {range!r}: expected auto, limited or full")
        colour = replace(colour, range=range, range_by="override")
    return colour


def tags_of(colour: Colour) -> ColourTags:
    """The code points a writer must put into a stream whose values follow `colour`."""
    transfer = TAG_OF_TRANSFER.get(colour.transfer, SDR_TRANSFER_TAG[colour.matrix])
    return ColourTags(TAG_OF_MATRIX[colour.matrix], TAG_OF_PRIMARIES[colour.primaries], transfer,
                      TAG_OF_RANGE[colour.range])  # fmt: skip


def to_rgb_filters(colour: Colour, pixel_format: str, codec: str, output: str,
                   size: tuple[int, int] | None = None) -> list[Filter]:  # fmt: skip
    """Filters from a decoded frame to planar full-range RGB(A) `output`, resized to `size` (width, height) if given."""
    pixels = av.VideoFormat(pixel_format)
    options = [f"in_range={SWS_RANGE[colour.range]}", "out_range=pc"]
    filters: list[Filter] = []
    if not pixels.is_rgb:
        options.append(f"in_color_matrix={_sws_matrix(colour.matrix)}")
        options += _chroma_options("in", pixel_format, CHROMA_BY_CODEC.get(codec, CHROMA_LEFT))
        if colour.range == "limited" and _is_taken_as_full(pixel_format):
            filters = _relabel_as_limited(pixel_format)
    if size is not None:
        options.append(f"w={size[0]}:h={size[1]}")
    options.append(f"flags={SWS_CHROMA_UP_FLAGS if size is None else SWS_FLAGS}")
    return [*filters, ("scale", ":".join(options)), ("format", output)]


def from_rgb_filters(colour: Colour, pixel_format: str, size: tuple[int, int] | None = None) -> list[Filter]:
    """Filters from full-range RGB to `pixel_format` following `colour`; 16-bit RGB must pass contract_16bit first."""
    options = ["in_range=pc", f"out_range={SWS_RANGE[colour.range]}"]
    if not av.VideoFormat(pixel_format).is_rgb:
        options.append(f"out_color_matrix={_sws_matrix(colour.matrix)}")
        options += _chroma_options("out", pixel_format, CHROMA_LEFT)
    if size is not None:
        options.append(f"w={size[0]}:h={size[1]}")
    options.append(f"flags={SWS_FLAGS}")
    return [("scale", ":".join(options)), ("format", pixel_format)]


def expansion_shift(colour: Colour, pixel_format: str) -> int | None:
    """The shift expand_16bit needs after swscale made 16-bit RGB of this source; None where white is 65535 already."""
    bits = bit_depth(pixel_format)
    if not av.VideoFormat(pixel_format).is_rgb and colour.range == "limited":
        return SWS_WHITE_SHIFT
    return bits if bits < 16 else None


def alpha_shift(pixel_format: str) -> int | None:
    """The shift expand_16bit needs for the alpha plane of this source; opacity is always full range."""
    bits = bit_depth(pixel_format)
    return bits if bits < 16 else None


def expand_16bit(plane: np.ndarray, shift: int | None, out: np.ndarray) -> None:
    """Write swscale's 16-bit values to `out` with white at 65535: the top `shift` bits are repeated below."""
    if shift is None:
        out[...] = plane
        return
    clipped = np.minimum(plane, np.uint16((1 << 16) - (1 << (16 - shift))))
    np.add(clipped, clipped >> np.uint16(shift), out=out)


def contract_16bit(frames: np.ndarray) -> np.ndarray:
    """Full-scale uint16 RGB as swscale reads it when it makes YUV (white 65280), to the nearest value."""
    high, low = frames >> np.uint16(8), frames & np.uint16(255)
    # x · 256/257 rounded: subtract (x + 128) // 257, which is the high byte or a neighbour of it
    return frames - high - (low > high + np.uint16(128)) + (low + np.uint16(128) < high)


def bit_depth(pixel_format: str) -> int:
    """Bits of the deepest component."""
    components = av.VideoFormat(pixel_format).components
    return 8 if pixel_format == "pal8" else max((part.bits for part in components), default=8)


def has_alpha(pixel_format: str) -> bool:
    """True when pixels of this format carry opacity."""
    return pixel_format == "pal8" or any(part.is_alpha for part in av.VideoFormat(pixel_format).components)


def _decide_matrix(tags: ColourTags, pixel_format: str, size: tuple[int, int], transfer: Transfer,
                   metadata: Mapping[str, str]) -> tuple[Matrix, DecidedBy]:  # fmt: skip
    if av.VideoFormat(pixel_format).is_rgb or pixel_format == "pal8":
        return "rgb", "pixel format"
    if tags.matrix in MATRIX_CODES and tags.matrix != 0:
        return MATRIX_CODES[tags.matrix], "tag"
    if transfer != "sdr":
        return "bt2020", "default"
    untagged = {tags.primaries, tags.transfer} <= {0, UNSPECIFIED}
    if untagged and COMFYUI_TAGS & {key.lower() for key in metadata}:
        return "bt601", "comfyui"  # ComfyUI's own savers convert with BT.601 and tag nothing
    if tags.primaries == 9:
        return "bt2020", "tag"
    is_sd = size[1] < HD_HEIGHT and size[0] < HD_WIDTH
    return ("bt601" if is_sd else "bt709"), "size"


def _decide_range(tags: ColourTags, pixel_format: str, codec: str) -> tuple[Range, DecidedBy]:
    pixels = av.VideoFormat(pixel_format)
    if pixels.is_rgb or pixel_format == "pal8" or pixel_format.startswith("yuvj"):
        return "full", "pixel format"
    if tags.range in RANGE_CODES:
        return RANGE_CODES[tags.range], "tag"
    if _is_gray(pixel_format) and codec in FULL_RANGE_GRAY_CODECS:
        return "full", "pixel format"
    return "limited", "default"


def _decide_primaries(tags: ColourTags, matrix: Matrix, size: tuple[int, int]) -> tuple[Primaries, DecidedBy]:
    if tags.primaries in PRIMARIES_CODES:
        return PRIMARIES_CODES[tags.primaries], "tag"
    if matrix == "bt601" and size[1] in PAL_HEIGHTS:
        return "bt601-625", "size"
    return PRIMARIES_OF_MATRIX[matrix], "matrix"


def _sws_matrix(matrix: Matrix) -> str:
    return "bt709" if matrix == "rgb" else matrix


def _chroma_options(side: str, pixel_format: str, position: tuple[int, int]) -> list[str]:
    components = av.VideoFormat(pixel_format, 64, 64).components
    if all((part.width, part.height) == (64, 64) for part in components):
        return []
    return [f"{side}_h_chr_pos={position[0]}", f"{side}_v_chr_pos={position[1]}"]


def _is_gray(pixel_format: str) -> bool:
    return pixel_format.startswith(("gray", "ya8", "ya16", "mono"))


def _is_taken_as_full(pixel_format: str) -> bool:
    """True for formats swscale reads as full range whatever it is told."""
    return pixel_format.startswith("yuvj") or _is_gray(pixel_format)


def _relabel_as_limited(pixel_format: str) -> list[Filter]:
    """The same code values under a format whose range swscale believes."""
    if pixel_format.startswith("yuvj"):
        plain = pixel_format.replace("yuvj", "yuv")
    else:
        bits = bit_depth(pixel_format)
        alpha = "a" if has_alpha(pixel_format) else ""
        plain = f"yuv{alpha}444p" + ("" if bits == 8 else f"{bits}le")
    return [("scale", SAME_VALUES), ("format", plain), ("setparams", "range=limited")]
