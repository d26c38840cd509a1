"""The source's sound and subtitles beside new pictures: copied packet by packet where the container allows it.

Copied when the window starts with the track, or when an edit list can express the trim; the tail is then cut at the end
of a packet. Otherwise decoded, cut to the sample and encoded. Everything that could not come along is named in `notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.audio.stream
import av.container
import av.stream

from .captions import ConvertedTrack, convertible
from .decode import RESTARTING_CONTAINERS, UNINDEXED_CONTAINERS, move_packet
from .description import AudioTrack, MediaInfo, SubtitleTrack
from .muxing import Label, Muxer
from .output import AudioLength, Sound
from .program_stream import has_one_clock
from .soundtrack import (
    LAYOUTS,
    MOST_CHANNELS,
    PREROLL,
    CopiedTrack,
    EncodedTrack,
    SampleTrack,
    SampleWriter,
    Track,
    choose_codec,
)
from .source import open_container
from .tags import track_label
from .timing import Continuity

TOLERANCE = Fraction(1, 1000)  # a track that starts this close to the window needs no cut
SEEK_MARGIN = 2  # seconds before the window where reading starts
LEAD = 10  # seconds one track may be read ahead of another: what is read waits in memory
NEVER = Fraction(10**9)
MICROSECONDS = 1_000_000


class Companions:
    """All that goes beside the pictures: made from a Sound, fed as the pictures come, finished at their end."""

    def __init__(self, muxer: Muxer, sound: Sound, subtitles_of: MediaInfo | None, expected: Fraction | None) -> None:
        self.notes: list[str] = []
        self._muxer = muxer
        self._sound = sound
        self._expected = expected
        self._audio: dict[int, Track] = {}  # by stream index in the source; sound from memory is −1
        self._texts: dict[int, Track] = {}
        self._names: dict[int, str] = {}
        self._packets: Iterator[av.Packet] = iter(())
        self._source: av.container.InputContainer | None = None
        self._continuity: Continuity | None = None
        if sound.samples is not None:
            self._add_samples()
        self._open_source(subtitles_of)

    def advance(self, until: Fraction) -> None:
        """Bring all tracks up to `until` seconds after the first frame."""
        self._read_until(until)
        for track in (*self._audio.values(), *self._texts.values()):
            track.advance(until)

    def finish(self, end: Fraction) -> None:
        """Write the rest, given where the pictures end."""
        length = self._sound.length
        stop = None if length == "keep" else end
        self._read_until(stop)
        for index, track in self._audio.items():
            track.finish(stop, pad=length == "pad silence")
            self._say(index, track, end, length)
        for track in self._texts.values():
            track.finish(stop, pad=False)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _add_samples(self) -> None:
        samples = self._sound.samples
        assert samples is not None
        codec = self._muxer.container.audio_encoder
        if codec is None:
            self.notes.append(f"{self._muxer.path.suffix or 'A PNG sequence'} holds no sound: it was left out.")
            return
        channels = 1 if samples.samples.ndim == 1 else samples.samples.shape[0]
        writer = SampleWriter(self._muxer, codec, samples.rate, LAYOUTS[channels], Label({}))
        self._audio[-1] = SampleTrack(writer, samples)
        self._names[-1] = "The sound"

    def _open_source(self, subtitles_of: MediaInfo | None) -> None:
        tracks = self._sound.tracks if self._sound.samples is None else ()
        texts = subtitles_of.subtitles if subtitles_of is not None else ()
        path = self._sound.source if tracks else subtitles_of.path if subtitles_of is not None else None
        if path is None or not (tracks or texts):
            return
        self._source = open_container(path)
        if not self._is_same_file(path, subtitles_of):
            texts = ()
        for number, track in enumerate(tracks, 1):
            self._add_audio(self._source, track, number)
        for number, text in enumerate(texts, 1):
            self._add_text(self._source, text, number)
        self._start_reading(self._source, path)

    def _is_same_file(self, path: object, subtitles_of: MediaInfo | None) -> bool:
        return subtitles_of is not None and subtitles_of.path == path

    def _add_audio(self, source: av.container.InputContainer, track: AudioTrack, number: int) -> None:
        name = f"Sound track {number} ({track.codec})"
        container = self._muxer.container
        stream = source.streams[track.index]
        label = track_label(track)
        codec = choose_codec(self._muxer, track.codec)
        if codec is None:
            self.notes.append(f"{name} was left out: {self._muxer.path.suffix or 'a PNG sequence'} holds no sound.")
            return
        earliest = self._earliest(source, stream)
        is_known = track.codec in container.audio and stream.codec_context is not None
        if is_known and self._may_copy(track, earliest):
            target = self._muxer.add_copy(stream, label)
            self._audio[track.index] = CopiedTrack(self._muxer, stream, target, self._sound.origin, earliest)
        elif track.is_decodable and isinstance(stream, av.audio.stream.AudioStream):
            layout = LAYOUTS.get(track.channels, track.layout) if "channels" in track.layout else track.layout
            if track.channels > MOST_CHANNELS:
                layout = LAYOUTS[MOST_CHANNELS]
                self.notes.append(
                    f"{name}: its {track.channels} channels were mixed to {layout}, the most there can be."
                )
            writer = SampleWriter(self._muxer, codec, track.rate, layout, label)
            self._audio[track.index] = EncodedTrack(writer, stream, self._sound.origin)
            self.notes.append(f"{name} was decoded and encoded again as {codec}.")
        else:
            self.notes.append(f"{name} was left out: it cannot be decoded here, nor copied into {container.suffix}.")
            return
        self._names[track.index] = name

    def _earliest(self, source: av.container.InputContainer, stream: av.stream.Stream) -> Fraction:
        """How early a packet may start: an edit list tells players to skip, Matroska knows a codec's own delay only."""
        if self._muxer.container.has_edit_list:
            return -PREROLL
        extradata = getattr(stream.codec_context, "extradata", None) or b""
        if extradata.startswith(b"OpusHead"):
            return -Fraction(int.from_bytes(extradata[10:12], "little"), 48000) - TOLERANCE
        # stamps before zero in Matroska are the codec's delay, which is copied along
        is_delay = "matroska" in source.format.name and abs(self._sound.origin) <= TOLERANCE
        return -PREROLL if is_delay else -TOLERANCE

    def _may_copy(self, track: AudioTrack, earliest: Fraction) -> bool:
        """True when no sample has to be cut or added, or the player can be told to skip."""
        starts = track.start - self._sound.origin
        if not self._muxer.container.has_edit_list and starts < earliest:
            return False
        if self._sound.length != "pad silence":
            return True
        ends = None if track.duration is None else starts + track.duration
        return ends is not None and self._expected is not None and ends >= self._expected

    def _add_text(self, source: av.container.InputContainer, track: SubtitleTrack, number: int) -> None:
        stream, label, origin = source.streams[track.index], track_label(track), self._sound.origin
        held = self._muxer.container.subtitles
        form = convertible(track.codec, held)
        if track.codec in held and stream.codec_context is not None:
            target = self._muxer.add_copy(stream, label)
            self._texts[track.index] = CopiedTrack(self._muxer, stream, target, origin, Fraction(0))
        elif form is not None:
            self._texts[track.index] = ConvertedTrack(self._muxer, stream, origin, label, track.codec, form)
            self.notes.append(
                f"Subtitle track {number} was converted from {track.codec} to {form}, without its styles."
            )
        else:
            suffix = self._muxer.path.suffix or "a PNG sequence"
            self.notes.append(f"Subtitle track {number} ({track.codec}) was left out: {suffix} cannot hold it.")

    def _start_reading(self, source: av.container.InputContainer, path: Path) -> None:
        wanted = [source.streams[index] for index in (*self._audio, *self._texts) if index >= 0]
        if not wanted:
            return
        target = self._sound.origin - SEEK_MARGIN
        begins = Fraction(source.start_time or 0, MICROSECONDS)
        if source.format.name in RESTARTING_CONTAINERS:
            self._continuity = Continuity()
            wanted += source.streams.video  # the clock is followed on all streams, as when reading pictures
        if target > begins and (source.format.name not in UNINDEXED_CONTAINERS or has_one_clock(path)):
            # a container that cannot seek is read from its start: slower, the same result
            with suppress(av.FFmpegError, OSError):
                source.seek(int(target * MICROSECONDS), backward=True)
        self._packets = source.demux(wanted)

    def _read_until(self, until: Fraction | None) -> None:
        while until is None or self._reached() < until:
            packet = self._next()
            if packet is None:
                return
            track = self._audio.get(packet.stream_index) or self._texts.get(packet.stream_index)
            if track is not None:
                track.take(packet)

    def _reached(self) -> Fraction:
        """Up to where all tracks have been read; text alone, or a track that ended early, never holds reading back."""
        reached = [track.reached for index, track in (self._audio or self._texts).items() if index >= 0]
        return max(min(reached), max(reached) - LEAD) if reached else NEVER

    def _next(self) -> av.Packet | None:
        try:
            packet = next(self._packets, None)
            while packet is not None and not packet.size:
                packet = next(self._packets, None)
            if packet is not None and self._continuity is not None:
                move_packet(packet, self._continuity)
        except (av.FFmpegError, OSError) as error:
            self.notes.append(f"The source's sound could not be read to its end: {error}.")
            self._packets = iter(())
            return None
        return packet

    def _say(self, index: int, track: Track, end: Fraction, length: AudioLength) -> None:
        for tell in (_tell_head, _tell_tail, _tell_repairs, _tell_shortage):
            sentence = tell(self._names[index], track, end, length)
            if sentence:
                self.notes.append(sentence)


def sound_end(sound: Sound) -> Fraction | None:
    """Seconds after the first frame at which the longest sound track ends; None when unknown or without sound."""
    if sound.samples is not None:
        return Fraction(sound.samples.samples.shape[-1], sound.samples.rate)
    ends = [track.start - sound.origin + track.duration for track in sound.tracks if track.duration is not None]
    return max(ends, default=None)


Tell = Callable[[str, Track, Fraction, AudioLength], "str | None"]


def _tell_head(name: str, track: Track, end: Fraction, length: AudioLength) -> str | None:
    if isinstance(track, CopiedTrack) and track.left_out:
        return f"{name} was copied without the codec's run-up: its first {float(track.left_out) * 1000:.0f} ms fade in."
    return None


def _tell_tail(name: str, track: Track, end: Fraction, length: AudioLength) -> str | None:
    if isinstance(track, CopiedTrack) and track.written_until > end + TOLERANCE and length != "keep":
        over = float(track.written_until - end) * 1000
        return f"{name} was copied and ends with its packet, {over:.0f} ms after the picture."
    return None


def _tell_repairs(name: str, track: Track, end: Fraction, length: AudioLength) -> str | None:
    repaired = getattr(track, "repaired", 0)
    if repaired:
        return f"{name} had {repaired} samples that are no numbers; they were made silent."
    if getattr(track, "lost", 0):
        return f"{name} had {getattr(track, 'lost', 0)} damaged packets; they were made silent."
    return None


def _tell_shortage(name: str, track: Track, end: Fraction, length: AudioLength) -> str | None:
    ends = track.written_until if isinstance(track, CopiedTrack) else getattr(track, "ends", end)
    if length == "trim to video" and ends < end - Fraction(1, 10):
        return f"{name} ends {float(end - ends):.2f} s before the picture."
    return None
