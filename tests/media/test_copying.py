"""Copies carry the source's own packets: every stamp, every tag, its sound or another."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import RATE, batches, click_times, clicks, ffmpeg_frames, ffmpeg_sound, ffprobe, probed_pts, write_sound
from made_clips import moving as moving_frames
from seedvr2_anywhere.media.copying import copy
from seedvr2_anywhere.media.description import WriteFailed
from seedvr2_anywhere.media.output import Encoding, Samples, Sound, Tagging
from seedvr2_anywhere.media.probe import probe
from seedvr2_anywhere.media.write import write


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Variable rate, B-frames, two sound tracks: pictures and sound made apart, put together by copying."""
    folder = tmp_path_factory.mktemp("copy")
    sound = write_sound(folder / "sound.mp4", "aac", seconds=3, tracks=2)
    pts = np.cumsum(np.random.default_rng(2).integers(2000, 5000, 60))
    write(folder / "pictures.mp4", batches(moving_frames(60, 64, 96), pts), time_base=Fraction(1, 90000))
    info = probe(sound)
    path = folder / "source.mp4"
    copy(path, probe(folder / "pictures.mp4"), Sound(sound, info.audio, info.start), Tagging(info))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_copy_has_the_sources_packets_stamps_and_sound(tmp_path, source, suffix):
    written = copy(tmp_path / f"copy{suffix}", probe(source))
    error = max(abs(a - b) for a, b in zip(probed_pts(written.path), probed_pts(source), strict=True))
    assert error < (Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 90000))
    assert ffmpeg_frames(written.path) == ffmpeg_frames(source)
    assert len([one for one in ffprobe(written.path)["streams"] if one["codec_type"] == "audio"]) == 2
    found, wanted = click_times(ffmpeg_sound(written.path)), click_times(ffmpeg_sound(source))
    wanted = wanted[wanted > 0.03] if suffix == ".mkv" else wanted
    shared = min(len(found), len(wanted))
    assert shared >= 7 and np.abs(found[:shared] - wanted[:shared]).max() <= 0.001
    assert written.frames == 60


def test_a_copy_takes_other_sound(tmp_path, source):
    sound = Sound(samples=Samples(clicks(4 * RATE, 1), RATE))
    written = copy(tmp_path / "copy.mp4", probe(source), sound)
    with av.open(str(written.path)) as container:
        assert [stream.codec_context.layout.name for stream in container.streams.audio] == ["mono"]
    assert abs(ffmpeg_sound(written.path).shape[1] / RATE - float(written.duration)) < 0.03


def test_pictures_a_container_does_not_take_are_refused(tmp_path, source):
    with pytest.raises(WriteFailed, match="does not take h264"):
        copy(tmp_path / "copy.webm", probe(source))
    with pytest.raises(WriteFailed, match="Copies are written as"):
        copy(tmp_path / "copy.avi", probe(source))
    gif = tmp_path / "a.gif"
    write(gif, batches(moving_frames(3, 64, 96), np.arange(3)), time_base=Fraction(1, 10), encoding=Encoding("GIF"))
    with pytest.raises(WriteFailed, match="no video file"):
        copy(tmp_path / "copy.mp4", probe(gif))
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]
