"""When writing fails it says why and leaves nothing, or something that plays; what exists already stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_clips import FILM_TICK, batches, ffprobe, moving
from seedvr2_anywhere.media import muxing
from seedvr2_anywhere.media.description import WriteFailed
from seedvr2_anywhere.media.output import Cadence, Encoding, Sound
from seedvr2_anywhere.media.presets import FORMATS, choose_encoder, format_named, opens
from seedvr2_anywhere.media.write import Writer, write

TESTS = Path(__file__).resolve().parent.parent
SUFFIXES = {"MP4 H.264": ".mp4", "MOV ProRes": ".mov", "MKV FFV1": ".mkv", "WebM VP9": ".webm", "GIF": ".gif",
            "PNG sequence": ""}  # fmt: skip
PREAMBLE = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "media")!r}]
import conftest
sys.path.insert(0, {str(TESTS / "media")!r})
import importlib.util
spec = importlib.util.spec_from_file_location("root_conftest", {str(TESTS / "conftest.py")!r})
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
import numpy as np
from fractions import Fraction
from made_clips import moving
from seedvr2_anywhere import media
"""


def run_apart(code: str, **more) -> subprocess.CompletedProcess:
    """Run code with the pack in a process of its own."""
    return subprocess.run([sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, **more)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 96, 128, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", SUFFIXES)
def test_an_error_on_the_way_leaves_nothing(tmp_path, name):
    def broken():
        yield noise(30), np.arange(30)
        raise RuntimeError("the network stopped")

    with pytest.raises(RuntimeError, match="network"):
        write(tmp_path / f"out{SUFFIXES[name]}", broken(), time_base=Fraction(1, 25), encoding=Encoding(name))
    assert not list(tmp_path.iterdir())


def test_an_existing_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), Writer(path, time_base=FILM_TICK) as writer:
        writer.push(noise(5), np.arange(5))
        raise RuntimeError
    assert path.read_bytes() == b"old"
    write(path, batches(noise(5), np.arange(5)), time_base=FILM_TICK)
    assert ffprobe(path)["streams"][0]["nb_frames"] == "5"


@pytest.mark.parametrize("name", ["MP4 H.264", "MKV FFV1", "PNG sequence", "GIF"])
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, name):
    """A limit on file size stands for the disk: the kernel refuses the write in the same place."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
frames = np.random.default_rng(1).integers(0, 256, (60, 96, 128, 3), dtype=np.uint8)
try:
    media.write({str(tmp_path / ("out" + SUFFIXES[name]))!r}, [(frames, np.arange(60))], time_base=Fraction(1, 25),
                encoding=media.Encoding({name!r}, quality="near lossless"))
except media.WriteFailed as error:
    print("REFUSED", error)
"""
    done = run_apart(code, timeout=60)
    assert "REFUSED out" in done.stdout and "grew larger than this disk allows" in done.stdout, done.stderr[-500:]
    assert not list(tmp_path.iterdir())


def test_no_room_for_the_second_copy_keeps_the_fragments_and_says_so(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(muxing.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    written = write(tmp_path / "out.mp4", batches(noise(40), np.arange(40)), time_base=Fraction(1, 25))
    assert any("left in fragments" in note for note in written.notes)
    found = ffprobe(written.path, "-count_packets")["streams"][0]
    assert found["nb_read_packets"] == "40"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    if os.geteuid() == 0:
        folder = Path("/sys/kernel")  # refuses even root
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o555)
    with pytest.raises(WriteFailed, match=r"may not be written to|read-only"):
        write(folder / "out.mp4", batches(noise(2), np.arange(2)), time_base=FILM_TICK)


def test_a_missing_folder_is_named_before_anything_is_encoded(tmp_path):
    with pytest.raises(WriteFailed, match="does not exist"):
        Writer(tmp_path / "nowhere" / "out.mp4", time_base=FILM_TICK)


@pytest.mark.parametrize("name", ["MP4 H.264", "MOV ProRes", "MKV FFV1", "WebM VP9"])
def test_a_killed_process_leaves_a_part_that_plays(tmp_path, name):
    path = tmp_path / f"out{SUFFIXES[name]}"
    code = f"""
writer = media.Writer({str(path)!r}, time_base=Fraction(1, 25), encoding=media.Encoding({name!r}, quality="small"))
frames = moving(50, 96, 128)
for turn in range(1000):
    writer.push(frames, np.arange(50) + 50 * turn)
    print(turn, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", PREAMBLE + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)  # fmt: skip
    for line in process.stdout:
        if line.strip() == "8":
            break
    process.kill()
    process.wait()
    assert not path.exists()
    part = path.with_name(path.name + ".part")
    found = ffprobe(part, "-count_frames")["streams"][0]
    assert int(found["nb_read_frames"]) > 100


@pytest.mark.parametrize("name", ["a:b 100%.mp4", "naïve ß 東京.mp4", "x" * 240 + ".mp4"])
def test_any_name_the_disk_takes_can_be_written(tmp_path, name):
    write(tmp_path / name, batches(noise(3), np.arange(3)), time_base=FILM_TICK)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_part_left_by_a_crash_is_replaced(tmp_path):
    (tmp_path / "out.mp4.part").write_bytes(b"x" * 1000)
    write(tmp_path / "out.mp4", batches(noise(3), np.arange(3)), time_base=FILM_TICK)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


ONE = np.zeros((1, 48, 64, 3), np.uint8)
REFUSED = [  # what is pushed, part of the message
    ([], "there are no frames"),
    ([(np.zeros((0, 48, 64, 3), np.uint8), np.zeros(0, np.int64))], "there are no frames"),
    ([(np.zeros((2, 48, 64), np.uint8), np.arange(2))], "uint8 or uint16"),
    ([(np.zeros((2, 48, 64, 3), np.float32), np.arange(2))], "uint8 or uint16"),
    ([(np.zeros((2, 48, 64, 3), np.uint8), np.arange(3))], "3 time stamps"),
    ([(np.zeros((2, 48, 64, 3), np.uint8), np.array([5, 5]))], "must rise"),
    (
        [(np.zeros((1, 48, 64, 3), np.uint8), np.array([0])), (np.zeros((1, 64, 48, 3), np.uint8), np.array([1]))],
        "alike",
    ),
    (
        [(np.zeros((1, 48, 64, 3), np.uint8), np.array([0])), (np.zeros((1, 48, 64, 3), np.uint16), np.array([1]))],
        "alike",
    ),
    ([(np.zeros((1, 48, 64, 3), np.uint8), np.array([0]), np.zeros((1, 48, 63), np.uint8))], "Alpha must be"),
]


@pytest.mark.parametrize(("pushed", "message"), REFUSED)
def test_frames_that_make_no_clip_are_refused_in_words(tmp_path, pushed, message):
    with pytest.raises(WriteFailed, match=message):
        write(tmp_path / "out.mp4", pushed, time_base=FILM_TICK)
    assert not list(tmp_path.iterdir())


ENCODINGS = [
    (Encoding("MP4 H.266"), "out.mp4", "There is no format"),
    (Encoding("MP4 H.264"), "out.mkv", "must end in .mp4"),
    (Encoding("MP4 H.264", bit_depth=10), "out.mp4", "has no 10-bit"),
    (Encoding("MOV ProRes", profile="proxy"), "out.mov", "no ProRes profile"),
    (Encoding("MP4 H.264", crf=60), "out.mp4", "from 0 to 51"),
    (Encoding("WebM VP9", bit_depth=10), "out.webm", "has no 10-bit"),
    (None, "out.avi", "No format is written"),
]


@pytest.mark.parametrize(("encoding", "name", "message"), ENCODINGS)
def test_settings_that_do_not_exist_are_refused_in_words(tmp_path, encoding, name, message):
    with pytest.raises(WriteFailed, match=message):
        write(tmp_path / name, batches(noise(2), np.arange(2)), time_base=FILM_TICK, encoding=encoding)
    assert not list(tmp_path.iterdir())


def test_a_sequence_never_mixes_with_files_that_are_there(tmp_path):
    folder = tmp_path / "sequence"
    folder.mkdir()
    write(folder, batches(noise(2), np.arange(2)), time_base=FILM_TICK)
    with pytest.raises(WriteFailed, match="exists already"):
        write(folder, batches(noise(2), np.arange(2)), time_base=FILM_TICK)
    assert len(list(folder.iterdir())) == 2


def test_a_narrow_picture_is_refused_by_h265_and_not_by_h264(tmp_path):
    narrow = moving(2, 96, 48)
    with pytest.raises(WriteFailed, match="at least 64 pixels wide"):
        write(tmp_path / "a.mp4", batches(narrow, np.arange(2)), time_base=FILM_TICK, encoding=Encoding("MP4 H.265"))
    assert write(tmp_path / "b.mp4", batches(narrow, np.arange(2)), time_base=FILM_TICK).frames == 2


def test_a_missing_clock_is_asked_for(tmp_path):
    with pytest.raises(WriteFailed, match="time_base"):
        write(tmp_path / "out.mp4", batches(noise(2), np.arange(2)))


def test_a_source_of_sound_that_is_gone_is_an_error_that_leaves_nothing(tmp_path):
    from made_clips import tracks_of, write_sound

    source = write_sound(tmp_path / "gone.mp4", "aac", seconds=1)
    sound = Sound(source, tracks_of(source))
    source.unlink()
    with pytest.raises(Exception, match=r"gone\.mp4"):
        write(tmp_path / "out.mp4", batches(noise(2), np.arange(2)), time_base=FILM_TICK, sound=sound)
    assert not list(tmp_path.iterdir())


def test_nvenc_is_used_where_it_opens_and_otherwise_named():
    for line in FORMATS.values():
        works = line.nvenc is not None and opens(line.nvenc)
        if works:
            assert choose_encoder(line, "auto") == (line.nvenc, None)
            continue
        encoder, note = choose_encoder(line, "auto")
        assert encoder == line.codec and note and "CPU" in note
        with pytest.raises(WriteFailed, match="NVENC"):
            choose_encoder(line, "nvenc")
    assert choose_encoder(format_named("MP4 H.264"), "cpu") == ("libx264", None)


def test_writing_is_not_slowed_by_length(tmp_path):
    """Twice the frames take about twice the time: nothing is searched or copied from the start."""
    frames = moving(100, 32, 64)
    lasted = []
    for turns in (2, 8):
        start = time.process_time()
        with Writer(tmp_path / "out.mov", time_base=FILM_TICK, encoding=Encoding("MOV ProRes"),
                    cadence=Cadence(Fraction(24), "change speed")) as writer:  # fmt: skip
            for turn in range(turns):
                writer.push(frames, np.arange(100) + 100 * turn)
            writer.close()
        lasted.append(time.process_time() - start)
    assert lasted[1] < lasted[0] * 4 * 2
