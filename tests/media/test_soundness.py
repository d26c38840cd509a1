"""A file whose last pictures are missing or damaged is told from a whole one."""

from __future__ import annotations

import pytest
from seedvr2_anywhere import media
from source_clips import Clip, numbered, write_clip

FRAMES = 60


@pytest.fixture(params=["with B-frames", "key frames only at the start", "many key frames"])
def clip(request, tmp_path):
    keys = {"many key frames": "10"}.get(request.param, "250")
    options = {"preset": "fast" if request.param == "with B-frames" else "ultrafast", "crf": "20", "g": keys}
    return write_clip(tmp_path / "clip.mp4", Clip(numbered(FRAMES), options=options, muxer={"movflags": "faststart"}))


def test_all_frames_of_a_whole_file_are_counted(clip):
    assert media.sound_frames(clip, media.probe(clip)) == FRAMES


def test_a_file_that_was_cut_off_is_refused_or_counted_short(clip):
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) - 200])
    try:
        assert media.sound_frames(clip, media.probe(clip)) < FRAMES
    except media.MediaError as error:
        assert "clip.mp4" in str(error)


def test_a_file_without_a_picture_that_decodes_is_refused(clip):
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    damaged = clip.with_name("damaged.mp4")
    info = media.probe(clip)
    data[start:] = bytes(len(data) - start)
    damaged.write_bytes(data)
    with pytest.raises(media.MediaError, match=r"damaged\.mp4"):
        media.sound_frames(damaged, info)


@pytest.mark.parametrize("place", [0.3, 0.5])
def test_damage_in_the_middle_alone_is_found(clip, place):
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    first = start + int(place * (len(data) - start))
    damage = slice(first, first + (len(data) - start) // 20)
    data[damage] = bytes(damage.stop - damage.start)
    clip.write_bytes(data)
    with pytest.raises(media.MediaError, match=r"clip\.mp4"):
        media.sound_frames(clip, media.probe(clip))
