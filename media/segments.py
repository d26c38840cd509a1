"""A run kept as segments: each plays by itself, a manifest says what is there, and they join without encoding again.

A segment is closed: it starts with a key frame and refers to nothing outside. Its file begins at time zero; where it
belongs is in the manifest. Segments and manifest appear under their names only when whole, so that a run goes on after
a crash with what was finished. Decoding times are set anew when joining: two variable-rate segments need not meet.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.container
import av.stream
import numpy as np

from .cadence import REORDERED, DecodingClock
from .description import Colour, WriteFailed
from .muxing import Label, Muxer, reporting
from .output import Encoding, Picture, Sound, Tagging, Written
from .presets import INTERMEDIATE, Format, format_named
from .remux import Companions
from .sinks import ALPHA_LABEL
from .tags import container_tags, moved_chapters
from .write import Writer

MANIFEST = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class Run:
    """What all segments of a run have in common; part of the manifest."""

    time_base: Fraction
    picture: Picture
    format: str = INTERMEDIATE.name

    @property
    def line(self) -> Format:
        return format_named(self.format)


@dataclass(frozen=True)
class Segment:
    """One finished segment; stamps in ticks of the run."""

    index: int
    file: str
    frames: int
    first_pts: int
    last_pts: int
    end_pts: int
    size: tuple[int, int]
    bytes: int


class SegmentFolder:
    """The segments of one run in a folder of their own. Safe to use from several threads."""

    def __init__(self, folder: str | Path, run: Run) -> None:
        self.folder = Path(folder)
        self.run = run
        self._lock = threading.Lock()
        with reporting(self.folder / MANIFEST):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._segments = {segment.index: segment for segment in self._load()}

    @property
    def segments(self) -> list[Segment]:
        """The finished segments whose files are there and whole, in order."""
        return [segment for _, segment in sorted(self._segments.items()) if self._is_whole(segment)]

    def path_of(self, segment: Segment) -> Path:
        return self.folder / segment.file

    def write(self, index: int, batches: Iterable[tuple[np.ndarray, ...]], end_pts: int | None = None) -> Segment:
        """Write a segment from batches (frames, pts, alpha if any) stamped on the run's clock, and record it.

        `end_pts` is where the next segment begins, where known. Raises WriteFailed; an earlier segment of that index
        stays until the new one is whole.
        """
        name = f"segment_{index:05d}{self.run.line.container.suffix}"
        encoding = Encoding(self.run.format)
        first = last = None
        with Writer(self.folder / name, time_base=self.run.time_base, encoding=encoding,
                    picture=self.run.picture) as writer:  # fmt: skip
            for batch in batches:
                writer.push(*batch)
                first = int(batch[1][0]) if first is None else first
                last = int(batch[1][-1])
            written = writer.close(end_pts)
        assert first is not None and last is not None
        ends = end_pts if end_pts is not None else first + round(written.duration / self.run.time_base)
        size = (self.folder / name).stat().st_size
        segment = Segment(index, name, written.frames, first, last, ends, written.size, size)
        self._record(segment)
        return segment

    def join(self, path: str | Path, sound: Sound | None = None, tagging: Tagging | None = None,
             check: Callable[[], None] = lambda: None) -> Written:  # fmt: skip
        """Copy all segments into one file with continuous stamps, the source's sound and tags; nothing is encoded.

        `check` is called before each segment and may raise to stop, which leaves no file. Raises WriteFailed when
        segments are missing, overlap, or were encoded differently.
        """
        segments = self.segments
        _check_complete(segments, self.folder)
        return _Joining(self, Path(path), segments, sound or Sound(), tagging or Tagging(), check).run()

    def _is_whole(self, segment: Segment) -> bool:
        path = self.path_of(segment)
        return path.is_file() and path.stat().st_size == segment.bytes

    def _record(self, segment: Segment) -> None:
        with self._lock:
            self._segments[segment.index] = segment
            listed = [asdict(one) for _, one in sorted(self._segments.items())]
            text = json.dumps({"version": VERSION, "run": run_as_json(self.run), "segments": listed}, indent=1)
            part = self.folder / (MANIFEST + ".part")
            with reporting(self.folder / MANIFEST):
                with part.open("w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, self.folder / MANIFEST)

    def _load(self) -> list[Segment]:
        path = self.folder / MANIFEST
        if not path.exists():
            return []
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            run, listed = stored["run"], stored["segments"]
            segments = [Segment(**{**one, "size": tuple(one["size"])}) for one in listed]
        except (ValueError, KeyError, TypeError) as error:
            raise WriteFailed(f"{path} is damaged ({error}). Remove the folder to start the run anew.") from error
        if stored.get("version") != VERSION or run != run_as_json(self.run):
            raise WriteFailed(f"{self.folder} holds segments of another run. Choose another folder or remove it.")
        return segments


class _Joining:
    """The state of one join: an output, and the clock its decoding times come from."""

    def __init__(self, folder: SegmentFolder, path: Path, segments: list[Segment], sound: Sound,
                 tagging: Tagging, check: Callable[[], None]) -> None:  # fmt: skip
        self._folder, self._path, self._segments, self._check = folder, path, segments, check
        self._sound, self._tagging = sound, tagging
        self._tick = folder.run.time_base
        self._origin = segments[0].first_pts
        self._end = (segments[-1].end_pts - self._origin) * self._tick

    def run(self) -> Written:
        container = self._folder.run.line.container
        tags, _ = container_tags(self._tagging, container)
        muxer = Muxer(self._path, container, tags)
        try:
            return self._copy_all(muxer)
        except BaseException:
            muxer.abort()
            raise

    def _copy_all(self, muxer: Muxer) -> Written:
        with av.open(f"file:{self._folder.path_of(self._segments[0])}") as first:
            labels = [Label({}), ALPHA_LABEL][: len(first.streams.video)]
            targets = [muxer.add_copy(stream, label) for stream, label in zip(first.streams.video, labels, strict=True)]
            for target, template in zip(targets, first.streams.video, strict=True):
                target.codec_context.codec_tag = template.codec_context.codec_tag
            headers = _headers(first)
            clocks = [DecodingClock(REORDERED.get(stream.codec_context.codec.canonical_name, 0))
                      for stream in first.streams.video]  # fmt: skip
        companions = Companions(muxer, self._sound, self._tagging.source, self._end)
        for segment in self._segments:
            self._check()
            self._copy(segment, muxer, targets, clocks, companions, headers)
        with reporting(self._path):
            companions.finish(self._end)
            companions.close()
        chapters = self._tagging.source.chapters if self._tagging.source else ()
        muxer.close(moved_chapters(chapters, self._tagging.start, self._end))
        frames = sum(segment.frames for segment in self._segments)
        pixel_format = self._folder.run.line.pixels[max(self._folder.run.line.pixels)].plain
        notes = (*companions.notes, *muxer.notes)
        return Written(self._path, self._segments[0].size, frames, self._end, pixel_format, notes)

    def _copy(self, segment: Segment, muxer: Muxer, targets: list[av.stream.Stream], clocks: list[DecodingClock],
              companions: Companions, headers: list[bytes | None]) -> None:  # fmt: skip
        path = self._folder.path_of(segment)
        with av.open(f"file:{path}") as source:
            if _headers(source) != headers:
                raise WriteFailed(f"{segment.file} was encoded with other settings than the first: make it anew.")
            moved = []
            for stream in source.streams.video:
                assert stream.time_base is not None
                moved.append(round((segment.first_pts - self._origin) * self._tick / stream.time_base))
            for clock, shift, stamps in zip(clocks, moved, _stamps(path), strict=True):
                clock.enter([stamp + shift for stamp in stamps])
            for packet in source.demux(list(source.streams.video)):
                if not packet.size:
                    continue
                place = packet.stream_index
                shown = (packet.pts or 0) + moved[place]
                packet.pts, packet.dts = shown, clocks[place].next(shown, segment.file)
                companions.advance(packet.dts * packet.time_base)
                packet.stream = targets[place]
                muxer.mux(packet)


def run_as_json(run: Run) -> dict[str, object]:
    """The run as the manifest keeps it: only what decides how a segment is encoded and placed."""
    colour: Colour = run.picture.colour
    return {
        "time_base": str(run.time_base),
        "format": run.format,
        "rate": str(run.picture.rate) if run.picture.rate else None,
        "sample_aspect": str(run.picture.sample_aspect),
        "transfer": colour.transfer,
        "primaries": colour.primaries,
    }


def split_batches(batches: Iterable[tuple[np.ndarray, ...]], frames: int) -> Iterator[list[tuple[np.ndarray, ...]]]:
    """Regroup batches into runs of `frames` frames, the last one shorter; holds one run at a time."""
    held: list[tuple[np.ndarray, ...]] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + len(rest[1]) >= frames:
            taken = frames - count
            held.append(tuple(part[:taken] for part in rest))
            yield held
            held, count, rest = [], 0, tuple(part[taken:] for part in rest)
        if len(rest[1]):
            held.append(rest)
            count += len(rest[1])
    if held:
        yield held


def _check_complete(segments: list[Segment], folder: Path) -> None:
    if not segments:
        raise WriteFailed(f"{folder} holds no finished segment.")
    missing = sorted(set(range(segments[-1].index + 1)) - {segment.index for segment in segments})
    if missing:
        raise WriteFailed(f"Segments {', '.join(map(str, missing))} are missing in {folder}: run again to make them.")
    for before, after in pairwise(segments):
        if after.first_pts <= before.last_pts:
            raise WriteFailed(f"{after.file} begins before {before.file} ends: they cannot be joined.")
        if after.size != before.size:
            raise WriteFailed(f"{after.file} is {after.size}, {before.file} {before.size}: they cannot be joined.")


def _headers(container: av.container.InputContainer) -> list[bytes | None]:
    return [stream.codec_context.extradata for stream in container.streams.video]


def _stamps(path: Path) -> list[list[int]]:
    """Presentation times of each picture stream, in decoding order, without decoding."""
    with av.open(f"file:{path}") as source:
        stamps: dict[int, list[int]] = {stream.index: [] for stream in source.streams.video}
        for packet in source.demux(list(source.streams.video)):
            if packet.size and packet.pts is not None:
                stamps[packet.stream_index].append(packet.pts)
    return [stamps[index] for index in sorted(stamps)]
