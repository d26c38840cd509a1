"""Every frame is shown when it should be: stamps kept to the tick, constant rates, other rates, odd sizes."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import numpy as np
import pytest
from made_clips import batches, ffmpeg_frames, ffprobe, moving, probed_pts
from PIL import Image
from seedvr2_anywhere.media.cadence import AtConstantRate, DecodingClock, RoundedTo, Showing, placement_for
from seedvr2_anywhere.media.description import WriteFailed
from seedvr2_anywhere.media.output import Cadence, Encoding, Picture
from seedvr2_anywhere.media.read import read
from seedvr2_anywhere.media.write import Writer, write

rng = np.random.default_rng(11)
CLOCKS = {
    "film": (Fraction(1, 24000), np.arange(60) * 1001),
    "tenth of a second": (Fraction(1, 10), np.arange(60)),
    "phone, variable": (Fraction(1, 90000), np.cumsum(rng.integers(1200, 9000, 60))),
    "AVI": (Fraction(1001, 30000), np.arange(60)),
    "nanoseconds": (Fraction(1, 10**9), np.cumsum(rng.integers(2 * 10**7, 10**8, 60))),
    "late start": (Fraction(1, 15360), 1024 + np.cumsum(rng.choice([512, 1536], 60))),
    "long pause": (Fraction(1, 600), np.cumsum(np.where(np.arange(60) == 30, 6000, 20))),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", ["MP4 H.264", "MP4 H.265", "MOV ProRes"])
def test_stamps_are_kept_to_the_tick(tmp_path, clock, name):
    tick, pts = CLOCKS[clock]
    path = tmp_path / ("out.mov" if "MOV" in name else "out.mp4")
    written = write(path, batches(moving(60, 48, 64), pts), time_base=tick, encoding=Encoding(name))
    expected = [int(stamp - pts[0]) * tick for stamp in pts]
    if clock == "nanoseconds":  # players refuse what MP4 would need for them
        assert any("1/1000000 s" in note for note in written.notes)
        expected = [Fraction(round(time * 10**6), 10**6) for time in expected]
    assert probed_pts(path) == expected


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", ["MKV H.265", "WebM VP9", "WebM AV1", "MKV FFV1"])
def test_matroska_keeps_stamps_within_its_millisecond(tmp_path, clock, name):
    tick, pts = CLOCKS[clock]
    path = tmp_path / ("out.webm" if "WebM" in name else "out.mkv")
    write(path, batches(moving(60, 48, 64), pts), time_base=tick, encoding=Encoding(name))
    expected = [int(stamp - pts[0]) * tick for stamp in pts]
    assert max(abs(got - want) for got, want in zip(probed_pts(path), expected, strict=True)) < Fraction(1, 1000)


@pytest.mark.parametrize("clock", ["film", "phone, variable", "late start"])
def test_a_clip_read_and_written_keeps_its_stamps(tmp_path, clock):
    tick, pts = CLOCKS[clock]
    source, path = tmp_path / "source.mp4", tmp_path / "out.mp4"
    write(source, batches(moving(60, 48, 64), pts), time_base=tick)
    write(path, read(source))
    assert probed_pts(path) == probed_pts(source)
    assert _ends(path) == _ends(source)


def test_the_last_frame_lasts_as_long_as_it_is_told_to(tmp_path):
    with Writer(tmp_path / "out.mp4", time_base=Fraction(1, 1000)) as writer:
        writer.push(moving(3, 48, 64), np.array([0, 40, 90]))
        written = writer.close(end=700)
    assert written.duration == Fraction(7, 10)
    assert abs(float(ffprobe(written.path)["streams"][0]["duration"]) - 0.7) < 1e-6


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(60), Fraction(10), Fraction(25)])
@pytest.mark.parametrize("clock", ["film", "phone, variable", "long pause"])
def test_a_constant_rate_shows_the_frames_ffmpegs_fps_filter_shows(tmp_path, rate, clock):
    tick, pts = CLOCKS[clock]
    exact, path = tmp_path / "source.mp4", tmp_path / "out.mkv"
    # every frame in a grey of its own, lossless
    frames = np.broadcast_to((np.arange(60, dtype=np.uint8) * 4)[:, None, None, None], (60, 16, 16, 3)).copy()
    write(exact, batches(frames, pts), time_base=tick, encoding=Encoding(crf=0))
    written = write(path, batches(frames, pts), time_base=tick, encoding=Encoding("MKV FFV1"), cadence=Cadence(rate))
    ours = np.frombuffer(ffmpeg_frames(path, "gray"), np.uint8).reshape(-1, 256)[:, 0].astype(int) // 4
    theirs = np.frombuffer(ffmpeg_frames(exact, "gray", f"fps={rate}"), np.uint8).reshape(-1, 256)[:, 0]
    theirs = (theirs.astype(int) + 1) // 4
    assert written.frames == len(ours)
    assert abs(len(ours) - len(theirs)) <= 1, "length by half a frame"
    shared = min(len(ours), len(theirs))
    assert np.array_equal(ours[:shared], theirs[:shared])


def test_change_speed_shows_the_same_frames_at_the_rate(tmp_path):
    tick, pts = CLOCKS["phone, variable"]
    cadence = Cadence(23.976, "change speed")
    written = write(tmp_path / "out.mp4", batches(moving(60, 48, 64), pts), time_base=tick, cadence=cadence)
    assert written.frames == 60
    assert probed_pts(written.path) == [index * Fraction(1001, 24000) for index in range(60)]
    assert ffprobe(written.path)["streams"][0]["avg_frame_rate"] == "24000/1001"


@pytest.mark.parametrize("clock", ["film", "phone, variable"])
@pytest.mark.parametrize("name", ["MKV H.265", "WebM VP9"])
def test_matroska_says_its_nominal_rate(tmp_path, clock, name):
    tick, pts = CLOCKS[clock]
    path = tmp_path / ("out.webm" if "WebM" in name else "out.mkv")
    write(path, batches(moving(60, 48, 64), pts), time_base=tick, encoding=Encoding(name),
          picture=Picture(rate=Fraction(24000, 1001)))  # fmt: skip
    assert ffprobe(path)["streams"][0]["avg_frame_rate"] == "24000/1001"


@pytest.mark.parametrize("rate", [240, 300, 1000])
def test_slow_motion_beyond_what_an_encoder_accepts_keeps_its_rate(tmp_path, rate):
    """SVT-AV1 refuses more than 240 frames a second."""
    path = tmp_path / "out.webm"
    write(path, batches(moving(12, 64, 64), np.arange(12)), time_base=Fraction(1, rate), encoding=Encoding("WebM AV1"))
    assert ffprobe(path)["streams"][0]["avg_frame_rate"] == f"{rate}/1"
    assert all(abs(time - Fraction(index, rate)) <= Fraction(1, 1000) for index, time in enumerate(probed_pts(path)))


@pytest.mark.parametrize(("name", "suffix", "tick_ms"), [("GIF", ".gif", 10), ("WebP", ".webp", 1)])
def test_animations_keep_their_times_to_their_own_tick(tmp_path, name, suffix, tick_ms):
    pts = np.cumsum(rng.integers(40, 200, 12))
    path = tmp_path / f"out{suffix}"
    encoding = Encoding(name, loop_count=3)
    with Writer(path, time_base=Fraction(1, 1000), encoding=encoding) as writer:
        writer.push(moving(12, 48, 64), pts)
        writer.close(end=int(pts[-1]) + 100)
    with Image.open(path) as animation:
        lasts = []
        for index in range(animation.n_frames):
            animation.seek(index)
            animation.load()
            lasts.append(animation.info["duration"])
        loops = animation.info["loop"]
    assert animation.n_frames == 12 and loops == 3
    starts = np.concatenate([[0], np.cumsum(lasts)])[:12]
    assert np.abs(starts - (pts - pts[0])).max() <= tick_ms / 2


def test_a_gif_faster_than_browsers_show_is_thinned_and_says_so(tmp_path):
    written = write(tmp_path / "out.gif", batches(moving(30, 32, 32), np.arange(30)), time_base=Fraction(1, 60))
    assert written.frames == 25
    assert any("50 frames" in note for note in written.notes)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", ["MP4 H.264", "MP4 H.265", "WebM AV1", "MOV ProRes", "GIF", "WebP"])
def test_clips_of_a_few_frames_can_be_written(tmp_path, count, name):
    suffix = {"GIF": ".gif", "WebP": ".webp", "WebM AV1": ".webm", "MOV ProRes": ".mov"}.get(name, ".mp4")
    path = tmp_path / f"out{suffix}"
    written = write(path, batches(moving(count, 48, 64), np.arange(count)), time_base=Fraction(1, 5),
                    encoding=Encoding(name))  # fmt: skip
    assert written.frames == count
    if suffix not in (".webp", ".gif"):
        assert len(probed_pts(path)) == count


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_few_frames_of_an_encoder_that_holds_none_back(tmp_path, count):
    """Lossless x264 gives packets at once: their times stand already when the end is stamped."""
    path = tmp_path / "out.mp4"
    write(path, batches(moving(count, 48, 64), np.arange(count)), time_base=Fraction(1, 5), encoding=Encoding(crf=0))
    assert probed_pts(path) == [Fraction(index, 5) for index in range(count)]


SIZES = [  # format, choice, size written, pixel format
    ("MP4 H.264", "pad", (322, 242), "yuv420p"),
    ("MP4 H.264", "crop", (320, 240), "yuv420p"),
    ("MP4 H.264", "4:4:4", (322, 242), "yuv420p"),
    ("MP4 H.265", "4:4:4", (321, 241), "yuv444p"),
    ("WebM VP9", "4:4:4", (321, 241), "yuv444p"),
    ("WebM AV1", "pad", (322, 242), "yuv420p"),
    ("MOV ProRes", "pad", (322, 241), "yuv422p10le"),
    ("MKV FFV1", "pad", (321, 241), "bgr0"),
    ("GIF", "pad", (321, 241), "pal8"),
]


@pytest.mark.parametrize(("name", "choice", "size", "pixel_format"), SIZES)
def test_odd_sizes_are_padded_cropped_or_kept_by_choice(tmp_path, name, choice, size, pixel_format):
    suffix = {"MP": ".mp4", "We": ".webm", "MO": ".mov", "MK": ".mkv", "GI": ".gif"}[name[:2]]
    path = tmp_path / f"out{suffix}"
    frames = moving(2, 241, 321)
    written = write(path, batches(frames, np.arange(2)), time_base=Fraction(1, 24),
                    encoding=Encoding(name, odd_size=choice, quality="near lossless"))  # fmt: skip
    stream = ffprobe(path)["streams"][0]
    assert (stream["width"], stream["height"]) == written.size == size
    assert written.pixel_format == pixel_format
    assert any("321 × 241" in note for note in written.notes) == (size != (321, 241))
    if choice == "pad" and name == "MP4 H.264":
        raw = np.frombuffer(ffmpeg_frames(path), np.uint8).reshape(-1, size[1], size[0], 3)[0].astype(int)
        assert np.abs(raw[:241, 321] - frames[0, :, 320]).mean() < 12, "the edge is repeated, not black"


def test_pixel_shape_is_written(tmp_path):
    path = tmp_path / "out.mp4"
    write(path, batches(moving(3, 48, 72), np.arange(3)), time_base=Fraction(1, 25),
          picture=Picture(sample_aspect=Fraction(64, 45)))  # fmt: skip
    assert ffprobe(path)["streams"][0]["sample_aspect_ratio"] == "64:45"


def test_mp4_plays_in_browsers(tmp_path):
    """Index in front, one plain moov, 8-bit 4:2:0 whatever came in."""
    path = tmp_path / "out.mp4"
    write(path, batches(moving(60, 48, 64, np.uint16), np.arange(60)), time_base=Fraction(1, 24))
    assert [kind for kind, _ in _boxes(path)] == ["ftyp", "moov", "free", "mdat"]
    stream = ffprobe(path)["streams"][0]
    assert (stream["codec_name"], stream["pix_fmt"], stream["codec_tag_string"]) == ("h264", "yuv420p", "avc1")
    assert stream["nb_frames"] == "60"


def test_h265_in_mp4_carries_the_tag_apple_wants(tmp_path):
    path = tmp_path / "out.mp4"
    write(path, batches(moving(5, 48, 64), np.arange(5)), time_base=Fraction(1, 24), encoding=Encoding("MP4 H.265"))
    assert ffprobe(path)["streams"][0]["codec_tag_string"] == "hvc1"


def test_placements_hold_drop_and_round():
    constant = AtConstantRate(Fraction(1, 1000), Fraction(10))
    assert constant.place(0, 40) == []  # replaced within its tenth
    assert constant.place(40, 330) == [Showing(0, 1), Showing(1, 1), Showing(2, 1)]
    coarse = RoundedTo(placement_for(Cadence(), Fraction(1, 1000)), Fraction(1, 100))
    assert [coarse.place(*pair) for pair in ((0, 33), (33, 34), (34, 100))] == [[Showing(0, 3)], [], [Showing(3, 7)]]


def test_a_rate_of_zero_is_refused():
    with pytest.raises(WriteFailed, match="above 0"):
        placement_for(Cadence(Fraction(0)), Fraction(1, 24))


def test_decoding_times_rise_and_never_pass_presentation():
    clock = DecodingClock(2)
    shown = [0, 3, 1, 2, 7, 5, 4, 6]
    clock.enter([stamp * 10 for stamp in shown])
    times = [clock.next(stamp * 10, "x") for stamp in shown]
    assert times == sorted(set(times))
    assert all(time <= stamp * 10 for time, stamp in zip(times, shown, strict=True))


def _ends(path) -> str:
    return ffprobe(path)["streams"][0]["duration"]


def _boxes(path) -> list[tuple[str, int]]:
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        found.append((data[place + 4 : place + 8].decode("latin-1"), size))
        place += size
    return found


def test_ffmpeg_is_there_to_compare_with():
    assert subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True).stdout.startswith(b"ffmpeg")
