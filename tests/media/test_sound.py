"""Sound comes to the sample, whatever the codec's delay, the container's clock and the window."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.media.sound import read_sound
from source_clips import write_sound

RATE = 48000


def tones(seconds=2.0, channels=2, rate=RATE):
    """A different slow sweep in each channel: any shift by a sample shows."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.4 * np.sin(2 * np.pi * (200 + 90 * c) * time * (1 + time / 4)) for c in range(channels)]).astype(
        np.float32
    )


def shift(found, expected, reach=3000):
    """How many samples `found` [N] lies behind `expected`, by correlation."""
    size = 1 << (len(expected) + len(found)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size))
    values = np.fft.irfft(spectrum)
    lags = np.concatenate([np.arange(reach), np.arange(-reach, 0)])
    return int(lags[np.argmax(values[lags])])


EXACT = [("pcm.mkv", "pcm_s24le"), ("pcm.mov", "pcm_s16le"), ("flac.mkv", "flac")]
LOSSY = [("aac.mp4", "aac"), ("aac.mkv", "aac"), ("opus.mkv", "libopus"), ("ac3.ts", "ac3"), ("mp3.mp4", "libmp3lame"),
         ("mp2.mpg", "mp2")]  # fmt: skip


@pytest.mark.parametrize(("name", "codec"), EXACT)
def test_lossless_sound_is_exact_to_the_sample(tmp_path, name, codec):
    samples = tones()
    found = read_sound(write_sound(tmp_path / name, samples, RATE, codec, "stereo"))
    assert found.rate == RATE and found.samples.dtype == np.float32
    length = min(samples.shape[1], found.samples.shape[1])
    assert length >= 2 * RATE - 1
    assert np.abs(found.samples[:, :length] - samples[:, :length]).max() < 1 / 30_000


@pytest.mark.parametrize(("name", "codec"), LOSSY)
def test_lossy_sound_lies_where_it_was_within_a_millisecond(tmp_path, name, codec):
    samples = tones()
    found = read_sound(write_sound(tmp_path / name, samples, RATE, codec, "stereo"))
    assert abs(shift(found.samples[0], samples[0])) <= RATE // 1000, shift(found.samples[0], samples[0])


@pytest.mark.parametrize("name", ["aac.mp4", "pcm.mkv", "opus.mkv", "ac3.ts"])
@pytest.mark.parametrize(("start", "duration"), [(0.5, 0.75), (1.234, 0.1), (0.04, 0)])
def test_windows_are_cut_out_of_the_whole(tmp_path, name, start, duration):
    codec = dict(LOSSY + EXACT)[name]
    path = write_sound(tmp_path / name, tones(), RATE, codec, "stereo")
    whole = read_sound(path).samples
    part = read_sound(path, start=start, duration=duration).samples
    first = round(start * RATE)
    expected = whole[:, first : first + round(duration * RATE) if duration else None]
    assert part.shape == expected.shape
    # decoders that look back differ in the last bits after a seek
    assert np.abs(part - expected).max() < 2e-3


def test_far_windows_of_coarse_stamps_are_within_a_millisecond(tmp_path, monkeypatch):
    from seedvr2_anywhere.media import sound

    monkeypatch.setattr(sound, "EXACT_REACH", Fraction(1, 2))
    path = write_sound(tmp_path / "opus.mkv", tones(), RATE, "libopus", "stereo")
    part, whole = read_sound(path, start=1.234, duration=0.5).samples, read_sound(path).samples
    assert abs(shift(part[0], whole[0, round(1.234 * RATE) :][: part.shape[1]])) <= RATE // 1000


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
@pytest.mark.parametrize("rate", [48000, 44100, 22050])
def test_channels_and_rates_are_kept(tmp_path, layout, channels, rate):
    samples = tones(1.0, channels, rate)
    found = read_sound(write_sound(tmp_path / "clip.mkv", samples, rate, "flac", layout, pictures=25))
    assert found.rate == rate and found.samples.shape == samples.shape
    assert np.abs(found.samples - samples).max() < 1e-3


def test_sound_that_begins_late_is_preceded_by_silence(tmp_path):
    path = write_sound(tmp_path / "late.mkv", tones(), RATE, "pcm_s16le", "stereo", start=0.25)
    found = read_sound(path).samples
    quiet = round(0.25 * RATE)
    assert not found[:, : quiet - RATE // 1000].any()
    assert np.abs(found[:, quiet : quiet + RATE] - tones()[:, :RATE]).max() < 1e-3


def test_sound_before_the_first_picture_is_cut(tmp_path):
    path = write_sound(tmp_path / "early.mkv", tones(), RATE, "pcm_s16le", "stereo", picture_start=10)
    assert media.probe(path).start == Fraction(2, 5)
    found = read_sound(path).samples
    expected = tones()[:, round(0.4 * RATE) :]
    assert np.abs(found - expected)[:, :RATE].max() < 1e-3


def test_values_that_are_no_numbers_become_silence(tmp_path):
    samples = tones(1.0)
    samples[0, 500:600], samples[1, 700] = np.nan, np.inf
    path = write_sound(tmp_path / "nan.mkv", samples, RATE, "pcm_f32le", "stereo", pictures=25)
    found = read_sound(path).samples
    assert np.isfinite(found).all() and not found[0, 500:600].any()
    assert np.abs(found[0, 700:] - samples[0, 700:]).max() < 1e-6


def test_clips_without_sound_have_none(tmp_path):
    from source_clips import Clip, numbered, write_clip

    assert read_sound(write_clip(tmp_path / "silent.mp4", Clip(numbered(5)))) is None
