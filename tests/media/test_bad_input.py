"""Broken, hostile and senseless input ends in a clear error or a stated repair, never in a hang or a crash."""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from seedvr2_anywhere import media
from source_clips import Clip, numbered, numbers_of, read_all, write_clip, write_sound

FAST = {"preset": "ultrafast", "crf": "20"}


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", Clip(numbered(50), options=FAST, muxer={"movflags": "faststart"}))


def refused(path, error, *words):
    """Both ways in refuse it with this error, naming the words."""
    for action in (media.probe, lambda one: list(media.read(one))):
        with pytest.raises(error) as caught:
            action(path)
        assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("content", "word"), [(b"", "0 bytes"), (b"hello, this is no video\n" * 40, "cannot be read"),
                                               (bytes(5000), "cannot be read")])  # fmt: skip
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "gif", "bin"])
def test_files_without_a_clip_are_refused_by_name(tmp_path, content, word, suffix):
    path = tmp_path / f"nothing.{suffix}"
    path.write_bytes(content)
    refused(path, media.UnreadableFile, "nothing", word)


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    refused(tmp_path / "gone.mp4", media.UnreadableFile, "does not exist")
    refused(tmp_path, media.UnreadableFile, "no images")
    refused("", media.UnreadableFile, "empty")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", media.UnreadableFile, "no regular file")
    refused("/dev/zero", media.UnreadableFile, "no regular file")


@pytest.mark.parametrize("name", ["sound.m4a", "sound.wav", "sound.mka"])
def test_sound_alone_is_named(tmp_path, name):
    import av

    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("pcm_s16le" if name.endswith("wav") else "aac", 48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        for one in av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=48000).resample(frame):
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    refused(tmp_path / name, media.NoVideo, "sound but no picture")


def test_a_head_cut_off_is_refused(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[600:])
    refused(cut, media.UnreadableFile, "cut.mp4")
    late = write_clip(tmp_path / "late.mp4", Clip(numbered(50), options=FAST))
    (tmp_path / "open.mp4").write_bytes(late.read_bytes()[: late.stat().st_size // 2])  # its index was at the end
    refused(tmp_path / "open.mp4", media.UnreadableFile, "without its index")


@pytest.mark.parametrize("name", ["tail.mp4", "tail.mkv", "fragments.mp4", "tail.avi"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_tail_cut_off_keeps_what_came_before_and_says_what_is_lost(tmp_path, name, share):
    muxer = {"tail.mp4": {"movflags": "faststart"}, "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"}}
    options = {"preset": "ultrafast", "crf": "20", "g": "10"} if not name.endswith("avi") else {"g": "10"}
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    whole = write_clip(tmp_path / name, Clip(numbered(100), codec=codec, options=options, muxer=muxer.get(name, {})))
    duration = media.probe(whole).duration
    data = whole.read_bytes()
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(data[: int(len(data) * share)])
    reader = media.read(cut)
    frames, _ = read_all(reader)
    numbers = numbers_of(frames)
    # a last picture that was cut through may have been patched up by its decoder
    assert numbers[:-1] == list(range(len(numbers) - 1)) and 20 < len(numbers) < 100
    if name != "fragments.mp4":  # whose header knows no length: nothing tells that there was more
        assert duration == 4
        loss = reader.losses[-1]
        end = len(numbers) / Fraction(25)
        assert abs(loss.start - end) <= Fraction(2, 25) and abs(loss.end - 4) <= Fraction(1, 25), loss
        assert abs(loss.frames - (100 - len(numbers))) <= 2 and "early" in str(loss)


def test_a_stream_of_no_known_kind_is_passed_over(tmp_path):
    """Found by a campaign: PyAV 16 crashed on being asked what such a stream is."""
    path = write_sound(tmp_path / "clip.avi", np.zeros((2, 48000), np.float32), 48000, "mp2", "stereo", pictures=25)
    data = path.read_bytes()
    sound_format = data.index(b"strf", data.index(b"strf") + 4)  # the second stream's
    path.write_bytes(data[:sound_format] + b"xxxx" + data[sound_format + 4 :])
    frames, _ = read_all(media.read(path))
    assert len(frames) == 25 and media.probe(path).audio == ()


def test_whole_files_report_no_loss(tmp_path):
    sound = np.zeros((2, 48000 * 3), np.float32)
    path = write_sound(tmp_path / "longer_sound.mkv", sound, 48000, "aac", "stereo", pictures=50)
    reader = media.read(path)
    frames, _ = read_all(reader)
    assert len(frames) == 50 and reader.losses == []


def test_damage_in_the_middle_costs_only_its_pictures(tmp_path):
    path = write_clip(tmp_path / "clip.ts", Clip(numbered(100), options={**FAST, "g": "10"}))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    frames, pts = read_all(media.read(path))
    numbers = numbers_of(frames)
    assert len(numbers) >= 85 and numbers[:30] == list(range(30)) and numbers[-20:] == list(range(80, 100))
    assert np.all(np.diff(pts) > 0)


@pytest.mark.parametrize("selection", [media.Selection(start=50), media.Selection(skip=50),
                                       media.Selection(start=1.99, duration=0.001)])  # fmt: skip
def test_a_selection_without_frames_names_the_length(clip, selection):
    with pytest.raises(media.BadSelection, match=r"2\.000 s long \(50 frames\)"):
        list(media.read(clip, selection))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 10) + b"IDAT" + bytes(10)


HUGE = {
    "huge.png": huge_png(),
    "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 64, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
                + bytes(10),
    "huge.gif": b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0) + b"," + struct.pack(
        "<HHHHB", 0, 0, 30_000, 30_000, 0) + b"\2\1\0\0;" + bytes(10),
    "huge.y4m": b"YUV4MPEG2 W30000 H30000 F25:1 C420\nFRAME\n" + bytes(10),
}  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="counts resident memory by getrusage")
@pytest.mark.parametrize("name", sorted(HUGE))
def test_huge_headers_are_refused_before_anything_is_allocated(tmp_path, name):
    import resource

    path = tmp_path / name
    path.write_bytes(HUGE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(media.MediaError, match=r"30000 × 30000|900000000 pixels|cannot be read as a video"):
        list(media.read(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "kilobytes"


def test_paths_outside_the_allowed_folders_are_refused(tmp_path, clip):
    inside = tmp_path / "input"
    inside.mkdir()
    (inside / "link.mp4").symlink_to(clip)
    for path in (clip, inside / ".." / "clip.mp4", inside / "link.mp4", f'"{clip}"'):
        with pytest.raises(media.NotAllowed, match="outside the folders"):
            media.probe(path, allowed=[inside])
    (inside / "link.mp4").rename(tmp_path / "link.mp4")
    folder = inside / "pictures"
    folder.mkdir()
    (folder / "1.png").symlink_to(clip)
    with pytest.raises(media.NotAllowed, match="leads, outside"):
        media.probe(folder, allowed=[inside])
    (inside / "own.mp4").write_bytes(clip.read_bytes())
    assert media.probe(f' "{inside / "own.mp4"}" ', allowed=[inside]).frame_count == 50
    with pytest.raises(media.NotAllowed):
        media.read("/etc/passwd", allowed=[inside])


@pytest.mark.parametrize("link", ["https://example.com/clip.mp4", "http://127.0.0.1/x.mp4", "rtsp://camera/1",
                                  "concat:a.mp4|b.mp4://x", "file:///etc/passwd"])  # fmt: skip
def test_links_are_not_followed(link):
    with pytest.raises(media.MediaError, match=r"link|does not exist"):
        media.probe(link)


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{clip}'\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
                'mimeType="video/mp4"><Representation id="1"><BaseURL>{clip}</BaseURL></Representation>'
                "</AdaptationSet></Period></MPD>",
    "list.sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PLAYLISTS))
def test_playlists_lead_nowhere(tmp_path, clip, name):
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(clip=clip))
    refused(path, media.UnreadableFile, name)


def test_errors_reach_the_reading_thread(tmp_path, clip):
    info = media.probe(clip)
    clip.write_bytes(b"replaced meanwhile")
    with pytest.raises(media.UnreadableFile, match="cannot be read"):
        list(media.read(clip, info=info))


@pytest.mark.parametrize(("field", "value"), [("primaries", 99), ("transfer", 66)])
def test_tags_nobody_knows_do_not_stop_the_reading(tmp_path, field, value):
    """ProRes carries its tags in every frame; swscale refuses those that are in no table."""
    path = write_clip(tmp_path / "clip.mov", Clip(deep_frames(4), "yuv422p10le", codec="prores_ks", options={}))
    whole, _ = read_all(media.read(path))
    data = bytearray(path.read_bytes())
    second = data.index(b"icpf", data.index(b"icpf") + 4)
    data[second + {"primaries": 18, "transfer": 19}[field]] = value
    path.write_bytes(data)
    frames, _ = read_all(media.read(path))
    assert np.array_equal(frames, whole)


def deep_frames(count: int) -> list[list[np.ndarray]]:
    """10-bit 4:2:2 planes."""
    return [[np.full((48, width), 300 + 40 * index, np.uint16) for width in (64, 32, 32)] for index in range(count)]


def test_a_damaged_h265_picture_does_not_hang_the_decoder():
    """Found by a campaign: the frame threads of libavcodec's decoder wait for each other for ever here."""
    path = Path(__file__).parent / "damaged" / "frame_threads_hang.mp4"
    ended = threading.Event()
    losses = []

    def reading() -> None:
        reader = media.read(path)
        losses.extend([len(batch[0]) for batch in reader] and reader.losses)
        ended.set()

    threading.Thread(target=reading, daemon=True).start()
    assert ended.wait(60) and losses


def test_a_gif_picture_beyond_its_screen_is_cut_to_it(tmp_path):
    path = tmp_path / "wide.gif"
    stills = [Image.fromarray(np.full((16, 24), shade, np.uint8)) for shade in (0, 120, 240)]
    stills[0].save(path, save_all=True, append_images=stills[1:], duration=80)
    data = bytearray(path.read_bytes())
    descriptor = b"," + struct.pack("<HHHH", 0, 0, 24, 16)
    second = data.index(descriptor, data.index(descriptor) + 1)
    data[second + 1 : second + 3] = struct.pack("<H", 8)  # its left edge
    path.write_bytes(data)
    frames, _ = read_all(media.read(path))
    assert frames.shape == (3, 16, 24, 3)
