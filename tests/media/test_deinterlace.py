"""Interlaced, pulled-down and progressive video is told apart by its pictures, and comes out whole."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media.deinterlace import is_soft_film
from seedvr2_anywhere.media.pipeline import Treatment
from source_clips import Clip, gray_frames, moved, read_all, texture, woven, write_clip

NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)
MPEG2 = {"flags": "+ildct+ilme", "qmin": "1", "qmax": "2", "b": "40M", "g": "12", "bf": "2"}
X264_TOP = {"preset": "ultrafast", "qp": "8", "x264-params": "interlaced=1"}
X264 = {"preset": "ultrafast", "qp": "8"}
COUNT = 40
NTSC_SIZE, PAL_SIZE, HD_SIZE = (720, 480), (720, 576), (1440, 1080)


def fields(size, count=COUNT, top_first=True):
    """Frames whose two fields are half a frame apart in time."""
    picture = texture(*size)
    early, late = (
        [moved(picture, index) for index in range(count)],
        [moved(picture, index + 0.5) for index in range(count)],
    )
    pairs = zip(early, late, strict=True)
    return [woven(one, two) if top_first else woven(two, one) for one, two in pairs]


def pulled_down(size, count=COUNT, top_first=True):
    """Film at 24 frames a second as 60 fields: 2, 3, 2, 3 fields a frame."""
    picture = texture(*size)
    shown = [film for film in range(count) for _ in range(2 + film % 2)]
    pairs = list(zip(shown[::2], shown[1::2], strict=False))[:count]
    films = [moved(picture, index) for index in range(count)]
    return [woven(films[a], films[b]) if top_first else woven(films[b], films[a]) for a, b in pairs]


def scrolled(size, count=COUNT):
    """Whole frames that move up and sideways, as credits do: their fields are no mirror images in time."""
    picture = texture(*size)
    return [np.roll(moved(picture, index), -3 * index, axis=0) for index in range(count)]


def progressive(size, count=COUNT):
    picture = texture(*size)
    return [moved(picture, index) for index in range(count)]


def combing(frame):
    """Mean step from line to line beyond what every second line has: what a wrong weave adds."""
    luma = (frame if frame.ndim == 2 else frame[..., 1]).astype(np.int16)
    return np.abs(luma[:-2] + luma[2:] - 2 * luma[1:-1]).mean()


def distance(frame, picture):
    """Mean difference of a frame [H, W, 3] to a luma, seen in every fourth column of both fields."""
    return np.abs(frame[:, ::4, 1].astype(np.int16) - picture[:, ::4]).mean()


CASES = {
    # name: (pictures, options, codec, size, rate, scan, top first, suffix)
    "480i top": (fields, {"top_first": True}, NTSC_SIZE, NTSC, MPEG2, "mpeg2video", "interlaced", True),
    "480i bottom": (fields, {"top_first": False}, NTSC_SIZE, NTSC, MPEG2, "mpeg2video", "interlaced", False),
    "576i top": (fields, {"top_first": True}, PAL_SIZE, Fraction(25), MPEG2, "mpeg2video", "interlaced", True),
    "1080i": (fields, {"count": 24}, HD_SIZE, Fraction(25), X264_TOP, "libx264", "interlaced", True),
    "480i unflagged": (fields, {}, NTSC_SIZE, NTSC, X264, "libx264", "interlaced", True),
    "pulldown": (pulled_down, {}, NTSC_SIZE, NTSC, MPEG2, "mpeg2video", "film", True),
    "pulldown bottom": (pulled_down, {"top_first": False}, NTSC_SIZE, NTSC, MPEG2, "mpeg2video", "film", False),
    "pulldown unflagged": (pulled_down, {}, NTSC_SIZE, NTSC, X264, "libx264", "film", True),
    "progressive": (progressive, {}, NTSC_SIZE, NTSC, X264, "libx264", "progressive", None),
    "progressive flagged": (progressive, {}, PAL_SIZE, Fraction(25), MPEG2, "mpeg2video", "progressive", None),
    "scrolled": (scrolled, {}, PAL_SIZE, Fraction(25), X264, "libx264", "progressive", None),
    "progressive HD": (progressive, {"count": 20}, HD_SIZE, Fraction(24), X264, "libx264", "progressive",
                       None),
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    made = {}

    def make(name):
        if name not in made:
            pictures, options, size, rate, encoder, codec, _, _ = CASES[name]
            frames = gray_frames(pictures(size, **options))
            suffix = "vob" if codec == "mpeg2video" else "mkv"
            made[name] = write_clip(folder / f"{name}.{suffix}".replace(" ", "_"),
                                    Clip(frames, rate=rate, codec=codec, options=encoder))  # fmt: skip
        return made[name]

    return make


@pytest.mark.parametrize("name", sorted(CASES))
def test_scan_is_seen_in_the_pictures(clip, name):
    info = media.probe(clip(name))
    scan, top_first = CASES[name][6:]
    assert info.scan == scan
    if top_first is not None:
        assert info.top_field_first == top_first


@pytest.mark.parametrize("name", ["480i top", "480i bottom", "576i top", "1080i"])
def test_no_combing_is_left(clip, name):
    size = CASES[name][2]
    clean = combing(texture(*size))
    as_stored, _ = read_all(media.read(clip(name), treatment=Treatment(deinterlace="off")))
    result, _ = read_all(media.read(clip(name)))
    assert len(result) == len(as_stored)
    before = np.mean([combing(frame) for frame in as_stored[2:-2]])
    after = np.mean([combing(frame) for frame in result[2:-2]])
    assert before > 2 * clean, "the clip does comb"
    assert after < 1.25 * clean, f"combing {before:.2f} → {after:.2f}, a clean picture has {clean:.2f}"


def test_double_rate_shows_both_fields_in_order(clip):
    name = "576i top"
    reader = media.read(clip(name), treatment=Treatment(deinterlace="double rate"))
    frames, pts = read_all(reader)
    assert reader.rate == 50 and len(frames) == 2 * COUNT
    assert set(np.diff(pts).tolist()) == {round(1 / (50 * reader.time_base))}
    picture = texture(*PAL_SIZE)
    for index in range(6, 30):  # each field's moment: its picture fits best among its neighbours in time
        errors = [distance(frames[index], moved(picture, step / 2)) for step in range(index - 1, index + 2)]
        assert np.argmin(errors) == 1, (index, errors)


@pytest.mark.parametrize("name", ["pulldown", "pulldown bottom", "pulldown unflagged"])
def test_film_frames_are_recovered_from_pulldown(clip, name):
    reader = media.read(clip(name))
    frames, pts = read_all(reader)
    assert reader.rate == FILM and abs(len(frames) - COUNT * 4 / 5) <= 1
    picture = texture(*NTSC_SIZE)
    films = [moved(picture, index) for index in range(COUNT)]
    found = [int(np.argmin([distance(frame, film) for film in films])) for frame in frames[2:-2]]
    assert np.diff(found).tolist() == [1] * (len(found) - 1), f"each film frame once, in order: {found}"
    clean = combing(films[0])
    assert max(combing(frame) for frame in frames[2:-2]) < 1.3 * clean
    times = [tick * reader.time_base for tick in pts.tolist()]
    assert all(abs(time - index / FILM) <= reader.time_base for index, time in enumerate(times))


def test_progressive_video_is_left_alone(clip):
    for name in ("progressive", "progressive flagged"):
        as_stored, _ = read_all(media.read(clip(name), treatment=Treatment(deinterlace="off")))
        result, _ = read_all(media.read(clip(name)))
        assert np.array_equal(as_stored, result), name


def test_soft_pulldown_is_recognised_by_its_stamps_and_comes_evenly(tmp_path):
    """Film stored as such, shown for two and three fields in turn."""
    base = Fraction(1, 90000)
    stamps = [round(index * Fraction(5, 2) * Fraction(1001, 60000) / base + (index % 2) * Fraction(1001, 120000) / base)
              for index in range(30)]  # fmt: skip
    assert is_soft_film(stamps, base)
    path = write_clip(tmp_path / "soft.mp4", Clip(gray_frames(progressive((720, 480), 30)), rate=NTSC, stamps=stamps,
                                                  time_base=base, options=X264))  # fmt: skip
    reader = media.read(path)
    frames, pts = read_all(reader)
    assert reader.info.scan == "soft film" and reader.rate == FILM and len(frames) == 30
    assert all(
        abs(tick * reader.time_base - index / FILM) <= reader.time_base for index, tick in enumerate(pts.tolist())
    )


@pytest.mark.parametrize("size", [(720, 480), (720, 576)])
@pytest.mark.parametrize("shape", ["16:9", "4:3"])
def test_anamorphic_pictures_get_square_pixels(tmp_path, size, shape):
    wide, high = (int(part) for part in shape.split(":"))
    aspect = Fraction(wide, high) / Fraction(*size)
    frames = gray_frames(progressive(size, 4))
    path = write_clip(tmp_path / "wide.mpg", Clip(frames, codec="mpeg2video", options={"qmax": "2"}, aspect=aspect))
    reader = media.read(path)
    frames, _ = read_all(reader)
    height, width = frames.shape[1:3]
    assert (width, height) == reader.size and reader.sample_aspect == 1
    assert abs(Fraction(width, height) / Fraction(wide, high) - 1) < Fraction(1, 500)
    assert width >= size[0] and height >= size[1], "no pixels are thrown away"
    kept = media.read(path, treatment=Treatment(pixel_aspect="keep"))
    assert kept.size == size and kept.sample_aspect == aspect
    kept.close()


@pytest.mark.parametrize("start", [0.3, 0.7])
def test_windows_of_interlaced_video_equal_the_whole(clip, start):
    path = clip("576i top")
    whole, stamps = read_all(media.read(path))
    reader = media.read(path, media.Selection(start=start, duration=0.4))
    frames, pts = read_all(reader)
    first = int(np.searchsorted(stamps * float(reader.info.time_base), start - 1e-6))
    assert len(frames) == 10 and pts[0] == 0
    assert np.array_equal(frames[1:], whole[first + 1 : first + 10])
