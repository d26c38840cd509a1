"""What exactly is encoded: encoder, pixel format, size and tags, decided before the first frame is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from .description import Colour, Mastering, WriteFailed
from .encode_colour import Fit, Size, fit_size, written_colour, written_tags
from .mastering import encoder_words
from .output import Encoding, Picture
from .presets import INTERMEDIATE_ALPHA, Format, Pixels, choose_depth, choose_encoder, encoder_options
from .video_stream import StreamSpec

NVENC_PIXELS = {10: "p010le"}  # what NVENC takes for 10 bit; 8 bit is yuv420p as elsewhere
LARGEST_SIDE = {"WebP": 16383, "GIF": 65535}
ALPHA_PROFILES = ("4444", "4444xq")


@dataclass(frozen=True)
class StreamPlan:
    """Everything about the picture stream except its clock."""

    line: Format
    encoder: str
    pixel_format: str
    fit: Fit
    colour: Colour
    options: Mapping[str, str]
    alpha_format: str | None  # pixel format of alpha as a stream of its own
    notes: tuple[str, ...]

    def spec(self, time_base: Fraction, rate: Fraction, sample_aspect: Fraction) -> StreamSpec:
        """The picture stream's encoder settings."""
        return StreamSpec(self.encoder, self.pixel_format, self.fit.size, time_base, rate, self.options,
                          written_tags(self.colour), sample_aspect, self.line.codec_tag)  # fmt: skip

    def alpha_spec(self, time_base: Fraction, rate: Fraction) -> StreamSpec | None:
        """The same for alpha where it is a stream of its own."""
        if self.alpha_format is None:
            return None
        full = Colour(matrix="bt709", range="full")
        return StreamSpec(self.line.codec, self.alpha_format, self.fit.size, time_base, rate, self.options,
                          written_tags(full))  # fmt: skip


def plan_stream(line: Format, encoding: Encoding, picture: Picture, size: Size, source_bits: int,
                has_alpha: bool) -> StreamPlan:  # fmt: skip
    """Decide encoder, pixel format and size; raises WriteFailed where the format cannot hold what is asked."""
    notes: list[str] = []
    depth = choose_depth(line, encoding, source_bits)
    encoder, note = choose_encoder(line, encoding.encoder)
    splits_alpha = has_alpha and line.name == "intermediate"
    pixel_format = _choose_pixels(line, encoding, depth, size, has_alpha and not splits_alpha, notes)
    if encoder == line.nvenc:
        pixel_format = NVENC_PIXELS.get(depth, pixel_format)
    _check_hdr(line, picture.colour, depth)
    fit = fit_size(size, pixel_format, encoding.odd_size)
    _check_size(line, fit.size)
    options = encoder_options(line, encoding, encoder, has_alpha and _has_alpha(pixel_format))
    if picture.colour.is_hdr and picture.colour.mastering is not None:
        options = _graded(options, encoder, picture.colour.mastering, notes)
    return StreamPlan(
        line, encoder, pixel_format, fit, written_colour(picture.colour, line.is_rgb),
        options, INTERMEDIATE_ALPHA if splits_alpha else None,
        (*([note] if note else []), *notes, *_fit_notes(size, fit)),
    )  # fmt: skip


def _graded(options: dict[str, str], encoder: str, mastering: Mastering, notes: list[str]) -> dict[str, str]:
    words = encoder_words(encoder, mastering)
    if words is None:
        notes.append(f"{encoder} cannot note how the HDR picture was graded (mastering display, light levels).")
        return options
    name, text = words
    return options | {name: ":".join(part for part in (options.get(name), text) if part)}


def _choose_pixels(line: Format, encoding: Encoding, depth: int, size: Size, has_alpha: bool,
                   notes: list[str]) -> str:  # fmt: skip
    pixels = line.pixels[depth]
    if line.codec == "prores_ks":
        return _choose_prores(pixels, encoding.profile, has_alpha, notes)
    if has_alpha and pixels.alpha:
        return pixels.alpha
    if has_alpha:
        notes.append(f"{line.name} cannot hold transparency at {depth} bit: it was left out.")
    is_odd = any(
        fit_side != side for fit_side, side in zip(fit_size(size, pixels.plain, "pad").size, size, strict=True)
    )
    if encoding.odd_size == "4:4:4" and is_odd and not pixels.full_chroma:
        notes.append(f"{line.name} has no 4:4:4 here: the odd size was padded.")
    return pixels.full_chroma if encoding.odd_size == "4:4:4" and is_odd and pixels.full_chroma else pixels.plain


def _choose_prores(pixels: Pixels, profile: str, has_alpha: bool, notes: list[str]) -> str:
    if profile in ALPHA_PROFILES:
        chosen = pixels.alpha if has_alpha else pixels.full_chroma
        return chosen or pixels.plain
    if has_alpha:
        notes.append(f"ProRes {profile} cannot hold transparency: it was left out. Choose profile 4444.")
    return pixels.plain


def _check_hdr(line: Format, colour: Colour, depth: int) -> None:
    if colour.is_hdr and (depth < 10 or (line.is_rgb and line.codec != "ffv1")):
        raise WriteFailed(
            f"{line.name} with {depth} bit cannot hold HDR ({colour.transfer.upper()}). Choose H.265, AV1, ProRes or"
            " FFV1 with 10 bit, or convert to normal range first."
        )


def _check_size(line: Format, size: Size) -> None:
    if size[0] < line.narrowest:
        raise WriteFailed(
            f"{line.name} needs pictures at least {line.narrowest} pixels wide, got {size[0]} × {size[1]}."
        )
    limit = LARGEST_SIDE.get(line.name, 16384)
    if max(size) > limit:
        raise WriteFailed(f"{line.name} holds up to {limit} pixels a side, got {size[0]} × {size[1]}.")


def _fit_notes(size: Size, fit: Fit) -> list[str]:
    if fit.size == size:
        return []
    verb = "cropped" if fit.mode == "crop" else "padded by repeating the edge"
    return [f"{size[0]} × {size[1]} was {verb} to {fit.size[0]} × {fit.size[1]}: 4:2:0 needs even sizes."]


def _has_alpha(pixel_format: str) -> bool:
    return pixel_format.startswith(("yuva", "gbrap", "bgra", "rgba"))
