"""Sound lies where it belongs: copied to the packet, cut to the sample, trimmed, padded, repaired, or named."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_clips import (
    CLICK_EVERY,
    FILM_TICK,
    RATE,
    batches,
    click_times,
    clicks,
    expected_clicks,
    ffmpeg_sound,
    ffprobe,
    moving,
    probed_pts,
    tracks_of,
    write_sound,
)
from seedvr2_anywhere.media.muxing import Muxer
from seedvr2_anywhere.media.output import Cadence, Encoding, Samples, Sound
from seedvr2_anywhere.media.presets import MKV
from seedvr2_anywhere.media.probe import probe
from seedvr2_anywhere.media.read import read
from seedvr2_anywhere.media.remux import Companions
from seedvr2_anywhere.media.selection import Selection
from seedvr2_anywhere.media.soundtrack import nearest_rate
from seedvr2_anywhere.media.write import write

OFFSET = 0.001  # seconds, where decoded; copies are exact as well
PACKET = 0.1  # the longest packet of these codecs (FLAC: 4608 samples)
SECONDS = 2  # of picture
SOURCES = {  # name → codec, options of write_sound
    "aac.mp4": ("aac", {}),
    "mp3.mkv": ("libmp3lame", {}),
    "opus.webm": ("libopus", {}),
    "flac.mkv": ("flac", {}),
    "pcm.mov": ("pcm_s16le", {}),
    "ac3.ts": ("ac3", {}),
    "surround.mp4": ("aac", {"layout": "5.1"}),
    "mono.mp4": ("aac", {"layout": "mono"}),
}
FAST = {"MP4 H.264": "ultrafast", "MKV H.265": "ultrafast"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    return {name: write_sound(folder / name, codec, seconds=3, **more) for name, (codec, more) in SOURCES.items()}


def write_beside(path: Path, name: str, sound: Sound, seconds: float = SECONDS):
    """Pictures of that length with the sound."""
    count = round(seconds * 25)
    frames = moving(count, 32, 64)
    encoding = Encoding(name, quality="small", speed=FAST.get(name, ""))
    return write(path, batches(frames, np.arange(count) * 960), time_base=FILM_TICK, encoding=encoding, sound=sound)


def picture_start(path: Path) -> Fraction:
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        return (stream.start_time or 0) * stream.time_base


@pytest.mark.parametrize("start", [Fraction(0), Fraction(13, 25)])
@pytest.mark.parametrize("name", ["MP4 H.264", "MKV H.265", "WebM VP9", "MOV ProRes"])
@pytest.mark.parametrize("kind", SOURCES)
def test_sound_stays_with_the_picture(tmp_path, sources, kind, name, start):
    source = sources[kind]
    suffix = {"MP4": ".mp4", "MKV": ".mkv", "Web": ".webm", "MOV": ".mov"}[name[:3]]
    sound = Sound(source, tracks_of(source), picture_start(source) + start)
    written = write_beside(tmp_path / f"out{suffix}", name, sound)
    heard = ffmpeg_sound(written.path)
    wanted = expected_clicks(float(start), float(start) + SECONDS)
    found = click_times(heard)
    copied = not any("encoded again" in note for note in written.notes)
    if any("run-up" in note for note in written.notes):  # Matroska cannot hold AAC's first packet
        wanted = wanted[wanted > 0.03]
    found = found[: len(wanted)] if copied else found  # a copied packet may reach one click further
    assert len(found) == len(wanted)
    assert np.abs(found - wanted).max() <= OFFSET
    length = heard.shape[1] / RATE
    assert SECONDS - OFFSET <= length <= SECONDS + PACKET
    if copied and length > SECONDS + OFFSET:
        assert any("ends with its packet" in note for note in written.notes)
    layout = {"surround.mp4": 6, "mono.mp4": 1}.get(kind, 2)
    assert heard.shape[0] == layout


def test_copied_packets_are_the_sources_own(tmp_path, sources):
    source = sources["aac.mp4"]
    written = write_beside(tmp_path / "out.mp4", "MP4 H.264", Sound(source, tracks_of(source)))
    with av.open(str(source)) as before, av.open(str(written.path)) as after:
        old = [bytes(packet) for packet in before.demux(audio=0) if packet.size]
        new = [bytes(packet) for packet in after.demux(audio=0) if packet.size]
    assert new == old[: len(new)] and len(new) > 80


def test_all_tracks_come_along_with_their_languages(tmp_path):
    source = write_sound(tmp_path / "two.mp4", "aac", seconds=3, tracks=3)
    tracks = tracks_of(source)
    written = write_beside(tmp_path / "out.mp4", "MP4 H.264", Sound(source, tracks))
    streams = ffprobe(written.path)["streams"][1:]
    assert [stream["tags"]["language"] for stream in streams] == ["eng", "fra", "deu"]
    assert [stream["disposition"]["default"] for stream in streams] == [1, 0, 0]
    for number in range(3):
        found = click_times(ffmpeg_sound(written.path, number))[:8]
        assert np.abs(found - np.arange(8) * CLICK_EVERY / RATE).max() <= OFFSET
    first_alone = write_beside(tmp_path / "one.mp4", "MP4 H.264", Sound(source, tracks[:1]))
    assert len(ffprobe(first_alone.path)["streams"]) == 2


LENGTHS = [  # choice, seconds of picture, seconds of sound kept, frames kept
    ("trim to video", 2, 2, 50),
    ("trim to video", 4, 3, 100),
    ("pad silence", 4, 4, 100),
    ("trim video", 4, 3, 75),
    ("keep", 2, 3, 50),
]


@pytest.mark.parametrize(("choice", "seconds", "kept", "frames"), LENGTHS)
@pytest.mark.parametrize("memory", [False, True])
def test_different_lengths_are_settled_by_choice(tmp_path, sources, choice, seconds, kept, frames, memory):
    if memory:
        sound = Sound(samples=Samples(clicks(3 * RATE, 2), RATE), length=choice)
    else:
        sound = Sound(sources["aac.mp4"], tracks_of(sources["aac.mp4"]), length=choice)
    written = write_beside(tmp_path / "out.mp4", "MP4 H.264", sound, seconds)
    assert len(probed_pts(written.path)) == written.frames == frames
    heard = ffmpeg_sound(written.path).shape[1] / RATE
    assert kept - 0.003 <= heard <= kept + 0.03, heard
    if frames < seconds * 25:
        assert any("after the end of the sound" in note for note in written.notes)


def test_padding_is_silent(tmp_path):
    sound = Sound(samples=Samples(clicks(RATE, 2), RATE), length="pad silence")
    written = write_beside(tmp_path / "out.mov", "MOV ProRes", sound)
    heard = ffmpeg_sound(written.path)
    assert heard.shape[1] == SECONDS * RATE
    assert np.abs(heard[:, RATE + 10 :]).max() == 0


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 1), (8000, 1), (96000, 2), (192000, 2), (48000, 6)])
@pytest.mark.parametrize("name", ["MP4 H.264", "WebM VP9"])
def test_sound_from_memory_keeps_its_channels_and_time(tmp_path, rate, channels, name):
    suffix = ".mp4" if "MP4" in name else ".webm"
    samples = clicks(2 * rate, channels, rate)
    written = write_beside(tmp_path / f"out{suffix}", name, Sound(samples=Samples(samples, rate)))
    heard = ffmpeg_sound(written.path)
    assert heard.shape[0] == channels
    wanted = np.arange(8) / 4
    found = click_times(heard)
    shared = min(len(found), len(wanted))
    assert shared >= len(wanted) - 1
    assert np.abs(found[:shared] - wanted[:shared]).max() <= OFFSET


def test_a_track_that_ends_early_does_not_make_the_others_wait_in_memory(tmp_path):
    """The second track goes on for a minute after the first has ended."""
    source = tmp_path / "uneven.mkv"
    with av.open(str(source), "w") as output:
        streams = [output.add_stream("pcm_s16le", rate=8000) for _ in range(2)]
        for start in range(0, 60 * 8000, 800):
            for stream in streams if start < 8000 else streams[1:]:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
                output.mux(stream.encode(frame))
    muxer = Muxer(tmp_path / "out.mkv", MKV, {})
    companions = Companions(muxer, Sound(source, tracks_of(source)), None, None)
    companions.advance(Fraction(5))
    ahead = [track.reached for track in companions._audio.values()]
    companions.close()
    muxer.abort()
    assert ahead[0] < 1 and 5 <= ahead[1] <= 16


def test_another_speed_of_the_pictures_is_named(tmp_path, sources):
    written = write(tmp_path / "out.mp4", read(sources["aac.mp4"]), cadence=Cadence(Fraction(50), "change speed"))
    assert any("the sound keeps its own" in note for note in written.notes)
    assert abs(ffmpeg_sound(written.path).shape[1] / RATE - 1.5) < 0.03, "trimmed to the pictures"


def test_lossless_sound_stays_lossless(tmp_path, sources):
    source = sources["flac.mkv"]
    sound = Sound(source, tracks_of(source), Fraction(1, 2))
    written = write_beside(tmp_path / "out.mkv", "MKV FFV1", sound)
    assert ffprobe(written.path)["streams"][1]["codec_name"] == "flac"
    before = ffmpeg_sound(source)[:, RATE // 2 : RATE // 2 + SECONDS * RATE]
    assert np.abs(ffmpeg_sound(written.path) - before).max() < 1e-4


def test_samples_that_are_no_numbers_become_silence_and_are_named(tmp_path):
    samples = clicks(2 * RATE, 2)
    samples[0, 1000:1100] = np.nan
    samples[1, 5] = np.inf
    written = write_beside(tmp_path / "out.mov", "MOV ProRes", Sound(samples=Samples(samples, RATE)))
    assert any("101 samples that are no numbers" in note for note in written.notes)
    heard = ffmpeg_sound(written.path)
    assert np.isfinite(heard).all() and np.abs(heard[0, 1000:1100]).max() == 0


@pytest.mark.parametrize("suffix", [".gif", ".webp", ""])
def test_sound_that_cannot_be_held_is_named(tmp_path, sources, suffix):
    source = sources["aac.mp4"]
    written = write(tmp_path / f"out{suffix}", batches(moving(5, 32, 48), np.arange(5)), time_base=Fraction(1, 25),
                    sound=Sound(source, tracks_of(source)))  # fmt: skip
    assert any("sound" in note for note in written.notes)


@pytest.mark.parametrize("begin", [0, 1.2])
def test_a_window_of_a_clip_keeps_its_own_sound(tmp_path, sources, begin):
    """Through the reader: nothing has to be said about sound."""
    written = write(tmp_path / "out.mp4", read(sources["aac.mp4"], Selection(start=begin, duration=1.5)))
    found = click_times(ffmpeg_sound(written.path))
    wanted = expected_clicks(begin, begin + 1.5)
    assert np.abs(found[: len(wanted)] - wanted).max() <= OFFSET
    assert len(ffprobe(written.path)["streams"]) == 2


def test_sound_follows_a_stream_that_restarts_its_clock(tmp_path, sources):
    """Two recordings joined byte by byte, as capture boxes do."""
    once = sources["ac3.ts"].read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once + once)
    written = write(tmp_path / "out.mp4", read(twice))
    found = click_times(ffmpeg_sound(written.path))
    assert written.frames == 150 and len(found) == 24
    assert np.abs(found - np.arange(24) / 4).max() <= 0.02, "half a frame: what the parts themselves differ by"


@pytest.mark.parametrize(("codec", "rate", "offered"), [("aac", 44100, 44100), ("aac", 37800, 44100),
                                                        ("aac", 192000, 96000), ("libopus", 44100, 48000),
                                                        ("flac", 37800, 37800)])  # fmt: skip
def test_rates_an_encoder_lacks_go_to_the_next_higher(codec, rate, offered):
    assert nearest_rate(codec, rate) == offered


MANY_CHANNELS = {"7.1": (8, "7.1"), "16 named": (16, "hexadecagonal"), "10 unnamed": (10, None)}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("case", MANY_CHANNELS)
def test_more_channels_than_planes_are_encoded_or_mixed_and_told(tmp_path, case, suffix):
    channels, layout = MANY_CHANNELS[case]
    tones = "|".join(f"0.1*sin({200 + 50 * number}*t)" for number in range(channels))
    named = f":c={layout}" if layout else ""
    source = tmp_path / "many.mkv"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=24:d=2", "-f", "lavfi", "-i",
               f"aevalsrc={tones}{named}:s=48000:d=2", "-c:v", "libx264", "-c:a", "pcm_s16le", str(source)]  # fmt: skip
    subprocess.run(command, check=True)
    written = write(tmp_path / f"out{suffix}", read(source, Selection(start=0.5)))
    track = probe(written.path).audio[0]
    assert track.channels == 8
    assert any("mixed to 7.1" in note for note in written.notes) == (channels > 8)
