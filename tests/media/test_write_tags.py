"""What a file says about itself goes along: date moved with the start, chapters, subtitles; losses named."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import FILM_TICK, batches, ffprobe, moving
from PIL import Image
from seedvr2_anywhere.media.captions import converted, convertible
from seedvr2_anywhere.media.description import Chapter
from seedvr2_anywhere.media.output import Encoding, Tagging
from seedvr2_anywhere.media.presets import GIF, MP4
from seedvr2_anywhere.media.probe import probe
from seedvr2_anywhere.media.read import read
from seedvr2_anywhere.media.selection import Selection
from seedvr2_anywhere.media.tags import move_time, moved_chapters
from seedvr2_anywhere.media.write import write

TAGS = {"creation_time": "2024-05-01T10:00:00.250000Z", "location": "+48.8500+002.3500/", "title": "Über",
        "com.apple.quicktime.make": "Apple"}  # fmt: skip
WORKFLOW = {"prompt": '{"3": {"class_type": "Füllwort"}}', "workflow": '{"nodes": []}'}
CHAPTERS = [("first", 0, 1000), ("second", 1000, 2500), ("third", 2500, 4000)]


@pytest.fixture
def tagged(tmp_path) -> Path:
    """Four seconds with everything a phone or an editor writes."""
    path = tmp_path / "source.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as output:
        output.metadata.update(TAGS)
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.set_chapters([
            {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for number, (title, start, end) in enumerate(CHAPTERS)
        ])  # fmt: skip
        for index, picture in enumerate(moving(100, 48, 64)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def tags_in(path: Path) -> dict[str, str]:
    """Container tags as ffprobe says them, names in lower case as Matroska writes them in capitals."""
    return {key.lower(): value for key, value in ffprobe(path)["format"]["tags"].items()}


@pytest.mark.parametrize(("name", "suffix"), [("MP4 H.264", ".mp4"), ("MOV ProRes", ".mov"), ("MKV H.265", ".mkv"),
                                              ("WebM VP9", ".webm")])  # fmt: skip
def test_tags_of_the_source_are_kept(tmp_path, tagged, name, suffix):
    path = tmp_path / f"out{suffix}"
    tagging = Tagging(probe(tagged), Fraction(0), WORKFLOW)
    write(path, read(tagged), encoding=Encoding(name, quality="small"), tagging=tagging)
    found = tags_in(path)
    assert found["title"] == "Über"
    assert found["com.apple.quicktime.make"] == "Apple"
    assert "+48.85" in found["location"]
    assert found["creation_time"].startswith("2024-05-01T10:00:00.25")
    assert {key: found[key] for key in WORKFLOW} == WORKFLOW
    with av.open(str(path)) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["workflow"] == WORKFLOW["workflow"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_window_moves_the_date_and_the_chapters(tmp_path, tagged, suffix):
    path = tmp_path / f"out{suffix}"
    write(path, read(tagged, Selection(start=1.6, duration=2.0)))
    assert tags_in(path)["creation_time"].startswith("2024-05-01T10:00:01.85")
    found = ffprobe(path, "-show_chapters")["chapters"]
    times = [(chapter["tags"]["title"], float(chapter["start_time"]), float(chapter["end_time"])) for chapter in found]
    assert times == [("second", 0.0, 0.9), ("third", 0.9, 2.0)]


def test_chapters_are_kept_whole(tmp_path, tagged):
    path = tmp_path / "out.mp4"
    write(path, read(tagged))
    found = ffprobe(path, "-show_chapters")["chapters"]
    assert [(one["tags"]["title"], float(one["start_time"]) * 1000) for one in found] == [
        (title, float(start)) for title, start, _ in CHAPTERS
    ]


TIMES = [
    ("2024-05-01T10:00:00.250000Z", Fraction(3, 2), "2024-05-01T10:00:01.750000Z"),
    ("2024-05-01T12:00:00+0200", Fraction(61), "2024-05-01T12:01:01+02:00"),
    ("2024-12-31 23:59:59", Fraction(2), "2025-01-01T00:00:01.000000Z"),
    ("2024-05-01", Fraction(5), None),
    ("yesterday", Fraction(5), None),
]


@pytest.mark.parametrize(("written", "seconds", "moved"), TIMES)
def test_times_move_in_their_own_zone(written, seconds, moved):
    assert move_time(written, seconds) == moved


def test_chapters_outside_a_window_go():
    chapters = (Chapter(Fraction(0), Fraction(2), "a"), Chapter(Fraction(2), Fraction(9), "b"))
    assert moved_chapters(chapters, Fraction(3), Fraction(4)) == [Chapter(Fraction(0), Fraction(4), "b")]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_a_format_cannot_hold_is_named(tmp_path, tagged, suffix):
    tagging = Tagging(probe(tagged), Fraction(0), WORKFLOW)
    written = write(tmp_path / f"out{suffix}", read(tagged, Selection(cap=3)), tagging=tagging)
    note = next(note for note in written.notes if "cannot hold" in note)
    assert all(word in note for word in ("workflow", "date", "place", "chapters"))


def test_a_png_sequence_carries_the_workflow_in_its_first_picture(tmp_path):
    folder = tmp_path / "sequence"
    written = write(
        folder, batches(moving(3, 48, 64), np.arange(3)), time_base=FILM_TICK, tagging=Tagging(workflow=WORKFLOW)
    )
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"sequence_{number:06d}.png" for number in (1, 2, 3)]
    with Image.open(files[0]) as picture:
        assert {key: picture.info[key] for key in WORKFLOW} == WORKFLOW
        assert np.array_equal(np.asarray(picture), moving(3, 48, 64)[0])
    assert written.frames == 3


def test_sixteen_bit_png_is_exact(tmp_path):
    frames = moving(1, 48, 64, np.uint16)
    write(tmp_path / "deep", batches(frames, np.arange(1)), time_base=FILM_TICK)
    back = np.concatenate([batch[0] for batch in read(next((tmp_path / "deep").iterdir()))])
    assert np.array_equal(back, frames)


def subtitles_in(path: Path) -> list[tuple[float, float, str]]:
    """(start, end, words) of the first subtitle track, as Debian's ffmpeg reads them."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:s:0", "-f", "srt", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cues = [block.split("\n", 2)[1:] for block in text.strip().split("\n\n")]
    return [(*map(_seconds, times.split(" --> ")), words) for times, words in cues]


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("kind", ["subrip", "mov_text", "ass", "webvtt"])
def test_subtitles_come_along_in_the_form_the_container_holds(tmp_path, kind, suffix):
    source = _with_subtitles(tmp_path, kind)
    written = write(tmp_path / f"out{suffix}", read(source, Selection(start=1.0)))
    assert subtitles_in(written.path) == [(1.0, 1.5, "Bye & all\nthe rest")]
    was_converted = any("Subtitle track 1 was converted" in note for note in written.notes)
    held = {".mkv": {"subrip", "ass", "webvtt"}, ".webm": {"webvtt"}}.get(suffix, {"mov_text"})
    assert was_converted == (kind not in held)
    assert not any("left out:" in note for note in written.notes)


def test_only_text_is_converted():
    assert convertible("hdmv_pgs_subtitle", MP4.subtitles) is None
    assert convertible("subrip", GIF.subtitles) is None


CONVERSIONS = [
    # source form, packet, target form, packet
    ("subrip", b"<i>one</i> < two\r\n<font color=red>& more</font>", "webvtt", b"<i>one</i> &lt; two\n&amp; more"),
    ("webvtt", b"<v Ann>a &lt; b</v> <b>c</b>", "subrip", b"a < b <b>c</b>"),
    ("subrip", "<u>Über</u>\n\nzwei".encode(), "mov_text", b"\0\x0b\xc3\x9cber\n\nzwei"),
    ("mov_text", b"\0\x02ab\0\0\0\x0cstyl\0\0\0\0", "subrip", b"ab"),
    ("mov_text", b"\0\0", "subrip", b""),
    ("mov_text", b"\0\x06\xfe\xff\0a\0b", "webvtt", b"ab"),
    ("ass", rb"3,0,Default,,0,0,0,,{\i1}one, two{\i0}\Nthree", "webvtt", b"one, two\nthree"),
    ("ass", rb"4,0,Default,,0,0,0,,{\p1}m 0 0 l 10 0{\p0}", "subrip", b""),
    ("subrip", b"broken \xff text", "mov_text", b"\0\x0fbroken \xef\xbf\xbd text"),
]


@pytest.mark.parametrize(("source", "packet", "target", "expected"), CONVERSIONS)
def test_words_survive_another_form(source, packet, target, expected):
    assert converted(packet, source, target) == expected


def _with_subtitles(folder: Path, kind: str) -> Path:
    """A file with one line at 0.2 s and two at 2 s in this form, made by Debian's ffmpeg."""
    plain, text = folder / "plain.mkv", folder / "lines.srt"
    path = folder / f"subtitled{'.mp4' if kind == 'mov_text' else '.mkv'}"
    write(plain, batches(moving(75, 48, 64), np.arange(75)), time_base=Fraction(1, 25), encoding=Encoding("MKV H.265"))
    text.write_text(
        "1\n00:00:00,200 --> 00:00:00,900\nHello\n\n2\n00:00:02,000 --> 00:00:02,500\nBye & all\nthe rest\n"
    )
    forms = ["-c:v", "copy", "-c:s", "srt" if kind == "subrip" else kind]
    subprocess.run(["ffmpeg", "-v", "error", "-i", plain, "-i", text, *forms, path], check=True)
    return path
