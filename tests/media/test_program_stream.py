"""A DVD's stream is entered in its middle where its clock allows it, with the frames and times of a whole reading."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media import decode
from seedvr2_anywhere.media.program_stream import has_one_clock, pack_clock
from seedvr2_anywhere.media.selection import Selection
from source_clips import Clip, numbered, numbers_of, read_all, write_clip

COUNT, RATE = 1000, Fraction(25)
OPTIONS = {"g": "15", "bf": "2", "qmax": "4"}


@pytest.fixture(scope="module")
def title(tmp_path_factory) -> Path:
    """Forty seconds of a disc."""
    clip = Clip(numbered(COUNT), rate=RATE, codec="mpeg2video", options=OPTIONS, format="vob")
    return write_clip(tmp_path_factory.mktemp("disc") / "title.vob", clip)


def read_from(path: Path, frame: int, monkeypatch) -> tuple[list[int], list[int], int]:
    """(numbers shown, pts, packets taken from the file) of eight frames from this one on."""
    packets = 0

    def counting(packet, continuity):
        nonlocal packets
        packets += 1
        move_packet(packet, continuity)

    move_packet = decode.move_packet
    monkeypatch.setattr(decode, "move_packet", counting)
    reader = media.read(path, Selection(start=frame / RATE, cap=8))
    frames, pts = read_all(reader)
    assert reader.start == frame / RATE
    return numbers_of(frames), pts.tolist(), packets


@pytest.mark.parametrize("frame", [3, 400, 777, 985])
def test_a_far_start_is_found_without_reading_all_before_it(title, monkeypatch, frame):
    assert has_one_clock(title)
    numbers, pts, packets = read_from(title, frame, monkeypatch)
    assert numbers == list(range(frame, frame + 8))
    assert pts == [3600 * index for index in range(8)]
    assert packets < COUNT // 3, "at most the seconds before it are read"


def test_a_title_in_parts_is_entered_too(title, tmp_path, monkeypatch):
    data, folder = title.read_bytes(), tmp_path / "VIDEO_TS"
    folder.mkdir()
    cut = len(data) // 3 // 2048 * 2048
    (folder / "VTS_01_1.VOB").write_bytes(data[:cut])
    (folder / "VTS_01_2.VOB").write_bytes(data[cut:])
    numbers, _, packets = read_from(folder, 800, monkeypatch)
    assert numbers == list(range(800, 808)) and packets < COUNT // 3


def test_a_clock_that_restarts_is_followed_from_the_beginning(title, tmp_path, monkeypatch):
    twice = tmp_path / "twice.vob"
    twice.write_bytes(title.read_bytes() * 2)
    assert not has_one_clock(twice)
    numbers, pts, _ = read_from(twice, COUNT + 300, monkeypatch)
    assert numbers == list(range(300, 308))
    assert pts == [3600 * index for index in range(8)]


@pytest.mark.parametrize("ticks", [0, 1, 123_456_789, 5 * 10**9, 2**33 - 1])
def test_both_headers_name_the_clock(ticks):
    parts = (ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF)
    second = f"01{parts[0]:03b}1{parts[1]:015b}1{parts[2]:015b}100"
    first = f"0010{parts[0]:03b}1{parts[1]:015b}1{parts[2]:015b}1"
    for bits in (first, second):
        assert pack_clock(int(bits, 2).to_bytes(5, "big")) == ticks


def test_a_file_without_packs_is_not_searched(tmp_path):
    empty = tmp_path / "empty.mpg"
    empty.write_bytes(bytes(100_000))
    assert not has_one_clock(empty)
