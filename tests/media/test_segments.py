"""Segments play by themselves, survive a crash, and join into one file with every stamp, the sound and the tags."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import (
    FILM_TICK,
    batches,
    click_times,
    expected_clicks,
    ffmpeg_frames,
    ffmpeg_sound,
    ffprobe,
    moving,
    probed_pts,
    tracks_of,
    write_sound,
)
from seedvr2_anywhere.media.description import Chapter, WriteFailed
from seedvr2_anywhere.media.output import Picture, Sound, Tagging
from seedvr2_anywhere.media.probe import probe
from seedvr2_anywhere.media.read import read
from seedvr2_anywhere.media.segments import MANIFEST, Run, SegmentFolder, split_batches

COUNT = 90
CUTS = [(0, 31), (31, 32), (32, 70), (70, COUNT)]
RUN = Run(FILM_TICK, Picture(rate=Fraction(24000, 1001)))
rng = np.random.default_rng(4)
VARIABLE = 500 + np.cumsum(rng.integers(200, 3000, COUNT))
STEADY = 500 + np.arange(COUNT) * 1001


def write_all(folder: Path, pts: np.ndarray, run: Run = RUN, order: tuple[int, ...] = (0, 1, 2, 3), alpha: bool = False,
              frames: np.ndarray | None = None) -> SegmentFolder:  # fmt: skip
    """Four segments, one of them a single frame, in any order."""
    segments = SegmentFolder(folder, run)
    frames = moving(COUNT, 64, 96) if frames is None else frames
    for index in order:
        start, end = CUTS[index]
        parts = list(batches(frames[start:end], pts[start:end]))
        if alpha:
            parts = [(*part, np.ascontiguousarray(part[0][..., 0])) for part in parts]
        segments.write(index, parts, int(pts[end]) if end < COUNT else None)
    return segments


@pytest.mark.parametrize("pts", [STEADY, VARIABLE], ids=["steady", "variable"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_joined_segments_keep_every_stamp(tmp_path, pts, order):
    segments = write_all(tmp_path / "run", pts, order=order)
    written = segments.join(tmp_path / "joined.mp4")
    assert probed_pts(written.path) == [int(stamp - pts[0]) * FILM_TICK for stamp in pts]
    assert written.frames == COUNT
    steps = [packet["dts"] for packet in ffprobe(written.path, "-show_packets", "-select_streams", "v:0")["packets"]]
    assert steps == sorted(set(steps)), "decoding times rise across every join"


def test_joining_copies_and_every_frame_decodes_as_before(tmp_path):
    segments = write_all(tmp_path / "run", VARIABLE)
    joined = segments.join(tmp_path / "joined.mp4").path
    alone = b"".join(ffmpeg_frames(segments.path_of(segment), "yuv420p10le") for segment in segments.segments)
    assert ffmpeg_frames(joined, "yuv420p10le") == alone


def test_each_segment_plays_by_itself(tmp_path):
    segments = write_all(tmp_path / "run", VARIABLE)
    for segment, (start, end) in zip(segments.segments, CUTS, strict=True):
        path = segments.path_of(segment)
        assert len(ffmpeg_frames(path)) == (end - start) * 64 * 96 * 3
        first = ffprobe(path, "-show_packets")["packets"][0]
        assert "K" in first["flags"] and float(first["pts_time"]) == 0
        stream = ffprobe(path)["streams"][0]
        assert (stream["pix_fmt"], stream["color_space"], stream["color_range"]) == ("yuv420p10le", "bt709", "tv")


def test_the_intermediate_keeps_colours_within_three_steps(tmp_path):
    still = moving(1, 64, 96)[0]
    smooth = np.broadcast_to(still, (COUNT, *still.shape)).copy()
    joined = write_all(tmp_path / "run", STEADY, frames=smooth).join(tmp_path / "joined.mp4").path
    back = np.concatenate([batch[0] for batch in read(joined)])
    assert back.dtype == np.uint16
    inside = np.abs(back[-1] / 257 - smooth[-1])[2:10, 2:20]
    assert inside.max() <= 3, inside.max()


def test_alpha_is_a_second_grey_stream_and_comes_back(tmp_path):
    segments = write_all(tmp_path / "run", STEADY, alpha=True)
    joined = segments.join(tmp_path / "joined.mp4").path
    streams = ffprobe(joined)["streams"]
    # FFmpeg decodes 10-bit grey H.264 into the luma plane of 4:2:0
    assert [stream["pix_fmt"] for stream in streams] == ["yuv420p10le", "yuv420p10le"]
    assert [stream["color_range"] for stream in streams] == ["tv", "pc"]
    assert [stream["disposition"]["default"] for stream in streams] == [1, 0]
    assert streams[1]["tags"]["handler_name"] == "alpha"
    assert probed_pts(joined, 1) == probed_pts(joined, 0)
    frames, _, opacity = next(iter(read(joined, alpha=True)))
    assert np.abs(opacity[0] / 257 - moving(1, 64, 96)[0, ..., 0]).mean() <= 2
    assert len(frames) == len(opacity)


@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 2)])
def test_the_original_sound_and_tags_come_along(tmp_path, start):
    source = write_sound(tmp_path / "source.mp4", "aac", seconds=6, tracks=2)
    info = probe(source)
    segments = write_all(tmp_path / "run", STEADY)
    written = segments.join(tmp_path / "joined.mp4", Sound(source, tracks_of(source), start), Tagging(info, start))
    end = COUNT * 1001 / 24000
    wanted = expected_clicks(float(start), float(start) + end)
    for track in range(2):
        found = click_times(ffmpeg_sound(written.path, track))
        assert np.abs(found[: len(wanted)] - wanted).max() <= 0.001


@pytest.mark.parametrize("name", ["MKV FFV1", "MP4 H.265", "WebM AV1"])
def test_other_formats_join_too(tmp_path, name):
    run = Run(FILM_TICK, RUN.picture, name)
    segments = write_all(tmp_path / "run", VARIABLE, run)
    joined = segments.join(tmp_path / f"joined{run.line.container.suffix}").path
    expected = [int(stamp - VARIABLE[0]) * FILM_TICK for stamp in VARIABLE]
    tick = Fraction(0) if name.startswith("MP4") else Fraction(1, 1000)
    assert max(abs(got - want) for got, want in zip(probed_pts(joined), expected, strict=True)) <= tick
    assert len(ffmpeg_frames(joined)) == COUNT * 64 * 96 * 3


def test_a_run_goes_on_after_a_crash_with_what_was_finished(tmp_path):
    first = write_all(tmp_path / "run", STEADY, order=(0, 2))

    def interrupted():
        yield moving(5, 64, 96), STEADY[31:36]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        first.write(1, interrupted())
    again = SegmentFolder(tmp_path / "run", RUN)
    assert [segment.index for segment in again.segments] == [0, 2]
    assert again.segments == first.segments
    again.path_of(again.segments[1]).write_bytes(b"cut off")
    assert [segment.index for segment in again.segments] == [0], "a damaged segment is not taken for a whole one"
    with pytest.raises(WriteFailed, match="holds no finished segment"):
        SegmentFolder(tmp_path / "empty", RUN).join(tmp_path / "out.mp4")


def test_missing_segments_are_named(tmp_path):
    segments = write_all(tmp_path / "run", STEADY, order=(0, 1, 3))
    with pytest.raises(WriteFailed, match="Segments 2 are missing"):
        segments.join(tmp_path / "joined.mp4")
    assert not (tmp_path / "joined.mp4").exists()


def test_overlapping_segments_are_refused(tmp_path):
    segments = SegmentFolder(tmp_path / "run", RUN)
    segments.write(0, [(moving(5, 64, 96), np.arange(5))])
    segments.write(1, [(moving(5, 64, 96), np.arange(4, 9))])
    with pytest.raises(WriteFailed, match="begins before"):
        segments.join(tmp_path / "joined.mp4")


def test_segments_encoded_otherwise_are_refused(tmp_path):
    segments = SegmentFolder(tmp_path / "run", RUN)
    one = segments.write(0, [(moving(5, 64, 96), np.arange(5))])
    two = segments.write(1, [(moving(5, 64, 96), np.arange(5, 10))])
    odd = SegmentFolder(
        tmp_path / "other", Run(FILM_TICK, Picture(rate=Fraction(24000, 1001), sample_aspect=Fraction(4, 3)))
    )
    foreign = odd.write(0, [(moving(5, 64, 96), np.arange(5))])
    data = odd.path_of(foreign).read_bytes()
    segments.path_of(two).write_bytes(data)
    manifest = tmp_path / "run" / MANIFEST
    stored = json.loads(manifest.read_text())
    stored["segments"][1]["bytes"] = len(data)
    manifest.write_text(json.dumps(stored))
    with pytest.raises(WriteFailed, match="other settings"):
        SegmentFolder(tmp_path / "run", RUN).join(tmp_path / "joined.mp4")
    assert one.frames == 5 and not list(tmp_path.glob("joined*"))


def test_another_runs_folder_is_refused_and_a_damaged_manifest_named(tmp_path):
    write_all(tmp_path / "run", STEADY, order=(0,))
    with pytest.raises(WriteFailed, match="another run"):
        SegmentFolder(tmp_path / "run", Run(Fraction(1, 25), RUN.picture))
    (tmp_path / "run" / MANIFEST).write_text("{")
    with pytest.raises(WriteFailed, match="damaged"):
        SegmentFolder(tmp_path / "run", RUN)


def test_batches_are_regrouped_without_losing_a_frame():
    frames, pts = moving(50, 8, 8), np.arange(50)
    groups = list(split_batches(batches(frames, pts, 7), 12))
    assert [sum(len(part[1]) for part in group) for group in groups] == [12, 12, 12, 12, 2]
    assert np.array_equal(np.concatenate([part[1] for group in groups for part in group]), pts)
    assert np.array_equal(np.concatenate([part[0] for group in groups for part in group]), frames)


def test_chapters_of_the_source_are_in_the_joined_file(tmp_path):
    from dataclasses import replace

    source = write_sound(tmp_path / "source.mp4", "aac", seconds=5)
    info = replace(
        probe(source), chapters=(Chapter(Fraction(0), Fraction(1), "a"), Chapter(Fraction(1), Fraction(99), "b"))
    )
    written = write_all(tmp_path / "run", STEADY).join(tmp_path / "joined.mp4", tagging=Tagging(info))
    with av.open(str(written.path)) as container:
        found = [(one["metadata"]["title"], float(one["end"] * one["time_base"])) for one in container.chapters()]
    assert found[0] == ("a", 1.0) and found[1][0] == "b"
    assert abs(found[1][1] - COUNT * 1001 / 24000) < 0.002
