"""The formats that can be written, as a table: container, encoder, pixel formats, quality steps, what fits in.

Quality steps are constant rate factors of each encoder, or its quality number. "near lossless" is for work that goes
on: eight generations of real pictures in H.264 then move by 0.5/255 on average (benchmarks/media_generations.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from .description import WriteFailed
from .output import Encoding

MATROSKA_TICK = Fraction(1, 1000)  # Matroska and WebM, as FFmpeg writes them
GIF_TICK = Fraction(1, 100)
MP4_TICK = Fraction(1, 10**6)  # finer ones make offsets between decoding and showing that players refuse (2^28 ticks)
GIF_FASTEST = Fraction(50)  # browsers slow down frames shorter than 2/100 s
X265_NARROWEST = 64  # below about 56 pixels the x265 in PyAV's wheels (16.0 to 18.1) writes past its memory
INTERMEDIATE_CRF = 12  # the worst an intermediate may be

MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "mp2", "dts"})
PCM = frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le"})
MATROSKA_AUDIO = MP4_AUDIO | PCM - {"pcm_s24be", "pcm_s32be"} | {"vorbis", "truehd", "wavpack", "tta"}
WEBM_AUDIO = frozenset({"opus", "vorbis"})
LOSSLESS_AUDIO = PCM | {"flac", "alac", "truehd", "wavpack", "tta"}
MATROSKA_SUBTITLES = frozenset(
    {"subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "hdmv_text_subtitle"}
)


@dataclass(frozen=True)
class Container:
    """What a container can hold besides pictures."""

    muxer: str
    suffix: str
    tick: Fraction  # finest time step
    audio: frozenset[str] = frozenset()  # codecs that can be copied as packets
    audio_encoder: str | None = None  # where sound must be encoded
    lossless_encoder: str | None = None  # the same for a lossless source
    subtitles: frozenset[str] = frozenset()
    has_tags: bool = True
    has_edit_list: bool = False  # a trim at the start can be expressed without touching packets
    is_fragmented: bool = False  # written in fragments, settled into a plain file with its index in front at the end


@dataclass(frozen=True)
class Pixels:
    """FFmpeg pixel formats of one bit depth."""

    plain: str
    full_chroma: str | None = None  # 4:4:4
    alpha: str | None = None


@dataclass(frozen=True)
class Format:
    """One line of the table."""

    name: str
    container: Container
    codec: str
    pixels: Mapping[int, Pixels]
    crf: Mapping[str, int] = field(default_factory=dict)  # empty: quality does not apply
    options: Mapping[str, str] = field(default_factory=dict)
    finest: Mapping[str, str] = field(default_factory=dict)  # more of the same, at near lossless
    speed_option: str = "preset"
    speed: str = ""
    codec_tag: str | None = None
    nvenc: str | None = None
    narrowest: int = 1  # pixels

    @property
    def is_rgb(self) -> bool:
        """True when pixels are stored as RGB, so that no matrix applies."""
        return not self.pixels[min(self.pixels)].plain.startswith(("yuv", "gray"))

    @property
    def has_alpha(self) -> bool:
        return any(pixels.alpha for pixels in self.pixels.values())


MP4 = Container("mp4", ".mp4", MP4_TICK, MP4_AUDIO, "aac", "aac", frozenset({"mov_text"}),
                has_edit_list=True, is_fragmented=True)  # fmt: skip
MOV = Container("mov", ".mov", MP4_TICK, MP4_AUDIO - {"opus", "flac"} | PCM, "pcm_s24le", "pcm_s24le",
                frozenset({"mov_text"}), has_edit_list=True, is_fragmented=True)  # fmt: skip
MKV = Container("matroska", ".mkv", MATROSKA_TICK, MATROSKA_AUDIO, "aac", "flac", MATROSKA_SUBTITLES)
WEBM = Container("webm", ".webm", MATROSKA_TICK, WEBM_AUDIO, "libopus", "libopus", frozenset({"webvtt"}))
GIF = Container("gif", ".gif", GIF_TICK, has_tags=False)
WEBP = Container("webp", ".webp", MATROSKA_TICK, has_tags=False)
PNG_FOLDER = Container("", "", MP4_TICK, has_tags=False)

YUV_8 = Pixels("yuv420p", "yuv444p")
YUV_10 = Pixels("yuv420p10le", "yuv444p10le")
H264_CRF = {"small": 24, "good": 20, "high": 16, "near lossless": 2}
H265_CRF = {"small": 27, "good": 22, "high": 17, "near lossless": 4}
AV1_CRF = {"small": 42, "good": 32, "high": 22, "near lossless": 8}
VP9_CRF = {"small": 40, "good": 30, "high": 20, "near lossless": 6}
WEBP_QUALITY = {"small": 60, "good": 80, "high": 92, "near lossless": 100}
# x264's own 40 frames of look-ahead hold 160 MB more at 1080p than these 16 (benchmarks/media_memory.py)
# adaptive B-frames under several threads make x264 decide by chance (packets differ from run to run, seen from 720p on)
CLOSED_GROUPS = {"x264-params": "open-gop=0:rc-lookahead=16:b-adapt=0"}
QUIET_X265 = {"x265-params": "log-level=error:open-gop=0"}
# near lossless: bits for every frame alike, and finer steps for colour, which RGB magnifies. x265 is lossless then: its
# finest steps that still lose make larger files of animation, and move far more in eight generations
FINEST_X264 = {"x264-params": "mbtree=0:aq-mode=0:psy=0:chroma-qp-offset=-6"}
FINEST_X265 = {"x265-params": "lossless=1"}
# profile numbers of FFmpeg's prores_ks; 4444 and 4444xq keep alpha in 16 bit
PRORES_PROFILES = {"lt": "1", "standard": "2", "hq": "3", "4444": "4", "4444xq": "5"}

FORMATS: dict[str, Format] = {
    line.name: line
    for line in (
        Format("MP4 H.264", MP4, "libx264", {8: Pixels("yuv420p")}, H264_CRF, CLOSED_GROUPS,
               FINEST_X264, speed="medium", nvenc="h264_nvenc"),
        Format("MP4 H.265", MP4, "libx265", {8: YUV_8, 10: YUV_10}, H265_CRF, QUIET_X265,
               FINEST_X265, speed="medium", codec_tag="hvc1", nvenc="hevc_nvenc", narrowest=X265_NARROWEST),
        Format("MKV H.265", MKV, "libx265", {8: YUV_8, 10: YUV_10}, H265_CRF, QUIET_X265,
               FINEST_X265, speed="medium", nvenc="hevc_nvenc", narrowest=X265_NARROWEST),
        Format("WebM AV1", WEBM, "libsvtav1", {8: Pixels("yuv420p"), 10: Pixels("yuv420p10le")}, AV1_CRF, {},
               speed="7", nvenc="av1_nvenc"),
        Format("WebM VP9", WEBM, "libvpx-vp9", {8: Pixels("yuv420p", "yuv444p", "yuva420p")}, VP9_CRF,
               {"b": "0", "deadline": "good", "row-mt": "1"}, speed_option="cpu-used", speed="3"),
        Format("MOV ProRes", MOV, "prores_ks", {10: Pixels("yuv422p10le", "yuv444p10le", "yuva444p10le")},
               options={"vendor": "apl0", "alpha_bits": "16"}),
        Format("MKV FFV1", MKV, "ffv1",
               {8: Pixels("bgr0", None, "bgra"), 10: Pixels("gbrp10le", None, "gbrap10le"),
                16: Pixels("gbrp16le", None, "gbrap16le")},
               options={"level": "3", "g": "1", "slices": "12", "slicecrc": "1"}),
        Format("GIF", GIF, "gif", {8: Pixels("pal8", None, "pal8")}),
        Format("WebP", WEBP, "libwebp_anim", {8: Pixels("bgra", None, "bgra")}, WEBP_QUALITY),
        Format("PNG sequence", PNG_FOLDER, "png",
               {8: Pixels("rgb24", None, "rgba"), 16: Pixels("rgb48be", None, "rgba64be")}),
    )
}  # fmt: skip

# what work in progress is kept in: 10 bit, so that a later encode has something to round from
INTERMEDIATE = Format(
    "intermediate", MP4, "libx264", {10: Pixels("yuv420p10le")}, {"high": INTERMEDIATE_CRF}, CLOSED_GROUPS,
    speed="veryfast",
)  # fmt: skip
INTERMEDIATE_ALPHA = "gray10le"

BY_SUFFIX = {".mp4": "MP4 H.264", ".mkv": "MKV H.265", ".webm": "WebM VP9", ".mov": "MOV ProRes", ".gif": "GIF",
             ".webp": "WebP", "": "PNG sequence"}  # fmt: skip


def format_named(name: str) -> Format:
    """The table's line of that name; raises WriteFailed with the known names."""
    if name == INTERMEDIATE.name:
        return INTERMEDIATE
    if name not in FORMATS:
        raise WriteFailed(f"There is no format {name!r}; known are {', '.join(FORMATS)}.")
    return FORMATS[name]


def encoding_for(path: Path) -> Encoding:
    """The default encoding for a file name; raises WriteFailed for a suffix no format has."""
    if path.suffix.lower() not in BY_SUFFIX:
        raise WriteFailed(f"No format is written with the suffix {path.suffix!r}; known are {', '.join(BY_SUFFIX)}.")
    return Encoding(format=BY_SUFFIX[path.suffix.lower()])


def choose_depth(line: Format, encoding: Encoding, source_bits: int) -> int:
    """Bits per component to write: the one asked for, or for auto the nearest to the source's 8 or 16."""
    if encoding.bit_depth == "auto":
        deep_enough = [bits for bits in sorted(line.pixels) if bits >= source_bits]
        return deep_enough[0] if deep_enough else max(line.pixels)
    if encoding.bit_depth not in line.pixels:
        offered = ", ".join(str(bits) for bits in sorted(line.pixels))
        raise WriteFailed(f"{line.name} has no {encoding.bit_depth}-bit; it is written with {offered} bit.")
    return encoding.bit_depth


def choose_encoder(line: Format, choice: str) -> tuple[str, str | None]:
    """(encoder, note): the graphics card's where wanted and able; raises WriteFailed where it must and cannot."""
    if choice == "cpu":
        return line.codec, None
    if line.nvenc and opens(line.nvenc):
        return line.nvenc, None
    reason = f"{line.nvenc} does not open on this machine" if line.nvenc else f"{line.name} has no NVENC encoder"
    if choice == "nvenc":
        raise WriteFailed(f"NVENC was asked for, but {reason}. Choose cpu or auto.")
    return line.codec, f"Encoded on the CPU: {reason}."


def opens(encoder: str) -> bool:
    """True when the encoder starts on this machine (a graphics card's needs its driver)."""
    try:
        context = av.CodecContext.create(encoder, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def encoder_options(line: Format, encoding: Encoding, encoder: str, has_alpha: bool) -> dict[str, str]:
    """The encoder's own options for a quality; raises WriteFailed for a profile or crf that does not exist."""
    if encoder == line.nvenc:
        return {"preset": encoding.speed or "p5", "tune": "hq", "rc": "vbr", "cq": str(_crf(line, encoding)), "b": "0"}
    options = dict(line.options)
    if line.codec == "prores_ks":
        return options | {"profile": _prores_profile(encoding.profile)}
    if line.codec == "libwebp_anim":
        lossless = "1" if encoding.quality == "near lossless" else "0"
        return options | {"quality": str(_crf(line, encoding)), "lossless": lossless}
    if encoding.quality == "near lossless" and encoding.crf < 0:
        options |= {name: f"{options[name]}:{more}" for name, more in line.finest.items()}
    if line.crf:
        options["crf"] = str(_crf(line, encoding))
    if line.speed:
        options[line.speed_option] = encoding.speed or line.speed
    if line.codec == "libvpx-vp9" and has_alpha:
        options["auto-alt-ref"] = "0"  # libvpx cannot hide reference frames in the alpha stream
    return options


def _crf(line: Format, encoding: Encoding) -> int:
    if encoding.crf < 0:
        return line.crf[encoding.quality]
    highest = {"libx264": 51, "libx265": 51, "libwebp_anim": 100}.get(line.codec, 63)
    if encoding.crf > highest:
        raise WriteFailed(f"{line.name} takes a crf from 0 to {highest}, got {encoding.crf}.")
    return encoding.crf


def _prores_profile(name: str) -> str:
    if name not in PRORES_PROFILES:
        raise WriteFailed(f"There is no ProRes profile {name!r}; known are {', '.join(PRORES_PROFILES)}.")
    return PRORES_PROFILES[name]
