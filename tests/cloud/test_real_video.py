"""Real clips through real codecs: cut, sent, upscaled by the service, checked, joined, timed and heard as before."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.cloud import clip, errors
from seedvr2_anywhere.cloud.plan import Segment, plan_segments
from seedvr2_anywhere.cloud.stitch import stitched
from seedvr2_anywhere.media import soundness

FRAMES, SIZE, RATE = 480, (160, 120), Fraction(24000, 1001)
LARGE_RESULT = int(os.environ.get("SEEDVR2_TEST_LARGE_RESULT", 200_000_000))  # bytes
LARGE_SIZE = (1920, 1440)  # the largest RunComfy makes of a clip of four to three
HANG_S = 60  # limit for what takes two seconds on an idle machine
SHRINK = 8  # the service is told to make results so much smaller than asked


def make_clip(path, frames: int = FRAMES, size: tuple[int, int] = SIZE, rate: Fraction = RATE) -> None:
    """A drifting pattern with some flicker, and two tones."""
    width, height = size
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:height, 0:width]
    flicker = rng.normal(0, 1.2, frames)

    def batches():
        for index in range(frames):
            wave = 128 + 60 * np.sin((x + index) / 17)[..., None] + 40 * np.cos((y - index) / 11)[..., None]
            frame = np.clip(wave * [1.0, 0.9, 0.8] + flicker[index], 0, 255).astype(np.uint8)
            yield frame[None], np.array([index])

    seconds = np.arange(int(48000 * frames / rate)) / 48000
    tone = np.stack([np.sin(seconds * 2 * np.pi * pitch) for pitch in (440, 554)]).astype(np.float32) * 0.3
    sound = media.Sound(samples=media.Samples(tone, 48000))
    media.write(path, batches(), time_base=1 / rate, sound=sound)


@pytest.fixture
def pictures(servers):
    return servers.pictures()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "clip.mp4"
    make_clip(path)
    return path


def open_from(path):
    def opened(first: int):
        with media.read(path, media.Selection(skip=first)) as batches:
            for batch in batches:
                yield batch[0]

    return opened


def real_run(desk, path, overlap: int, **changes):
    """Run a file through the service; returns the joined frames."""
    info = media.probe(path)
    cutter = clip.Cutter(open_from(path))
    desk.service.transform = desk.servers.pictures().Upscaler(shrink=SHRINK, seed=4)
    desk.patience = dataclasses.replace(desk.patience, read_s=HANG_S, block_s=HANG_S)  # it upscales first
    desk.cut = lambda segment: clip.cut_segment(cutter, segment, 24)
    desk.verify = lambda file, segment: clip.result_complaint(file, segment, info.square_size, 1080 // SHRINK)
    desk.stitch = lambda: None
    count = media.count_frames(path)
    desk.run(frames=count, rate=float(info.rate), overlap=overlap, in_flight=3, **changes)
    files = dict(desk.finished.parts)
    return stitched(tuple(files), lambda segment: clip.read_result(files[segment], segment))


def seam_ratio(levels: np.ndarray, segments: tuple[Segment, ...]) -> float:
    """Largest change of a frame's mean colour within seams, against the largest one outside."""
    changes = np.abs(np.diff(levels, axis=0)).max(1)
    seam = np.zeros(len(changes), bool)
    for _before, after in pairwise(segments):
        seam[after.start - 1 : after.start + max(after.fade, 1)] = True
    return float(changes[seam].max() / changes[~seam].max())


def test_twenty_seconds_come_back_seamless_in_time_and_with_their_sound(desk, source, tmp_path):
    info = media.probe(source)
    results = real_run(desk, source, 16)
    assert desk.posts == 4
    with media.read(source) as reader:
        batches = [(result, pts) for result, _, pts in clip.alongside(results, reader)]
        out = tmp_path / "out.mp4"
        sound = media.Sound(source=source, tracks=info.audio, origin=info.start)
        media.write(out, batches, time_base=reader.time_base, sound=sound)
    levels = np.concatenate([result.mean((1, 2)) for result, _ in batches])
    assert len(levels) == FRAMES
    assert seam_ratio(levels, plan_segments(FRAMES, 16)) <= 1.1
    made = media.probe(out)
    assert (media.count_frames(out), made.rate, len(made.audio)) == (FRAMES, RATE, 1)
    assert stamps(out) == stamps(source)
    assert np.array_equal(heard(out), heard(source))


def test_a_result_cut_short_after_it_was_found_good_is_named_with_its_segment(tmp_path, pictures):
    path, segment = tmp_path / "result.mp4", Segment(2, 100, 140)
    made = np.random.default_rng(5).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    media.write(path, ((made[at : at + 1], np.array([at])) for at in range(40)), time_base=1 / RATE)
    assert clip.result_complaint(path, segment, (96, 64), 64) is None
    assert sum(len(batch) for batch in stitched([segment], lambda one: clip.read_result(path, one))) == 40
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(errors.Undecodable, match="The result of segment 3") as caught:
        list(stitched([segment], lambda one: clip.read_result(path, one)))
    assert caught.value.segment == 2


def test_without_the_crossfade_the_seams_would_show(desk, source):
    results = real_run(desk, source, 0)
    levels = np.concatenate([batch.mean((1, 2)) for batch in results])
    assert seam_ratio(levels, plan_segments(FRAMES, 0)) > 1.1


def stamps(path) -> list[Fraction]:
    with media.read(path) as batches:
        return [int(tick) * batches.time_base for batch in batches for tick in batch[1]]


def heard(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@pytest.mark.parametrize("frames", [1, 31, 40])
def test_what_is_sent_is_a_playable_clip_of_the_right_frames(source, pictures, frames):
    cutter = clip.Cutter(open_from(source))
    segment = Segment(0, 100, 100 + frames)
    sent = pictures.frames_of(clip.cut_segment(cutter, segment, 24))
    assert len(sent) == max(frames, 32)
    original = pictures.frames_of(source)[100 : 100 + frames]
    original += [original[-1]] * (len(sent) - frames)
    differences = [np.abs(a.astype(float) - b).mean() for a, b in zip(sent, original, strict=True)]
    assert max(differences) < 1.5, "levels out of 255, after two encodings"


def test_the_clip_is_read_once_for_all_segments_in_order():
    opened = []

    def open_counting(first):
        opened.append(first)
        return iter([np.full((1, 2, 2, 3), index, np.uint16) for index in range(first, 1000)])

    cutter = clip.Cutter(open_counting)
    for segment in plan_segments(1000, 20, [150]):
        got = [int(frame[0, 0, 0]) for frame in cutter.frames(segment)]
        assert got == list(range(segment.start, segment.stop))
    assert opened == [0]
    assert [int(frame[0, 0, 0]) for frame in cutter.frames(Segment(0, 10, 50))] == list(range(10, 50))
    assert opened == [0, 10]


def test_a_clip_that_ends_early_is_refused_before_it_is_sent(source):
    cutter = clip.Cutter(open_from(source))
    with pytest.raises(errors.OutsideLimits, match="ended after 480 frames"):
        clip.cut_segment(cutter, Segment(0, 400, 500), 24)


def test_a_segment_too_large_is_encoded_smaller_until_it_fits(source, pictures):
    best = clip.cut_segment(clip.Cutter(open_from(source)), Segment(0, 0, 40), 24)
    limit = len(best) - 1
    smaller = clip.cut_segment(clip.Cutter(open_from(source)), Segment(0, 0, 40), 24, limit)
    assert len(smaller) <= limit
    assert len(pictures.frames_of(smaller)) == 40


@pytest.mark.parametrize(
    ("frames", "size", "complaint"),
    [
        (40, (176, 128), None),
        (41, (176, 128), None),
        (39, (176, 128), "39 frames came back, 40 were sent"),
        (40, (320, 240), None),
        (40, (240, 240), "no shape"),
        (40, (128, 176), "no shape"),
    ],
)
def test_a_result_is_judged_by_its_content(tmp_path, frames, size, complaint):
    path = tmp_path / "result.mp4"
    make_clip(path, frames, size)
    found = clip.result_complaint(path, Segment(0, 0, 40), SIZE, 135)
    assert found is None if complaint is None else complaint in found


@pytest.mark.parametrize("damage", ["head only", "middle gone", "end gone"])
def test_a_result_that_does_not_decode_is_no_result(tmp_path, damage):
    path = tmp_path / "result.mp4"
    make_clip(path, 40, (176, 128))
    data = bytearray(path.read_bytes())
    if damage == "head only":
        path.write_bytes(data[:100])
    elif damage == "end gone":
        assert data.find(b"moov") < data.find(b"mdat"), "the index still promises all frames"
        path.write_bytes(data[: len(data) // 2])
    else:
        index = data.find(b"mdat")
        data[index + 4 : index + 4 + (len(data) - index) * 9 // 10] = bytes((len(data) - index) * 9 // 10)
        path.write_bytes(data)
    assert clip.result_complaint(path, Segment(0, 0, 40), SIZE, 135) is not None


def test_looking_at_a_large_result_decodes_no_more_than_a_sample(tmp_path, monkeypatch):
    path = tmp_path / "result.mp4"
    make_clip(path, 200, (176, 128))
    info = media.probe(path)
    decoded = []
    plain = soundness.decoded

    def counted(packet):
        frames = plain(packet)
        decoded.extend(frames)
        return frames

    monkeypatch.setattr(soundness, "decoded", counted)
    assert media.sound_frames(path, info) == 200
    assert len(decoded) == 200, "all of it while it is small"
    decoded.clear()
    monkeypatch.setattr(soundness, "MOST_BYTES", 1)
    assert media.sound_frames(path, info) == 200
    assert soundness.LEAST_FRAMES <= len(decoded) < 20


def make_large(path, size: int) -> None:
    """A clip of at least so many bytes, all of them pictures: one frame of noise, stored again and again."""
    picture = np.random.default_rng(0).integers(0, 256, (LARGE_SIZE[1], LARGE_SIZE[0], 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=24, options={"qp": "1", "preset": "ultrafast", "tune": "zerolatency"}
        )
        stream.width, stream.height, stream.pix_fmt = *LARGE_SIZE, "yuv420p"
        (packet,) = stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24"))
        data = bytes(packet)
        for number in range(max(-(-size // len(data)), 40)):
            copy = av.Packet(data)
            copy.stream, copy.time_base, copy.is_keyframe = stream, Fraction(1, 24), True
            copy.pts = copy.dts = number
            container.mux(copy)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
def test_receiving_a_large_result_takes_little_memory(desk, tmp_path):
    large = tmp_path / "large.mp4"
    make_large(large, LARGE_RESULT)
    size = large.stat().st_size

    def stream(call) -> bool:
        call.send_response(200)
        call.send_header("Content-Length", str(size))
        call.end_headers()
        with large.open("rb") as file:
            call.wfile.writelines(iter(lambda: file.read(1 << 20), b""))
        return True

    desk.service.plan("download", stream)
    url = desk.service.base.removesuffix("/v1") + "/out/large.mp4"
    script = Path(__file__).resolve().parent / "receiving.py"
    command = [sys.executable, str(script), url, str(tmp_path / "result.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    received, memory, seconds = done.stdout.split()
    print(f"{int(received) / 1e6:,.0f} MB received and verified in {seconds} s: {int(memory) / 1e6:.1f} MB above idle")
    assert int(received) == size >= LARGE_RESULT
    assert int(memory) <= 100_000_000, done.stdout
