"""Rates are exact, stamps are kept, windows are cut where they are asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media.selection import WHOLE, Selection, Timed, expected_frames, thinned, within
from seedvr2_anywhere.media.timing import Continuity, measure_timing, snap_rate
from source_clips import Clip, numbered, numbers_of, read_all, write_clip

NTSC_FILM = Fraction(24000, 1001)
FAST = {"preset": "ultrafast", "crf": "20"}
B_FRAMES = {"preset": "medium", "crf": "20", "bf": "3", "g": "12"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
VFR_STAMPS = np.cumsum([0] + [512, 1536, 512, 512, 16896, 1024, 512] * 7).tolist()


def ffprobe_pts(path) -> list[int]:
    """What ffprobe says the stamps of the decoded frames are."""
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe (Debian package ffmpeg)")
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "frame=best_effort_timestamp",
        "-of",
        "json",
        str(path),
    ]
    frames = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["frames"]
    return [frame["best_effort_timestamp"] for frame in frames if "best_effort_timestamp" in frame]


CASES = {
    "vfr.mp4": Clip(numbered(len(VFR_STAMPS)), stamps=VFR_STAMPS, time_base=Fraction(1, 15360), options=B_FRAMES),
    "film.mp4": Clip(numbered(60), rate=NTSC_FILM, options=B_FRAMES),
    "film.mkv": Clip(numbered(60), rate=NTSC_FILM, options=B_FRAMES),
    "film.webm": Clip(numbered(30), rate=NTSC_FILM, codec="libvpx-vp9", options=VP9),
    "ntsc.ts": Clip(numbered(60), rate=Fraction(30000, 1001), options=B_FRAMES),
    "pal.mpg": Clip(numbered(50), rate=Fraction(25), codec="mpeg2video", options={"g": "12", "bf": "2", "qmax": "4"}),
    "fragmented.mp4": Clip(numbered(60), rate=Fraction(30), options=B_FRAMES,
                           muxer={"movflags": "frag_keyframe+empty_moov+delay_moov", "use_editlist": "0"}),
    "late.mkv": Clip(numbered(40), rate=Fraction(25), stamps=range(37, 77), options=FAST),
    "motion.avi": Clip(numbered(40), rate=Fraction(24), codec="mpeg4", options={"bf": "2", "qmax": "4"}),
}  # fmt: skip
RATES = {"film.mp4": NTSC_FILM, "film.mkv": NTSC_FILM, "film.webm": NTSC_FILM, "ntsc.ts": Fraction(30000, 1001),
         "pal.mpg": Fraction(25), "fragmented.mp4": Fraction(30), "late.mkv": Fraction(25),
         "motion.avi": Fraction(24)}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_stamps_are_those_of_the_file_counted_from_the_first_frame(tmp_path, name):
    path = write_clip(tmp_path / name, CASES[name])
    reader = media.read(path)
    frames, pts = read_all(reader)
    assert numbers_of(frames) == list(range(len(CASES[name].frames)))
    stated = ffprobe_pts(path)
    # Debian's ffprobe has no stamp for the frame that leaves some decoders last
    assert pts.tolist()[: len(stated)] == [stamp - stated[0] for stamp in stated] and len(stated) >= len(pts) - 1
    assert reader.info.is_vfr == (name == "vfr.mp4") and reader.losses == []
    if name in RATES:
        assert reader.rate == RATES[name]


def test_edit_list_hides_the_frames_before_it(tmp_path):
    source = write_clip(tmp_path / "source.mp4", Clip(numbered(60), rate=Fraction(30), options=B_FRAMES))
    cut = tmp_path / "cut.mp4"
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg (Debian package ffmpeg)")
    command = ["ffmpeg", "-v", "error", "-ss", "0.9", "-i", str(source), "-c", "copy", str(cut)]
    subprocess.run(command, check=True)
    reader = media.read(cut)
    frames, pts = read_all(reader)
    shown = numbers_of(frames)
    assert shown == list(range(shown[0], 60)) and shown[0] == 27
    stated = ffprobe_pts(cut)
    assert pts.tolist() == [stamp - stated[0] for stamp in stated] and reader.losses == []
    with av.open(str(cut)) as container:
        assert container.streams.video[0].frames > len(frames), "the file holds frames it does not show"


@pytest.mark.parametrize(("name", "format_"), [("raw.h264", "h264"), ("raw.m2v", "mpeg2video")])
def test_raw_streams_get_times_from_their_rate(tmp_path, name, format_):
    codec, options = ("libx264", B_FRAMES) if name == "raw.h264" else ("mpeg2video", {"bf": "2", "qmax": "4"})
    rate = Fraction(30000, 1001)
    path = write_clip(tmp_path / name, Clip(numbered(40), rate=rate, codec=codec, options=options, format=format_))
    reader = media.read(path)
    frames, pts = read_all(reader)
    assert numbers_of(frames) == list(range(40)) and reader.rate == rate
    times = [tick * reader.time_base for tick in pts.tolist()]
    assert all(abs(time - index / rate) <= reader.time_base for index, time in enumerate(times))


def test_restarted_clock_is_joined(tmp_path):
    """Two broadcasts one after the other: the second one's clock begins again."""
    clip = Clip(numbered(50), rate=Fraction(25), options=FAST)
    one = write_clip(tmp_path / "one.ts", clip).read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(one + one)
    reader = media.read(both)
    frames, pts = read_all(reader)
    assert numbers_of(frames) == list(range(50)) * 2
    assert np.array_equal(np.diff(pts), np.full(99, 3600)), np.diff(pts)
    assert any("restarts its clock" in note for note in reader.notes)


def test_one_correction_serves_sound_and_picture():
    """Packets of the old clock that come after the other stream's jump keep the old correction."""
    continuity = Continuity()
    length = Fraction(1, 25)
    for index in range(50):
        continuity.correct(0, index * length, length)
        continuity.correct(1, index * length, length)
    assert continuity.correct(0, Fraction(0), length) == 2
    assert continuity.correct(1, 50 * length, length) == 0
    assert continuity.correct(1, Fraction(1, 25), length) == 2
    assert continuity.jumps == 1


@pytest.mark.parametrize(("typed", "meant"), [
    (23.976, NTSC_FILM), (23.98, NTSC_FILM), (24.0, Fraction(24)), (29.97, Fraction(30000, 1001)),
    (59.94, Fraction(60000, 1001)), (25, Fraction(25)), (16, Fraction(16)), (12.5, Fraction(25, 2)),
    (Fraction(2997, 125), NTSC_FILM), (14.9, Fraction(149, 10)),
])  # fmt: skip
def test_rates_snap_to_the_standard_one_meant(typed, meant):
    assert snap_rate(typed) == meant


@pytest.mark.parametrize("rate", [NTSC_FILM, Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(50, 3)])
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 15360)])
def test_constant_rates_are_recognised_through_rounding(rate, base):
    ticks = [round(index / rate / base) + 7 for index in range(240)]
    found = measure_timing([ticks], base, [None])
    assert not found.is_vfr and abs(found.rate - rate) / rate < Fraction(1, 20000)
    assert measure_timing([ticks], base, [rate]).rate == rate


def test_a_single_late_frame_makes_a_rate_variable():
    ticks = [index * 512 for index in range(100)]
    ticks[50:] = [tick + 512 for tick in ticks[50:]]
    assert measure_timing([ticks], Fraction(1, 15360), [Fraction(30)]).is_vfr


# --- selections -----------------------------------------------------------------------------------------------------
BASE = Fraction(1, 1000)


def chosen(ticks, selection, last=40):
    """(frame number, tick) of what a selection leaves of frames with these ticks."""
    lengths = [*np.diff(ticks).tolist(), last]
    frames = [Timed(index, tick, length) for index, (tick, length) in enumerate(zip(ticks, lengths, strict=True))]
    return [(one.picture, one.tick) for one in thinned(within(frames, selection, BASE), selection, BASE)]


EVEN = [index * 40 for index in range(25)]
SELECTIONS = [
    (WHOLE, [(i, i * 40) for i in range(25)]),
    (Selection(start=0.2), [(i, (i - 5) * 40) for i in range(5, 25)]),
    (Selection(start=0.19), [(i, (i - 5) * 40) for i in range(5, 25)]),
    (Selection(start=0.2, duration=0.2), [(i, (i - 5) * 40) for i in range(5, 10)]),
    (Selection(cap=3), [(0, 0), (1, 40), (2, 80)]),
    (Selection(skip=20, every=2), [(20, 800), (22, 880), (24, 960)]),
    (Selection(force_rate=50, cap=4), [(0, 0), (0, 1), (1, 2), (1, 3)]),
    (Selection(force_rate=12.5, cap=3), [(0, 0), (2, 1), (4, 2)]),
    (Selection(start=0.4, force_rate=50, skip=1, every=3, cap=2), [(10, 1), (12, 4)]),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_selections_apply_in_the_documented_order(selection, expected):
    assert chosen(EVEN, selection) == expected


@pytest.mark.parametrize("rate", [5, 12, 23.976, 24, 25, 29.97, 30, 60, 120])
@pytest.mark.parametrize("seed", range(3))
def test_forced_rate_keeps_the_length_and_shows_the_nearest_frame(rate, seed):
    gaps = np.random.default_rng(seed).integers(5, 120, 60)
    ticks = [0, *np.cumsum(gaps[:-1]).tolist()]
    exact = snap_rate(rate)
    result = chosen(ticks, Selection(force_rate=rate), last=int(gaps[-1]))
    total = (ticks[-1] + int(gaps[-1])) * BASE
    assert abs(len(result) / exact - total) <= 1 / (2 * exact) + BASE
    assert [tick for _, tick in result] == list(range(len(result)))
    for number, tick in result:
        shown_until = ticks[number + 1] * BASE if number + 1 < len(ticks) else total
        assert ticks[number] * BASE <= tick / exact + 1 / (2 * exact) + BASE
        assert tick / exact <= shown_until + 1 / (2 * exact)


def test_a_damaged_stamp_does_not_fill_years_at_a_forced_rate():
    ticks = [0, 40, 80, 10**12, 10**12 + 40, 10**12 + 80]
    result = chosen(ticks, Selection(force_rate=25))
    assert len(result) == 2 + 600 * 25 + 3 and [tick for _, tick in result] == list(range(len(result)))


def test_neighbouring_windows_share_no_frame_and_lose_none():
    ticks = np.cumsum(np.random.default_rng(5).integers(1, 90, 200)).tolist()
    cuts = [0, 0.333, 1.0005, 2.7, 3.14159, 6, 20]
    numbers = [n for a, b in pairwise(cuts) for n, _ in chosen(ticks, Selection(a, b - a))]
    assert numbers == list(range(200))


@pytest.mark.parametrize("bad", [{"start": -1}, {"every": 0}, {"cap": -2}, {"duration": float("nan")}])
def test_senseless_selections_are_refused(bad):
    with pytest.raises(media.BadSelection):
        Selection(**bad)


def test_expected_frames_follow_the_selection():
    second = Fraction(1)
    assert expected_frames(WHOLE, Fraction(25), second, 25) == 25
    assert expected_frames(Selection(force_rate=30, every=4, skip=1), Fraction(25), second, 25) == 8
    assert expected_frames(Selection(cap=10), Fraction(25), None, None) is None
    assert expected_frames(Selection(start=2), Fraction(25), second, 25) == 0


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "ntsc.ts", "pal.mpg", "motion.avi", "vfr.mp4", "film.webm"])
def test_windows_by_seeking_equal_a_cut_of_the_whole(tmp_path, name):
    clip = CASES[name]
    path = write_clip(tmp_path / name, clip)
    whole, stamps = read_all(media.read(path))
    info = media.probe(path)
    length = float(stamps[-1] * info.time_base)
    for start in np.random.default_rng(3).uniform(0, length, 5).round(3).tolist():
        selection = Selection(start=start, duration=0.4)
        first = round(Fraction(str(start)) / info.time_base)
        last = round((Fraction(str(start)) + Fraction(2, 5)) / info.time_base)
        wanted = (stamps >= first) & (stamps < last)
        if not wanted.any():
            continue
        reader = media.read(path, selection)
        frames, pts = read_all(reader)
        assert numbers_of(frames) == numbers_of(whole[wanted]), start
        assert reader.start == stamps[wanted][0] * info.time_base
        assert np.array_equal(pts, stamps[wanted] - stamps[wanted][0])


@pytest.mark.parametrize("name", ["still.mp4", "still.mkv"])
def test_the_last_frame_lasts_until_the_stream_ends(tmp_path, name):
    """A phone's recording ends with a long frame; the packets' own lengths belong to other frames."""
    stamps = [0, 40, 90, 130, 700, 740, 790]
    path = write_clip(tmp_path / name, Clip(numbered(7), stamps=stamps, time_base=Fraction(1, 1000), options=B_FRAMES))
    stream_end = media.probe(path).duration
    reader = media.read(path)
    _, pts = read_all(reader)
    assert reader.losses == [] and reader.end == stream_end > pts[-1] * reader.time_base
    reader = media.read(path, Selection(cap=4))
    read_all(reader)
    assert reader.end == Fraction(700, 1000)


def test_start_is_known_before_and_end_after_reading(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", CASES["film.mp4"])
    reader = media.read(path, Selection(start=1, force_rate=30, skip=3, every=2))
    first = Fraction(24) / NTSC_FILM
    assert reader.start == first + Fraction(3, 30) and reader.end is None
    _, pts = read_all(reader)
    assert pts.tolist() == list(range(0, 2 * len(pts), 2)) and reader.rate == 15
    assert reader.end == (pts[-1] + 2) * reader.time_base
