"""Pictures through Pillow: GIF, APNG and animated WebP, single images turned by their EXIF, folders of images.

Animations keep their own frame times. A folder is a clip at 24 frames a second in the natural order of its names.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image, ImageOps

from .convert import RgbConverter
from .description import Colour, Kind, Loss, MediaInfo, UnreadableFile, Unsupported
from .selection import Timed
from .source import check_size
from .timing import measure_timing

# first bytes of the kinds Pillow reads here; everything else goes to libavformat
SIGNATURES = (b"GIF87a", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
BITMAP = re.compile(rb"^BM.{4}\0\0\0\0", re.DOTALL)
WEBP = re.compile(rb"^RIFF.{4}WEBP", re.DOTALL)
MOTION_JPEG = (".mjpeg", ".mjpg", ".mjp")
FOLDER_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
FOLDER_RATE = Fraction(24)  # a folder says nothing; film's rate, as image sequences are usually meant
STILL_RATE = Fraction(1)
GIF_TICK = Fraction(1, 100)  # GIF counts in hundredths of a second
TICK = Fraction(1, 1000)
SHORTEST_MS, SHOWN_INSTEAD_MS = 10, 100  # browsers show frames of no more than 10 ms for 100 ms
TIMED_FRAMES = 256  # frames whose times are looked at before anything is read
RGB_COLOUR = Colour(matrix="rgb", range="full", matrix_by="pixel format", range_by="pixel format")
# everything Pillow's decoders raise on damaged files
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error,
                 OverflowError, MemoryError, Image.DecompressionBombError)  # fmt: skip
PNG_DEPTH_AT, PNG_COLOUR_AT = 24, 25  # bytes of the header that hold bits per channel and kind of colour


@dataclass(frozen=True)
class _Pace:
    """When the pictures of a source are shown."""

    rate: Fraction
    is_vfr: bool
    base: Fraction  # seconds per tick
    count: int
    duration: Fraction  # seconds


def is_picture(path: Path) -> bool:
    """True for files that begin like an image Pillow reads; a stream of JPEGs does too and is told by its name."""
    if path.suffix.lower() in MOTION_JPEG:
        return False
    with path.open("rb") as file:
        head = file.read(16)
    return head.startswith(SIGNATURES) or bool(BITMAP.match(head) or WEBP.match(head))


def folder_images(folder: Path) -> list[Path]:
    """The images of a folder in natural order (2 before 10)."""
    images = [file for file in folder.iterdir() if file.suffix.lower() in FOLDER_EXTENSIONS and file.is_file()]
    return sorted(images, key=_natural_key)


def probe_picture(path: Path) -> MediaInfo:
    """What an image, an animation or a folder of images holds. Raises UnreadableFile and Unsupported."""
    if path.is_dir():
        return _probe_folder(path)
    with _opened(path) as image:
        count = _frame_count(image, path)
        first = _upright(image)
        ticks, duration = _times(image, path, count)
        timing = measure_timing([ticks], _tick_of(image), [])
        name = (image.format or "image").lower()
    deep = _is_deep(path, first)
    if count == 1:
        return _describe(path, "image", name, first, deep, _Pace(STILL_RATE, False, TICK, 1, 1 / STILL_RATE))
    pace = _Pace(timing.rate, timing.is_vfr, _tick_named(name), count, duration)
    return _describe(path, "animation", name, first, deep, pace)


class PictureSource:
    """Pictures of a file or folder as arrays; `losses` and `notes` fill while frames are taken."""

    def __init__(self, path: Path, info: MediaInfo) -> None:
        self.losses: list[Loss] = []
        self.notes: list[str] = []
        self._path, self._info = path, info

    def frames(self, start: int = 0) -> Iterator[Timed[np.ndarray]]:
        """RGBA arrays [H, W, 4], uint8 or uint16, with ticks of the info's time base. `start` is not needed here."""
        if self._path.is_dir():
            return self._folder_frames()
        if self._info.kind == "image":
            whole = round(self._info.duration / self._info.time_base) if self._info.duration else 1
            return iter([Timed(_read_still(self._path), 0, whole)])
        return self._animation_frames()

    def _animation_frames(self) -> Iterator[Timed[np.ndarray]]:
        base, elapsed = self._info.time_base, 0.0
        with _opened(self._path) as image:
            for index in range(self._info.frame_count or 1):
                pixels = self._frame_at(image, index, elapsed)
                if pixels is None:
                    return
                tick, length = _to_ticks(elapsed, base), _shown_ms(image)
                elapsed += length
                yield Timed(pixels, tick, max(1, _to_ticks(elapsed, base) - tick))

    def _frame_at(self, image: Image.Image, index: int, elapsed: float) -> np.ndarray | None:
        """A frame as RGBA; None, and a loss noted, when the file is damaged from here on."""
        try:
            image.seek(index)
            return self._within_screen(_rgba(image))
        except PILLOW_ERRORS as error:
            if index == 0:
                raise UnreadableFile(f"{self._path.name}: no picture of it can be read ({error}).") from error
            missing = (self._info.frame_count or index) - index
            at = Fraction(round(elapsed), 1000)
            self.losses.append(Loss(at, None, missing, f"the file is damaged ({_reason(error)})"))
            return None

    def _within_screen(self, pixels: np.ndarray) -> np.ndarray:
        """A picture cut to the animation's size: Pillow lets one that reaches beyond it grow. Raises ValueError."""
        width, height = self._info.size
        if pixels.shape[0] < height or pixels.shape[1] < width:
            raise ValueError("a picture has another size")
        return pixels[:height, :width]

    def _folder_frames(self) -> Iterator[Timed[np.ndarray]]:
        step = round(1 / (FOLDER_RATE * self._info.time_base))
        index = 0
        for file in folder_images(self._path):
            try:
                pixels = _read_still(file)
            except UnreadableFile as error:
                at = Fraction(index) / FOLDER_RATE
                self.losses.append(Loss(at, at + 1 / FOLDER_RATE, 1, str(error)))
                continue
            yield Timed(self._fitted(pixels, file), index * step, step)
            index += 1

    def _fitted(self, pixels: np.ndarray, file: Path) -> np.ndarray:
        width, height = self._info.size
        if pixels.shape[:2] != (height, width):
            self.notes.append(f"{file.name} has another size and was resized to {width} × {height}.")
            narrow = _to_8bit(pixels)
            pixels = np.asarray(Image.fromarray(narrow, "RGBA").resize((width, height), Image.Resampling.LANCZOS))
        is_deep = self._info.bit_depth > 8
        if is_deep and pixels.dtype == np.uint8:
            return pixels.astype(np.uint16) * np.uint16(257)
        return pixels if is_deep else _to_8bit(pixels)


def write_picture(pixels: np.ndarray, rgb: np.ndarray, alpha: np.ndarray | None) -> None:
    """Copy an RGBA picture [H, W, 4] into `rgb` [H, W, 3] and `alpha` [H, W]."""
    if pixels.dtype != rgb.dtype:
        pixels = _to_8bit(pixels) if rgb.dtype == np.uint8 else pixels.astype(np.uint16) * np.uint16(257)
    rgb[...] = pixels[..., :3]
    if alpha is not None:
        alpha[...] = pixels[..., 3]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise Unsupported(f"{path.name}: {error} Make the picture smaller first.") from error
    except PILLOW_ERRORS as error:
        raise UnreadableFile(f"{path.name} cannot be read as an image: {_reason(error)}. Fetch it again.") from error
    with closing(image):
        check_size(image.width, image.height, path.name)
        yield image


def _probe_folder(folder: Path) -> MediaInfo:
    images = folder_images(folder)
    if not images:
        raise UnreadableFile(f"{folder.name} holds no images and no DVD title. Choose a file, or a folder with some.")
    first = probe_picture(images[0])
    with _opened(images[0]) as image:
        upright = _upright(image)
    pace = _Pace(FOLDER_RATE, False, 1 / FOLDER_RATE, len(images), len(images) / FOLDER_RATE)
    return _describe(folder, "folder", first.container, upright, first.bit_depth > 8, pace)


def _describe(path: Path, kind: Kind, name: str, image: Image.Image, deep: bool, pace: _Pace) -> MediaInfo:
    transparent = image.has_transparency_data
    return MediaInfo(
        path=path, kind=kind, container=name, codec=name, pixel_format="rgba" if transparent else "rgb24",
        stream_index=-1, coded_size=image.size, size=image.size, square_size=image.size, sample_aspect=Fraction(1),
        rotation=0, is_mirrored=False, rate=pace.rate, is_vfr=pace.is_vfr, time_base=pace.base, start=Fraction(0),
        duration=pace.duration, frame_count=pace.count, frame_count_exact=True, colour=RGB_COLOUR,
        bit_depth=16 if deep else 8,
        has_alpha=transparent, alpha_index=None, scan="progressive", top_field_first=True, tags=_text_tags(image),
    )  # fmt: skip


def _text_tags(image: Image.Image) -> dict[str, str]:
    """Texts stored in the file, such as ComfyUI's `prompt` and `workflow` in PNGs."""
    return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def _frame_count(image: Image.Image, path: Path) -> int:
    try:
        return getattr(image, "n_frames", 1)
    except PILLOW_ERRORS as error:
        raise UnreadableFile(f"{path.name} is damaged: {_reason(error)}. Fetch it again.") from error


def _times(image: Image.Image, path: Path, count: int) -> tuple[list[int], Fraction]:
    """Ticks of the first frames, and the length of all of them, the rest taken to go on at the same pace."""
    elapsed, ticks, base = 0.0, [], _tick_of(image)
    seen = min(count, TIMED_FRAMES)
    for index in range(seen):
        try:
            image.seek(index)
            image.load()
        except PILLOW_ERRORS as error:
            if index == 0:
                raise UnreadableFile(f"{path.name}: no picture of it can be read ({_reason(error)}).") from error
            seen = index
            break
        ticks.append(_to_ticks(elapsed, base))
        elapsed += _shown_ms(image)
    total = Fraction(round(elapsed * 1000), 1_000_000) * Fraction(count, max(1, seen))
    return ticks, total


def _shown_ms(image: Image.Image) -> float:
    stated = float(image.info.get("duration") or 0)
    return stated if stated > SHORTEST_MS else SHOWN_INSTEAD_MS


def _to_ticks(milliseconds: float, base: Fraction) -> int:
    return round(Fraction(round(milliseconds * 1000), 1_000_000) / base)


def _tick_of(image: Image.Image) -> Fraction:
    return _tick_named((image.format or "").lower())


def _tick_named(name: str) -> Fraction:
    return GIF_TICK if name == "gif" else TICK


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image) or image
    except PILLOW_ERRORS as error:
        raise UnreadableFile(f"The image is damaged: {_reason(error)}. Fetch it again.") from error


def _rgba(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))


def _read_still(path: Path) -> np.ndarray:
    with _opened(path) as image:
        upright = _upright(image)
        if _is_deep(path, upright):
            return _deep_gray(upright) if upright.mode.startswith("I") else _deep_png(path, upright.size)
        try:
            return _rgba(upright)
        except PILLOW_ERRORS as error:
            raise UnreadableFile(f"{path.name} is damaged: {_reason(error)}. Fetch it again.") from error


def _is_deep(path: Path, image: Image.Image) -> bool:
    """True for 16 bits a channel: greyscale, which Pillow keeps, and colour PNGs, which it would cut to 8."""
    if image.mode.startswith("I;16"):
        return True
    with path.open("rb") as file:
        head = file.read(PNG_COLOUR_AT + 1)
    return head.startswith(b"\x89PNG") and len(head) > PNG_COLOUR_AT and head[PNG_DEPTH_AT] == 16


def _deep_gray(image: Image.Image) -> np.ndarray:
    gray = np.asarray(image).astype(np.uint16)
    return np.stack([gray, gray, gray, np.full_like(gray, 65535)], axis=-1)


def _deep_png(path: Path, size: tuple[int, int]) -> np.ndarray:
    pixels = np.empty((size[1], size[0], 4), np.uint16)
    converter = RgbConverter(RGB_COLOUR, "png", size, 0, mirrored=False, deep=True)
    try:
        with av.open(str(path), "r", format="png_pipe") as container:
            frame = next(container.decode(video=0))
            converter.write(frame, pixels[..., :3], pixels[..., 3])
    except (av.error.FFmpegError, StopIteration) as error:
        raise UnreadableFile(f"{path.name} is damaged: {_reason(error)}. Fetch it again.") from error
    return pixels


def _to_8bit(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
