"""Code values become the right RGB, on every PyAV, whatever the tags say or leave out."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import av
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media import colour as colours
from seedvr2_anywhere.media.colour import ColourTags, decide_colour
from seedvr2_anywhere.media.convert import RgbConverter
from seedvr2_anywhere.media.pipeline import Treatment
from source_clips import (
    LOSSLESS,
    MATRIX_TAG,
    PATCHES,
    Clip,
    card,
    frame_of,
    patch_means,
    read_all,
    to_yuv,
    write_clip,
)

LIMIT = 3 / 255
SD, HD = (256, 96), (1280, 720)
FORMATS = {8: "yuv420p", 10: "yuv420p10le"}
TAGGED = ("bt601", "bt709", "bt2020")


def write_card(path, matrix, tag, full, bits, size=SD, pixel_format=None, chroma=(2, 2), codec="libx264", **more):
    planes = to_yuv(card(*size), matrix, full, bits, chroma)
    tags = {"colorspace": MATRIX_TAG[tag], "color_range": 2 if full else 1}
    return write_clip(path, Clip([planes] * 2, pixel_format or FORMATS[bits], codec=codec, options=LOSSLESS[codec],
                                 tags=tags, **more))  # fmt: skip


def assert_card(reader, limit=LIMIT):
    frames, _ = read_all(reader)
    errors = np.abs(patch_means(frames[0]) - PATCHES).max(1)
    assert errors.max() <= limit, f"errors in 255ths by patch: {np.round(errors * 255, 2)}"


@pytest.mark.parametrize(("tag", "full", "bits"), product((None, "bt601", "bt709", "bt2020"), (False, True), (8, 10)))
def test_card_reads_right_for_every_tag_range_and_depth(tmp_path, tag, full, bits):
    path = write_card(tmp_path / "card.mp4", tag or "bt601", tag, full, bits)
    reader = media.read(path)
    assert reader.colour.matrix == (tag or "bt601") and reader.colour.range == ("full" if full else "limited")
    assert_card(reader)


@pytest.mark.parametrize("bits", [8, 10])
def test_untagged_hd_is_read_as_bt709(tmp_path, bits):
    path = write_card(tmp_path / "card.mkv", "bt709", None, False, bits, size=HD)
    assert media.probe(path).colour.matrix_by == "size"
    assert_card(media.read(path))


def test_untagged_files_of_comfyui_are_read_as_it_wrote_them(tmp_path):
    path = write_card(tmp_path / "card.mkv", "bt601", None, False, 8, size=HD, metadata={"prompt": "{}"})
    assert media.probe(path).colour.matrix_by == "comfyui"
    assert_card(media.read(path))


@pytest.mark.parametrize(("bits", "format_", "chroma"), [
    (8, "yuv444p", (1, 1)), (8, "yuv422p", (2, 1)), (10, "yuv422p10le", (2, 1)), (10, "yuv444p10le", (1, 1)),
])  # fmt: skip
def test_other_chroma_samplings_read_right(tmp_path, bits, format_, chroma):
    path = write_card(tmp_path / "card.mkv", "bt709", "bt709", False, bits, pixel_format=format_, chroma=chroma)
    assert_card(media.read(path))


@pytest.mark.parametrize(("matrix", "range_"), [("bt601", "limited"), ("bt709", "full"), ("bt2020", "limited")])
def test_overrides_win_over_wrong_tags(tmp_path, matrix, range_):
    wrong = "bt709" if matrix == "bt601" else "bt601"
    planes = to_yuv(card(*SD), matrix, range_ == "full", 8)
    tags = {"colorspace": MATRIX_TAG[wrong], "color_range": 1 if range_ == "full" else 2}
    path = write_clip(tmp_path / "card.mp4", Clip([planes], tags=tags))
    reader = media.read(path, treatment=Treatment(color_matrix=matrix, color_range=range_))
    assert (reader.colour.matrix_by, reader.colour.range_by) == ("override", "override")
    assert_card(reader)


def test_override_to_limited_reaches_jpeg_formats(tmp_path):
    planes = to_yuv(card(*SD), "bt601", False, 8)
    path = write_clip(tmp_path / "card.avi", Clip([planes], "yuvj420p", codec="mjpeg", options={"qmin": "1", "q": "1"}))
    assert media.probe(path).colour.range == "full"
    assert_card(media.read(path, treatment=Treatment(color_range="limited")), limit=5 / 255)  # lossy: q 1 is near 2/255


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_gray_covers_the_whole_scale_in_both_ranges(bits, full):
    top, unit = (1 << bits) - 1, 1 << (bits - 8)
    levels = [0, top] if full else [16 * unit, 235 * unit]
    plane = np.repeat(np.array([levels]), 32, axis=0).repeat(32, axis=1).astype(np.uint8 if bits == 8 else np.uint16)
    name = "gray" if bits == 8 else f"gray{bits}le"
    colour = media.Colour(range="full" if full else "limited")
    out = np.empty((32, 64, 3), np.uint8 if bits == 8 else np.uint16)
    RgbConverter(colour, "h264", (64, 32), 0, False, bits > 8).write(frame_of([plane], name), out, None)
    white = np.iinfo(out.dtype).max
    rounding = max(2, white // 1000)  # swscale makes up the missing chroma, on PyAV 16 a code value off at 8 bit
    assert out[:, :30].max() <= rounding and out[:, 34:].min() >= white - rounding


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("format_", "bits"), [("yuv420p10le", 10), ("yuv444p12le", 12), ("yuv444p16le", 16)])
def test_deep_sources_reach_black_and_white_exactly_and_hold_their_precision(format_, bits, full):
    chroma = (2, 2) if "420" in format_ else (1, 1)
    planes = to_yuv(card(*SD), "bt709", full, bits, chroma)
    colour = media.Colour(range="full" if full else "limited")
    out = np.empty((SD[1], SD[0], 3), np.uint16)
    RgbConverter(colour, "h264", SD, 0, False, True).write(frame_of(planes, format_), out, None)
    means = patch_means(out) * 65535
    assert np.array_equal(means[0], [65535] * 3) and np.array_equal(means[2], [0] * 3), means
    step = 65535 / (1 << bits)  # one code value of the source, which rounding may cost in each of three planes
    assert np.abs(means - PATCHES * 65535).max() <= 2.2 * step + 12, np.abs(means - PATCHES * 65535).max()


@pytest.mark.parametrize("format_", ["rgb24", "gbrp", "bgra", "rgb48le", "gbrp10le", "gbrp12le", "gbrp16le"])
def test_rgb_sources_pass_unchanged(format_):
    rng = np.random.default_rng(0)
    bits = colours.bit_depth(format_)
    top, kind = (1 << bits) - 1, np.uint8 if bits == 8 else np.uint16
    values = rng.integers(0, top + 1, (24, 40, 4)).astype(kind)
    if format_.startswith("gbrp"):
        frame = frame_of([values[..., 1], values[..., 2], values[..., 0]], format_)
    else:
        channels = {"rgb24": [0, 1, 2], "rgb48le": [0, 1, 2], "bgra": [2, 1, 0, 3]}[format_]
        packed = values[..., channels]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(packed), format_)
    out = np.empty((24, 40, 3), kind)
    colour = media.Colour(matrix="rgb", range="full")
    RgbConverter(colour, "ffv1", (40, 24), 0, False, bits > 8).write(frame, out, None)
    scale = 1 if bits == 8 else 65535 / top
    assert np.abs(out - values[..., :3] * scale).max() <= (0 if bits == 8 else 1)


@pytest.mark.parametrize("width", [33, 64, 86, 129, 322])
@pytest.mark.parametrize("deep", [False, True])
def test_every_width_converts_like_a_padded_one(width, deep):
    """Widths off 32 must not read beyond their rows: the same pixels come from a wider frame."""
    rng = np.random.default_rng(width)
    height, wide = 34, (width + 95) // 64 * 64
    unit = 4 if deep else 1
    kind, name = (np.uint16, "yuv444p10le") if deep else (np.uint8, "yuv444p")
    planes = [rng.integers(16 * unit, 235 * unit, (height, wide)).astype(kind) for _ in range(3)]
    results = []
    for size in (width, wide):
        out = np.empty((height, size, 3), np.uint16 if deep else np.uint8)
        converter = RgbConverter(media.Colour(), "h264", (size, height), 0, False, deep)
        converter.write(frame_of([plane[:, :size] for plane in planes], name), out, None)
        results.append(out[:, :width])
    assert np.array_equal(*results)


def test_chroma_sits_left_of_its_pixels_as_encoders_put_it():
    """A colour ramp keeps its place: a quarter-pixel shift is what repeated generations would add up."""
    width, height = 128, 64
    luma = np.full((height, width), 126, np.uint8)
    flat = np.full((height // 2, width // 2), 128, np.uint8)
    ramp = np.tile(80 + np.arange(width // 2, dtype=np.uint8), (height // 2, 1))
    out = np.empty((height, width, 3), np.uint16)
    colour = media.Colour(range="full")
    RgbConverter(colour, "h264", (width, height), 0, False, True).write(
        frame_of([luma, flat, ramp], "yuv420p"), out, None
    )
    red = out[height // 2, :, 0] / 257
    value = (red - 126) / (2 * (1 - 0.2126)) + 128 - 80  # chroma found at each luma pixel
    offset = (value - np.arange(width) / 2)[40:88].mean()
    assert abs(offset) < 0.02, f"{offset:+.3f} chroma pixels off"


def test_sixteen_bit_scale_goes_to_swscale_and_back_within_rounding():
    values = np.arange(65536, dtype=np.uint16)
    narrow = colours.contract_16bit(values)
    assert np.abs(narrow - values.astype(np.float64) * 65280 / 65535).max() <= 0.5
    back = np.empty_like(values)
    colours.expand_16bit(narrow, 8, back)
    assert np.abs(back.astype(int) - values).max() <= 2 and back[0] == 0 and back[-1] == 65535


DECISIONS = [
    # tags (matrix, primaries, transfer, range), format, codec, size → matrix, by, range, transfer
    (ColourTags(), "yuv420p", "h264", (720, 480), "bt601", "size", "limited", "sdr"),
    (ColourTags(), "yuv420p", "h264", (1920, 1080), "bt709", "size", "limited", "sdr"),
    (ColourTags(), "yuv420p", "h264", (1280, 536), "bt709", "size", "limited", "sdr"),
    (ColourTags(), "yuvj420p", "mjpeg", (640, 480), "bt601", "size", "full", "sdr"),
    (ColourTags(5, 5, 1, 1), "yuv420p", "h264", (1920, 1080), "bt601", "tag", "limited", "sdr"),
    (ColourTags(9, 9, 16, 1), "yuv420p10le", "hevc", (3840, 2160), "bt2020", "tag", "limited", "pq"),
    (ColourTags(9, 9, 18, 1), "yuv420p10le", "hevc", (1920, 1080), "bt2020", "tag", "limited", "hlg"),
    (ColourTags(2, 2, 16, 0), "yuv420p10le", "hevc", (1280, 720), "bt2020", "default", "limited", "pq"),
    (ColourTags(0, 1, 13, 2), "gbrp", "h264", (1280, 720), "rgb", "pixel format", "full", "sdr"),
    (ColourTags(2, 2, 2, 0), "pal8", "gif", (320, 240), "rgb", "pixel format", "full", "sdr"),
    (ColourTags(1, 1, 1, 2), "yuv420p", "h264", (640, 480), "bt709", "tag", "full", "sdr"),
]


@pytest.mark.parametrize(("tags", "format_", "codec", "size", "matrix", "by", "range_", "transfer"), DECISIONS)
def test_decision_names_what_it_rests_on(tags, format_, codec, size, matrix, by, range_, transfer):
    found = decide_colour(tags, format_, codec, size)
    assert (found.matrix, found.matrix_by, found.range, found.transfer) == (matrix, by, range_, transfer)


def test_what_a_writer_tags_is_read_back_as_the_same_colour():
    for matrix, range_, transfer in product(TAGGED, ("limited", "full"), ("sdr", "pq", "hlg")):
        meant = media.Colour(matrix, range_, transfer, colours.PRIMARIES_OF_MATRIX[matrix])
        found = decide_colour(colours.tags_of(meant), "yuv420p10le", "hevc", (640, 480))
        assert (found.matrix, found.range, found.transfer, found.primaries) == (
            meant.matrix, meant.range, meant.transfer, meant.primaries)  # fmt: skip


@pytest.mark.parametrize("matrix", sorted(colours.REFUSED_MATRICES))
def test_matrices_without_an_exact_way_back_are_refused_by_name(matrix):
    with pytest.raises(media.Unsupported, match="coded as"):
        decide_colour(ColourTags(matrix), "yuv420p", "h264", (640, 480))


def test_hdr_comes_as_code_values_with_its_tags(tmp_path):
    planes = to_yuv(card(*SD), "bt2020", False, 10)
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    # not one frame alone: libx265 then leaves its decoding time to chance
    path = write_clip(tmp_path / "pq.mkv", Clip([planes] * 4, "yuv420p10le", codec="libx265",
                                                options=LOSSLESS["libx265"], tags=tags))  # fmt: skip
    reader = media.read(path)
    assert (reader.colour.transfer, reader.colour.primaries, reader.colour.is_hdr) == ("pq", "bt2020", True)
    assert_card(reader)


def test_eight_bits_on_request_from_deep_sources(tmp_path):
    path = write_card(tmp_path / "card.mkv", "bt709", "bt709", False, 10)
    reader = media.read(path, treatment=Treatment(bits=8))
    frames, _ = read_all(reader)
    assert frames.dtype == np.uint8
    assert np.abs(patch_means(frames[0]) - PATCHES).max() <= LIMIT


def test_rate_is_exact():
    assert media.snap_rate(23.976) == Fraction(24000, 1001)
