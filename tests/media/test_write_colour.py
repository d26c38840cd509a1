"""Colours survive writing: the right matrix, the matching tags, rounding with dither, no drift over generations."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import FILM_TICK, batches, ffmpeg_frames, ffprobe
from seedvr2_anywhere.media.description import Colour, Mastering, WriteFailed
from seedvr2_anywhere.media.dither import TILE, drop_bits, thresholds, to_depth
from seedvr2_anywhere.media.encode_colour import Converter, Fit, plane_view, written_colour
from seedvr2_anywhere.media.output import Encoding, Picture
from seedvr2_anywhere.media.probe import probe
from seedvr2_anywhere.media.read import read
from seedvr2_anywhere.media.write import write

# white, grey, black, the primaries, two mixtures
PATCHES = np.array([[255, 255, 255], [128, 128, 128], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255],
                    [204, 128, 51], [26, 153, 179]], np.uint8)  # fmt: skip
SIDE = 32
MAX_ERROR = 3  # of 255
YUV_FORMATS = ["MP4 H.264", "MP4 H.265", "MKV H.265", "WebM AV1", "WebM VP9", "MOV ProRes"]
DEEP_FORMATS = ["MP4 H.265", "MKV H.265", "WebM AV1", "MOV ProRes", "MKV FFV1"]
SUFFIXES = {"MP4": ".mp4", "MKV": ".mkv", "WebM": ".webm", "MOV": ".mov"}


def card(dtype: type = np.uint8, frames: int = 3) -> np.ndarray:
    """[T, H, W, 3] with the eight patches in two rows."""
    rows = [np.repeat(PATCHES[start : start + 4], SIDE, 0)[None].repeat(SIDE, 0) for start in (0, 4)]
    still = np.concatenate(rows)
    still = still if dtype == np.uint8 else still.astype(np.uint16) * np.uint16(257)
    return still[None].repeat(frames, 0)


def natural(frames: int) -> np.ndarray:
    """[T, H, W, 3] with fine texture in brightness and soft colours, as photographed scenes have."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: 2 * SIDE, : 4 * SIDE] / SIDE
    soft = np.stack([120 + 60 * np.sin(x), 120 + 50 * np.cos(y + x / 2), 110 + 60 * np.sin(y * 1.5)], -1)
    texture = rng.normal(0, 12, (2 * SIDE, 4 * SIDE, 1))
    still = np.clip(soft + texture, 0, 255)
    return np.stack([np.clip(still + 3 * index, 0, 255) for index in range(frames)]).astype(np.uint8)


def centres(picture: np.ndarray) -> np.ndarray:
    """The mean colour of each patch, away from its edges: [8, 3]."""
    inner = slice(SIDE // 4, 3 * SIDE // 4)
    patches = [picture[row * SIDE :, column * SIDE :][inner, inner] for row in (0, 1) for column in range(4)]
    return np.stack([patch.reshape(-1, 3).mean(0) for patch in patches])


def named(folder: Path, name: str) -> Path:
    return folder / f"out{SUFFIXES[name.split()[0]]}"


def seen_by_ffmpeg(path: Path) -> np.ndarray:
    """The first frame as ffmpeg shows it, following the file's tags: [H, W, 3]."""
    filters = "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp"
    raw = np.frombuffer(ffmpeg_frames(path, "rgb24", filters), np.uint8)
    return raw.reshape(-1, 2 * SIDE, 4 * SIDE, 3)[0]


@pytest.mark.parametrize("name", [*YUV_FORMATS, "MKV FFV1"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_card_is_shown_by_ffmpeg_in_its_colours(tmp_path, name, dtype):
    path = named(tmp_path, name)
    encoding = Encoding(name, quality="near lossless")
    write(path, batches(card(dtype), np.arange(3) * 1000), time_base=FILM_TICK, encoding=encoding)
    error = np.abs(centres(seen_by_ffmpeg(path)) - PATCHES)
    assert error.max() <= MAX_ERROR, f"{name}: {error.max(1)}"


@pytest.mark.parametrize("name", YUV_FORMATS)
def test_sdr_is_tagged_as_bt709_limited(tmp_path, name):
    path = named(tmp_path, name)
    write(path, batches(card(), np.arange(3) * 1000), time_base=FILM_TICK, encoding=Encoding(name))
    stream = ffprobe(path)["streams"][0]
    tags = [stream.get(key) for key in ("color_space", "color_primaries", "color_transfer", "color_range")]
    assert tags == ["bt709", "bt709", "bt709", "tv"]


@pytest.mark.parametrize(("transfer", "tag"), [("pq", "smpte2084"), ("hlg", "arib-std-b67")])
@pytest.mark.parametrize("name", ["MP4 H.265", "WebM AV1", "MOV ProRes"])
def test_hdr_keeps_its_tags_and_code_values(tmp_path, name, transfer, tag):
    path = named(tmp_path, name)
    colour = Colour("bt2020", "limited", transfer, "bt2020")
    written = write(path, batches(card(np.uint16), np.arange(3) * 1000), time_base=FILM_TICK,
                    encoding=Encoding(name, quality="near lossless"), picture=Picture(colour))  # fmt: skip
    stream = ffprobe(path)["streams"][0]
    assert [stream.get(key) for key in ("color_space", "color_primaries", "color_transfer")] == [
        "bt2020nc",
        "bt2020",
        tag,
    ]
    assert "10" in written.pixel_format
    back = np.concatenate([batch[0] for batch in read(path)])
    error = np.abs(centres(back[0]) / 257 - PATCHES)
    assert error.max() <= MAX_ERROR, error.max(1)


@pytest.mark.parametrize("name", ["MP4 H.264", "WebM VP9", "GIF", "WebP", "PNG sequence"])
def test_hdr_is_refused_where_it_cannot_be_held(tmp_path, name):
    suffix = {"GIF": "out.gif", "WebP": "out.webp", "PNG sequence": "out"}.get(name) or named(tmp_path, name).name
    picture = Picture(Colour("bt2020", "limited", "pq", "bt2020"))
    with pytest.raises(WriteFailed, match="cannot hold HDR"):
        write(tmp_path / suffix, batches(card(np.uint16), np.arange(3)), time_base=FILM_TICK, encoding=Encoding(name),
              picture=picture)  # fmt: skip
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("matrix", [None, "bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("bits", [8, 10])
def test_a_card_read_and_written_stays_within_three_steps(tmp_path, matrix, range_, bits):
    """The source as a camera would have made it: untagged, BT.601 or BT.709, limited or full, 8 or 10 bit."""
    source = _source_card(tmp_path / "source.mp4", matrix, range_, bits)
    path = tmp_path / "out.mp4"
    name = "MP4 H.264" if bits == 8 else "MP4 H.265"
    write(path, read(source), encoding=Encoding(name, quality="near lossless"))
    error = np.abs(centres(seen_by_ffmpeg(path)) - PATCHES)
    assert error.max() <= MAX_ERROR, error.max(1)


# ProRes has no lossless end: its profile sets how much of the finest texture goes
GENERATIONS = [
    ("MP4 H.264", ".mp4", 99),
    ("MP4 H.265", ".mp4", 99),
    ("MOV ProRes", ".mov", 95),
    ("MKV FFV1", ".mkv", 100),
]


@pytest.mark.parametrize(("name", "suffix", "share"), GENERATIONS)
def test_eight_generations_do_not_drift(tmp_path, name, suffix, share):
    first = tmp_path / f"generation0{suffix}"
    original = np.concatenate([card(), natural(3)])
    encoding = Encoding(name, quality="near lossless", profile="4444xq")
    write(first, batches(original, np.arange(6) * 1001), time_base=FILM_TICK, encoding=encoding)
    path = first
    for generation in range(1, 9):
        following = tmp_path / f"generation{generation}{suffix}"
        write(following, read(path), encoding=encoding)
        path = following
    before, after = (_all_frames(one) for one in (first, path))
    flat = np.abs(centres(after[0]) - centres(before[0]))
    assert flat.max() <= MAX_ERROR, f"{name}, patches: {flat.max(1)}"
    drift = after[3:].mean((1, 2)) - before[3:].mean((1, 2))
    assert np.abs(drift).max() <= 0.5, f"{name}, mean of a picture: {drift}"
    moved = np.abs(after[3:].astype(float) - before[3:])
    assert np.percentile(moved, share) <= MAX_ERROR, f"{name}: {np.percentile(moved, [50, 90, 95, 99, 100])}"


@pytest.mark.parametrize("bits", [6, 8])
def test_dropped_bits_keep_the_mean_of_any_flat_area(bits):
    for value in (0, 1, 100, 4097, 30_000, 33_333, 60_160):
        plane = np.full((TILE, TILE), value, np.uint16)
        out = np.empty((TILE, TILE), np.uint8 if bits == 8 else np.uint16)
        drop_bits(plane, bits, out)
        assert abs(out.mean() - value / 2**bits) < 1e-3, value
        assert out.max() - out.min() <= 1


def test_rgb_depth_keeps_the_mean_and_the_ends():
    for value in (0, 1, 128, 20_000, 65_534, 65_535):
        out = to_depth(np.full((TILE, TILE, 3), value, np.uint16), 8)
        assert out.dtype == np.uint8
        assert abs(out.mean() - value * 255 / 65535) < 2e-3, value
    exact = np.arange(256, dtype=np.uint16).reshape(16, 16, 1) * np.uint16(257)
    assert np.array_equal(to_depth(exact, 8), exact >> 8)


def test_every_threshold_comes_equally_often():
    pattern = thresholds(TILE * 2, TILE * 3, 256)
    counts = np.bincount(pattern.ravel(), minlength=256)
    assert counts.min() == counts.max()


def test_a_dark_ramp_has_no_bands_in_8_bit():
    """Neighbouring columns of a ramp 16 times finer than 8 bit must still differ on average."""
    ramp = np.linspace(4000, 6000, 512).astype(np.uint16)[None, :, None].repeat(128, 0).repeat(3, 2)
    converter = Converter("yuv420p", written_colour(Colour(), False), Fit((512, 128), "as is"))
    luma = plane_view(converter.convert(np.ascontiguousarray(ramp)).planes[0], 1).astype(float)
    expected = 16 + 219 * (ramp[0, :, 0] / 65535)
    # the mean over 16 columns and all rows follows the ramp to a tenth of a step
    means = luma.mean(0).reshape(-1, 16).mean(1)
    assert np.abs(means - expected.reshape(-1, 16).mean(1)).max() < 0.1


def test_yuv_values_are_those_of_float_arithmetic():
    rng = np.random.default_rng(5)
    flat = rng.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    picture = flat.repeat(16, 0).repeat(16, 1)
    for pixel_format, bits in (("yuv420p", 8), ("yuv444p10le", 10)):
        converter = Converter(pixel_format, written_colour(Colour(), False), Fit((160, 96), "as is"))
        frame = converter.convert(picture)
        got = [plane_view(plane, 1 if bits == 8 else 2).astype(float) / 2 ** (bits - 8) for plane in frame.planes]
        step = 8 if "420" in pixel_format else 16
        for plane, expected in zip(got, _bt709(flat / 255), strict=True):
            size = 16 if plane.shape[0] == 96 else step
            middle = plane[size // 2 :: size, size // 2 :: size]
            assert np.abs(middle - expected).max() <= 0.52 / 2 ** (bits - 8) + 0.01, pixel_format


@pytest.mark.parametrize(("name", "profile"), [("WebM VP9", "hq"), ("MOV ProRes", "4444"), ("MKV FFV1", "hq")])
def test_alpha_comes_back(tmp_path, name, profile):
    path = named(tmp_path, name)
    frames = card()
    alpha = np.broadcast_to(np.linspace(0, 255, frames.shape[2]).astype(np.uint8), frames.shape[:3]).copy()
    encoding = Encoding(name, quality="near lossless", profile=profile)
    written = write(path, [(frames, np.arange(3), alpha)], time_base=Fraction(1, 24), encoding=encoding)
    assert not [note for note in written.notes if "transparency" in note]
    back = next(iter(read(path, alpha=True)))
    opacity = back[2][0].astype(float) / (1 if back[2].dtype == np.uint8 else 257)
    assert np.abs(opacity - alpha[0]).max() <= 6, np.abs(opacity - alpha[0]).max()
    assert np.abs(opacity - alpha[0]).mean() <= 1


def test_alpha_that_cannot_be_held_is_named(tmp_path):
    frames = card()
    written = write(tmp_path / "out.mp4", [(frames, np.arange(3), frames[..., 0])], time_base=Fraction(1, 24))
    assert any("transparency" in note for note in written.notes)


def _all_frames(path: Path) -> np.ndarray:
    """uint8-scaled floats [T, H, W, 3], read by this pack."""
    frames = np.concatenate([batch[0] for batch in read(path)])
    return frames if frames.dtype == np.uint8 else frames / 257


def _bt709(rgb: np.ndarray) -> list[np.ndarray]:
    """8-bit limited Y, Cb, Cr as floats (ITU-R BT.709-6, item 3)."""
    luma = rgb @ [0.2126, 0.7152, 0.0722]
    return [16 + 219 * luma, 128 + 224 * (rgb[..., 2] - luma) / 1.8556, 128 + 224 * (rgb[..., 0] - luma) / 1.5748]


def _source_card(path: Path, matrix: str | None, range_: str, bits: int) -> Path:
    kr, kb = {"bt709": (0.2126, 0.0722)}.get(matrix or "", (0.299, 0.114))  # untagged and small: BT.601
    rgb = card()[0] / 255
    luma = rgb @ [kr, 1 - kr - kb, kb]
    chroma = [(rgb[..., 2] - luma) / (2 * (1 - kb)), (rgb[..., 0] - luma) / (2 * (1 - kr))]
    top = 2**bits - 1
    low, luma_span, chroma_span = (
        (0, top, top) if range_ == "full" else (16 << bits - 8, 219 << bits - 8, 224 << bits - 8)
    )
    planes = [low + luma_span * luma] + [(1 << bits - 1) + chroma_span * plane for plane in chroma]
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], "yuv444p" if bits == 8 else "yuv444p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        plane_view(plane, 1 if bits == 8 else 2)[...] = np.clip(np.round(values), 0, top)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        context = stream.codec_context
        context.color_range = 2 if range_ == "full" else 1
        if matrix:
            context.colorspace = context.color_primaries = context.color_trc = 1 if matrix == "bt709" else 6
        for index in range(3):
            frame.pts, frame.time_base = index, Fraction(1, 24)
            frame.color_range = context.color_range
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


GRADING = Mastering(
    tuple(Fraction(number) for number in ("0.68", "0.32", "0.265", "0.69", "0.15", "0.06", "0.3127", "0.329",
                                          "0.005", "1000")), (1000, 400),
)  # fmt: skip
GRADINGS = {
    "both": GRADING,
    "screen alone": replace(GRADING, light=None),
    "light alone": replace(GRADING, display=None),
}


def deep_card():
    return batches(card(np.uint16), np.arange(3) * 1001)


@pytest.mark.parametrize("case", GRADINGS)
@pytest.mark.parametrize("name", ["MP4 H.265", "MKV H.265", "WebM AV1"])
def test_the_grading_of_hdr_is_passed_on(tmp_path, name, case):
    first, second = (named(folder, name) for folder in (tmp_path, tmp_path / "second"))
    second.parent.mkdir()
    picture = Picture(Colour("bt2020", "limited", "pq", "bt2020", mastering=GRADINGS[case]))
    write(
        first,
        batches(card(np.uint16), np.arange(3) * 1001),
        time_base=FILM_TICK,
        encoding=Encoding(name),
        picture=picture,
    )
    write(second, read(first), encoding=Encoding(name))
    for path in (first, second):
        found = probe(path).colour.mastering
        assert found is not None and found.light == GRADINGS[case].light
        assert (found.display is None) == (case == "light alone")
        for got, wanted in zip(found.display or (), GRADING.display or (), strict=found.display is not None):
            assert abs(got - wanted) <= wanted / 1000 + Fraction(1, 20_000)


def test_the_grading_is_named_where_it_is_lost_and_no_part_of_sdr(tmp_path):
    hdr = Picture(Colour("bt2020", "limited", "pq", "bt2020", mastering=GRADING))
    written = write(tmp_path / "out.mov", deep_card(), time_base=FILM_TICK, picture=hdr)
    assert any("graded" in note for note in written.notes)
    sdr = Picture(Colour(mastering=GRADING))
    written = write(tmp_path / "sdr.mp4", deep_card(), time_base=FILM_TICK, picture=sdr,
                    encoding=Encoding("MP4 H.265"))  # fmt: skip
    assert not any("graded" in note for note in written.notes)
    with av.open(str(written.path)) as file:
        frame = next(file.decode(video=0))
        assert not any("MASTERING" in part.type.name or "LIGHT" in part.type.name for part in frame.side_data)
