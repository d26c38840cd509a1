"""Every kind of source comes out upright, whole and described; memory does not grow with length."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media import source
from seedvr2_anywhere.media.probe import video_stream
from source_clips import (
    Clip,
    add_dolby_vision,
    card,
    frame_of,
    numbered,
    numbers_of,
    patch_means,
    read_all,
    to_yuv,
    turn_by_matrix,
    write_clip,
)

FAST = {"preset": "ultrafast", "crf": "20"}
ROOT = Path(__file__).resolve().parents[2]

TURNS = [
    ((0, 1), (-1, 0), lambda a: np.rot90(a, -1)),
    ((0, -1), (1, 0), np.rot90),
    ((-1, 0), (0, -1), lambda a: np.rot90(a, 2)),
    ((-1, 0), (0, 1), np.fliplr),
    ((1, 0), (0, -1), np.flipud),
    ((0, 1), (1, 0), lambda a: a.transpose(1, 0, 2)),
]


@pytest.mark.parametrize(("across", "down", "upright"), TURNS)
@pytest.mark.parametrize("format_", ["yuv444p", "yuv444p10le"])
def test_display_matrix_is_applied(tmp_path, across, down, upright, format_):
    deep = format_ != "yuv444p"
    rng = np.random.default_rng(0)
    planes = [rng.integers(64, 200, (48, 80)).astype(np.uint16 if deep else np.uint8) for _ in range(3)]
    path = write_clip(tmp_path / "clip.mp4", Clip([planes] * 2, format_))
    stored, _ = read_all(media.read(path))
    reader = media.read(turn_by_matrix(path, across, down))
    frames, _ = read_all(reader)
    assert np.array_equal(frames[0], upright(stored[0]))
    assert reader.size == reader.info.size == frames.shape[2:0:-1]


def test_a_turned_picture_also_turns_its_pixel_shape(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", Clip(numbered(3, 720, 576), aspect=Fraction(16, 15), options=FAST))
    info = media.probe(turn_by_matrix(path, (0, 1), (-1, 0)))
    assert info.size == (576, 720) and info.sample_aspect == Fraction(15, 16) and info.square_size == (576, 768)


def test_other_angles_are_ignored_and_said(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", Clip(numbered(2), options=FAST))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    for offset, value in zip((0, 4, 12, 16), (0.866, 0.5, -0.5, 0.866), strict=True):
        data[at + offset : at + offset + 4] = int(value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    info = media.probe(path)
    assert info.rotation == 0 and any("30°" in note for note in info.notes)


def write_alpha(path, codec, pixel_format, options, planes):
    return write_clip(path, Clip([planes] * 3, pixel_format, codec=codec, options=options))


@pytest.mark.parametrize(("name", "codec", "format_", "bits"), [
    ("alpha.webm", "libvpx-vp9", "yuva420p", 8), ("alpha.mov", "prores_ks", "yuva444p10le", 10),
    ("alpha.mkv", "ffv1", "yuva444p12le", 12), ("rgba.mkv", "ffv1", "bgra", 8), ("deep.mkv", "ffv1", "gbrap12le", 12),
])  # fmt: skip
def test_opacity_comes_separately_at_full_scale(tmp_path, name, codec, format_, bits):
    height, width = 64, 128
    top = (1 << bits) - 1
    kind = np.uint8 if bits == 8 else np.uint16
    ramp = np.tile(np.linspace(0, top, width).astype(kind), (height, 1))
    full = np.full((height, width), 1 << (bits - 1), kind)
    if format_ == "bgra":
        frame = av.VideoFrame.from_ndarray(np.stack([full, full, full, ramp], -1), "bgra")
        planes = None
    else:
        half = full[::2, ::2] if "420" in format_ else full
        planes = [full, half, half, ramp]
    path = tmp_path / name
    if planes is None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, 25)
            stream.width, stream.height, stream.pix_fmt = width, height, format_
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    else:
        write_alpha(path, codec, format_, {"crf": "4", "b": "0"} if "vpx" in codec else {}, planes)
    reader = media.read(path, alpha=True)
    assert reader.info.has_alpha
    frames, _, opacity = next(reader)
    white = np.iinfo(opacity.dtype).max
    assert opacity.shape == frames.shape[:3] and opacity.dtype == (np.uint8 if bits == 8 else np.uint16)
    expected = np.linspace(0, 1, width)
    lossy = 0.02 if codec in ("libvpx-vp9", "prores_ks") else 0.5 / top + 1 / white
    assert np.abs(opacity[0, height // 2] / white - expected).max() <= lossy + 1 / top
    reader.close()
    plain, _ = read_all(media.read(path))
    assert plain.shape[-1] == 3


def test_sources_without_alpha_are_opaque(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", Clip(numbered(3), options=FAST))
    _, _, opacity = next(media.read(path, alpha=True))
    assert opacity.min() == 255


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_opacity_in_a_stream_of_its_own_is_found_and_timed(tmp_path, name):
    path = tmp_path / name
    gray = [np.full((48, 64), level, np.uint16) for level in range(0, 1000, 100)]
    with av.open(str(path), "w") as container:
        streams = []
        for format_, label in (("yuv420p", {}), ("gray10le", {"title": "alpha", "handler_name": "alpha"})):
            stream = container.add_stream("libx264", 25, options={"qp": "0", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, format_
            stream.codec_context.color_range = 1 if format_ == "yuv420p" else 2
            stream.metadata.update(label)
            streams.append(stream)
        for index, (planes, level) in enumerate(zip(numbered(10), gray, strict=True)):
            for stream, one, format_ in zip(streams, (planes, [level]), ("yuv420p", "gray10le"), strict=True):
                frame = frame_of(one, format_)
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    info = media.probe(path)
    assert info.alpha_index == 1 and info.stream_index == 0 and info.has_alpha
    for start in (0, 0.2):
        for frames, _, opacity in media.read(path, media.Selection(start=start), alpha=True, info=info):
            expected = [round(number * 100 * 255 / 1023) for number in numbers_of(frames)]
            assert opacity[:, 20, 20].tolist() == expected


def test_a_disc_folder_plays_its_longest_title_as_one(tmp_path):
    folder = tmp_path / "VIDEO_TS"
    folder.mkdir()
    clip = Clip(numbered(100, 720, 576), codec="mpeg2video", options={"qmax": "4", "g": "12"}, format="vob")
    data = write_clip(tmp_path / "title.vob", clip).read_bytes()
    cut = len(data) // 2 // 2048 * 2048
    (folder / "VTS_02_1.VOB").write_bytes(data[:cut])
    (folder / "VTS_02_2.VOB").write_bytes(data[cut:])
    (folder / "VTS_01_1.VOB").write_bytes(data[: cut // 4])
    (folder / "VTS_02_0.VOB").write_bytes(b"\0" * 4096)
    for path in (tmp_path, folder):
        reader = media.read(path)
        frames, pts = read_all(reader)
        assert numbers_of(frames) == list(range(100)) and reader.info.container == "mpeg"
        assert np.array_equal(np.diff(pts), np.full(99, 3600))
    frames, pts = read_all(media.read(folder, media.Selection(start=2, duration=0.2)))
    assert numbers_of(frames) == list(range(50, 55)) and pts[0] == 0


def test_a_change_of_size_keeps_the_first_one(tmp_path):
    one = write_clip(tmp_path / "one.ts", Clip(numbered(20, 128, 96), options=FAST)).read_bytes()
    two = write_clip(tmp_path / "two.ts", Clip(numbered(20, 256, 192), options=FAST)).read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(one + two)
    reader = media.read(both)
    frames, _ = read_all(reader)
    assert frames.shape[1:3] == (96, 128)
    assert numbers_of(frames) == list(range(20)) * 2
    assert any("changes its size" in note for note in reader.notes)


def test_probe_describes_tracks_tags_and_chapters(tmp_path):
    path = tmp_path / "rich.mkv"
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "Trip", "creation_time": "2024-05-01T10:00:00.000000Z",
                                   "location": "+48.1+011.5/", "prompt": '{"1": {}}', "workflow": "{}"})  # fmt: skip
        container.set_chapters([{"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000),
                                 "metadata": {"title": "First"}}])  # fmt: skip
        video = container.add_stream("libx264", 25, options=FAST)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [container.add_stream("aac", 48000, layout=layout) for layout in ("stereo", "5.1")]
        sounds[0].metadata["language"], sounds[1].metadata["title"] = "deu", "Surround"
        for index, planes in enumerate(numbered(25)):
            frame = frame_of(planes, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        for sound in sounds:
            for index in range(40):
                channels = sound.codec_context.layout.nb_channels
                frame = av.AudioFrame.from_ndarray(np.zeros((channels, 1024), np.float32), "fltp",
                                                   sound.codec_context.layout.name)  # fmt: skip
                frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1024, Fraction(1, 48000)
                container.mux(sound.encode(frame))
        for stream in (video, *sounds):
            container.mux(stream.encode(None))
    info = media.probe(path)
    assert (info.container, info.codec, info.size, info.frame_count, info.frame_count_exact) == (
        "matroska", "h264", (64, 48), 25, True)  # fmt: skip
    assert [(one.codec, one.channels, one.rate) for one in info.audio] == [("aac", 2, 48000), ("aac", 6, 48000)]
    assert info.audio[0].language in ("deu", "ger") and info.audio[1].title == "Surround"
    assert info.default_audio == info.audio[0]
    assert info.workflow == {"prompt": '{"1": {}}', "workflow": "{}"}
    assert info.location == "+48.1+011.5/" and info.creation_time.startswith("2024-05-01T10:00:00")
    assert [(one.title, one.end) for one in info.chapters] == [("First", 1)]


def test_exact_count_by_reading_packets(tmp_path):
    path = write_clip(tmp_path / "long.mkv", Clip(numbered(340), options=FAST))
    info = media.probe(path)
    assert not info.frame_count_exact and info.frame_count == 340
    assert media.count_frames(path) == 340


@pytest.mark.parametrize(("profile", "compatibility"), [(5, 0), (8, 4), (8, 1)])
def test_dolby_vision_is_read_by_its_base_layer_or_refused_by_name(tmp_path, profile, compatibility):
    planes = to_yuv(card(256, 96), "bt2020", False, 10)
    transfer = 18 if compatibility == 4 else 16
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    clip = Clip([planes] * 3, "yuv420p10le", codec="libx265", tags=tags,
                options={"preset": "ultrafast", "crf": "1", "x265-params": "log-level=none"})  # fmt: skip
    path = add_dolby_vision(write_clip(tmp_path / "dolby.mp4", clip), profile, compatibility)
    if profile == 5:
        with pytest.raises(media.Unsupported, match="Dolby Vision profile 5"):
            media.probe(path)
        return
    reader = media.read(path)
    assert reader.info.dolby_vision == f"{profile}.{compatibility}"
    assert reader.colour.transfer == ("hlg" if compatibility == 4 else "pq")
    frames, _ = read_all(reader)
    assert patch_means(frames[0])[0].min() > 0.99


def test_leaving_early_ends_the_thread(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", Clip(numbered(300, 320, 240), options=FAST))
    before = threading.active_count()
    with media.read(path) as reader:
        next(reader)
    assert threading.active_count() == before
    loose = media.read(path)
    next(loose)
    del loose
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_closing_does_not_wait_for_frames_that_are_passed_over(tmp_path):
    one = write_clip(tmp_path / "one.mp4", Clip(numbered(25, 320, 240), options={**FAST, "g": "25"}))
    path = looped(one, tmp_path / "film.mp4", 2000)
    reader = media.read(path, media.Selection(skip=49_000))
    waiting = threading.Thread(target=lambda: next(reader, None), daemon=True)
    waiting.start()
    time.sleep(0.3)
    start = time.monotonic()
    reader.close()
    waiting.join(5)
    assert time.monotonic() - start < 1 and not waiting.is_alive()


def test_batches_are_owned_by_the_caller(tmp_path):
    """A batch kept is not overwritten by those that follow."""
    path = write_clip(tmp_path / "clip.mp4", Clip(numbered(60), options=FAST))
    kept = list(media.read(path, frames_per_batch=7))
    assert [len(frames) for frames, _ in kept] == [7] * 8 + [4]
    assert [number for frames, _ in kept for number in numbers_of(frames)] == list(range(60))


def looped(source: Path, target: Path, times: int) -> Path:
    """The packets of a clip again and again: a long file without encoding it."""
    with av.open(str(source)) as one:
        stream = one.streams.video[0]
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in one.demux(stream) if packet.size
        ]
        step = packets[1][2] - packets[0][2]
        length = max(pts for _, pts, _, _ in packets) + step
        with av.open(str(target), "w") as many:
            copy = many.add_stream_from_template(stream)
            for turn, (data, pts, dts, is_key) in product(range(times), packets):
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + turn * length, dts + turn * length, stream.time_base
                packet.duration, packet.is_keyframe, packet.stream = step, is_key, copy
                many.mux(packet)
    return target


PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
import conftest
from seedvr2_anywhere import media
from seedvr2_anywhere.media import source
count = sum(len(frames) for frames, _ in media.read(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="counts resident memory by getrusage")
def test_memory_does_not_grow_with_length(tmp_path):
    one = write_clip(tmp_path / "one.mp4", Clip(numbered(25, 960, 544), options={**FAST, "g": "25"}))
    peaks = {}
    for times in (2, 20):
        path = looped(one, tmp_path / f"{times}.mp4", times)
        script = PEAK.format(tests=str(ROOT / "tests"))
        result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        count, peaks[times] = map(int, result.stdout.split())
        assert count == times * 25
    assert peaks[20] <= peaks[2] * 1.05, f"kilobytes: {peaks}"


def test_two_hours_are_probed_without_reading_them(tmp_path):
    one = write_clip(tmp_path / "one.mp4", Clip(numbered(25, 320, 240), options={**FAST, "g": "25"}))
    path = looped(one, tmp_path / "film.mp4", 7200)
    start = time.process_time()
    info = media.probe(path)
    assert time.process_time() - start < 2
    assert info.frame_count == 180_000 and info.duration == 7200 and info.rate == 25
    reader = media.read(path, media.Selection(start=7000, cap=3), info=info)
    start = time.process_time()
    frames, _ = read_all(reader)
    assert numbers_of(frames) == [0, 1, 2] and time.process_time() - start < 2


def test_probe_keeps_off_cover_pictures():
    class Stream:
        def __init__(self, flags, width):
            self.disposition, self.width, self.height, self.metadata = flags, width, 10, {}
            self.codec_context = object()

    class Container:
        class streams:
            video = (Stream(1 << 10, 500), Stream(0, 20), Stream(1, 10))

    assert video_stream(Container, "clip").width == 10


LENT = {
    # name: clip whose rows follow each other in memory or not, in 8 and 16 bit
    "wide.mp4": Clip(numbered(9), options=FAST),
    "narrow.mp4": Clip(numbered(9, width=80), options=FAST),
    "deep.mkv": Clip([[plane.astype(np.uint16) << 2 for plane in frame] for frame in numbered(9)],
                     pixel_format="yuv420p10le", codec="ffv1", options={}),
}  # fmt: skip


@pytest.mark.parametrize("name", LENT)
def test_frames_one_by_one_are_the_same_and_the_callers_own(tmp_path, name):
    """Batches of one may be memory of the conversion itself: nothing may write there while they are held."""
    path = write_clip(tmp_path / name, LENT[name])
    together = np.concatenate([batch[0] for batch in media.read(path, frames_per_batch=9)])
    held = [batch[0] for batch in media.read(path, frames_per_batch=1)]
    assert np.array_equal(np.concatenate(held), together)
    for frames in held:
        assert frames.shape == (1, *together.shape[1:]) and frames.flags.c_contiguous and frames.flags.writeable
        frames[...] = 0
    again = np.concatenate([batch[0] for batch in media.read(path, frames_per_batch=1)])
    assert np.array_equal(again, together)


HDR_TAGS = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}
OPENED = {
    "late index.mp4": Clip(numbered(40), options={**FAST, "bf": "2"}),
    "fragments.mp4": Clip(numbered(40), options=FAST, muxer={"movflags": "frag_keyframe+empty_moov"}),
    "hdr.mov": Clip([[plane.astype(np.uint16) * 4 for plane in planes] for planes in numbered(20)], "yuv420p10le",
                    codec="libx265", options={**FAST, "x265-params": "log-level=none"}, tags=HDR_TAGS),
}  # fmt: skip


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("has_sound", [False, True])
def test_a_quick_opening_tells_the_same_as_a_thorough_one(tmp_path, monkeypatch, name, has_sound):
    path = write_clip(tmp_path / name, OPENED[name])
    if has_sound:
        path = path.rename(tmp_path / f"silent_{name}")
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "lavfi", "-i", "sine=440:d=2", "-c:v", "copy",
                        str(tmp_path / name)], check=True)  # fmt: skip
    quick = media.probe(tmp_path / name), *read_all(media.read(tmp_path / name))
    monkeypatch.setattr(source, "HAS_SAFE_STREAM_OPTIONS", False)
    thorough = media.probe(tmp_path / name), *read_all(media.read(tmp_path / name))
    assert quick[0] == thorough[0] and len(quick[0].audio) == has_sound
    for found, expected in zip(quick[1:], thorough[1:], strict=True):
        np.testing.assert_array_equal(found, expected)
