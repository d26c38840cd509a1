"""What travels along a VIDEO wire: a file and what of it is wanted, read when somebody asks for pixels."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import Input, Types

from .. import media
from ..engine.images import batches_of, check_images, read_images, sdr_batches
from ..media.sound import read_sound
from . import comfy_host

DEEP = media.Encoding("intermediate")  # 10-bit H.264
AS_STORED = media.Treatment(deinterlace="off", pixel_aspect="keep")  # of files made here: what was asked is done


@dataclass(frozen=True)
class Origin:
    """Where a result came from, for file names."""

    source: str
    model: str = ""
    seed: str = ""


@dataclass(frozen=True)
class Clip:
    """A file, the selection of its frames and how they are prepared."""

    path: Path
    selection: media.Selection = field(default_factory=media.Selection)
    treatment: media.Treatment = field(default_factory=media.Treatment)
    as_sdr: bool = True
    origin: Origin | None = None
    allowed: tuple[Path, ...] | None = None
    address: str = ""  # public https link that `path` was fetched from

    def open(self, info: media.MediaInfo | None = None, check: Callable[[], None] = lambda: None) -> media.Reader:
        """A reader of the frames wanted, opacity included where there is any; `check` is called while it reads."""
        info = info or media.probe(self.path, self.allowed)
        return media.read(self.path, self.selection, self.treatment, alpha=info.has_alpha, info=info, check=check)

    @property
    def name(self) -> str:
        """For files made from this clip."""
        return self.origin.source if self.origin else self.path.stem


class HandedOut:
    """Files that VIDEOs of this server's life refer to. When one of them is gone, its maker must run again."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._lost = 0

    def add(self, path: Path) -> None:
        """Take note of a file that was handed out."""
        self._paths.add(path)

    def __contains__(self, path: Path) -> bool:
        return path in self._paths

    def __iter__(self) -> Iterator[Path]:
        return iter(tuple(self._paths))

    @property
    def lost(self) -> int:
        """How many of them were found gone so far: a number that changes with every loss, and with nothing else."""
        gone = {path for path in self._paths if not path.exists()}
        self._paths -= gone
        self._lost += len(gone)
        return self._lost


class ClipVideo(Input.Video):
    """A Clip as ComfyUI's VIDEO. Nothing is decoded before somebody asks for pixels."""

    def __init__(self, clip: Clip, info: media.MediaInfo | None = None) -> None:
        self.clip = clip
        self._info = info

    @property
    def info(self) -> media.MediaInfo:
        """What the file is."""
        if self._info is None:
            self._info = media.probe(self.clip.path, self.clip.allowed)
        return self._info

    def open(self, check: Callable[[], None] = lambda: None) -> media.Reader:
        """A reader of the frames wanted; `check` is called while it reads."""
        return self.clip.open(self.info, check)

    @property
    def is_plain(self) -> bool:
        """True when any program that opens the file and cuts a window of time sees the same frames."""
        info, clip = self.info, self.clip
        return (
            clip.selection.is_window
            and (clip.treatment == AS_STORED or (clip.treatment == media.Treatment() and needs_no_treatment(info)))
            and info.kind == "video"
            and info.path.is_file()
            and info.alpha_index is None
            and not (info.colour.is_hdr and clip.as_sdr)
        )

    def get_stream_source(self) -> str | io.BytesIO:
        return str(self.info.path) if self.is_plain else super().get_stream_source()

    def get_active_trim_window(self) -> tuple[float, float]:
        selection = self.clip.selection
        if not self.is_plain or selection.is_whole:
            return 0.0, 0.0
        return float(self.info.start + Fraction(selection.start)), float(selection.duration)

    def get_components(self) -> Types.VideoComponents:
        with self.open(comfy_host.stop_if_interrupted) as reader:
            images, alpha = read_images(reader, self.clip.as_sdr)
            audio = self._sound(reader)
            return Types.VideoComponents(images=images, frame_rate=reader.rate, audio=audio, alpha=alpha)

    def save_to(
        self,
        path: Any,
        format: Any = Types.VideoContainer.AUTO,
        codec: Any = Types.VideoCodec.AUTO,
        metadata: dict | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "video.mp4"
                self.save_to(file, format, codec, metadata, bit_depth, crf)
                path.write(file.read_bytes())
            return
        encoding = DEEP if bit_depth == 10 else media.Encoding("MP4 H.264", crf=-1 if crf is None else int(crf))
        write_clip(Path(path), self, encoding=encoding, workflow=as_texts(metadata or {}))

    def as_trimmed(self, start_time: float | None = None, duration: float | None = None,
                   strict_duration: bool = False) -> ClipVideo | None:  # fmt: skip
        length = self.get_duration()
        start = start_time or 0.0
        start = max(0.0, length + start) if start < 0 else start
        if start >= length or (strict_duration and duration and start + duration > length):
            return None
        selection = self.clip.selection.trimmed(start, duration or 0.0, self.info.rate)
        return ClipVideo(replace(self.clip, selection=selection), self._info)

    def get_dimensions(self) -> tuple[int, int]:
        return self.open().size

    def get_bit_depth(self) -> int:
        return min(self.info.bit_depth, 10)

    def get_frame_rate(self) -> Fraction:
        return self.open().rate

    def get_frame_count(self) -> int:
        expected = self.open().expected
        return expected if expected is not None else sum(len(batch[1]) for batch in self.open())

    def get_duration(self) -> float:
        if self.clip.selection.is_whole and self.info.duration is not None:
            return float(self.info.duration)
        return float(self.get_frame_count() / self.get_frame_rate())

    def get_container_format(self) -> str:
        return self.info.container

    def _sound(self, reader: media.Reader) -> Any:
        length = Fraction(reader.end or 0)
        found = read_sound(self.info.path, reader.start, length, info=self.info) if self.info.audio else None
        if found is None:
            return None
        return {"waveform": torch.from_numpy(found.samples)[None], "sample_rate": found.rate}


def needs_no_treatment(info: media.MediaInfo) -> bool:
    """True when the usual treatment leaves the frames of a file as they are."""
    return info.scan == "progressive" and info.sample_aspect == 1


def as_clip_video(video: Input.Video, keep_in: Path) -> ClipVideo:
    """Any VIDEO as one of ours. Files stay where they are; what is in memory only is kept, losslessly, in a folder."""
    if isinstance(video, ClipVideo):
        return video
    if not isinstance(video, Input.Video):
        raise TypeError(f"video is {type(video).__name__}, expected VIDEO. Connect images to images.")
    if type(video).get_components.__qualname__.startswith("VideoFromFile"):
        return _from_core_file(video, keep_in)
    components = video.get_components()
    check_images(components.images)
    rate = media.snap_rate(Fraction(components.frame_rate))
    # Matroska rounds to milliseconds; the rate asked for brings the exact times back
    selection = media.Selection(force_rate=rate)
    return ClipVideo(Clip(_keep_components(components, rate, keep_in), selection, origin=Origin("video")))


def write_clip(path: Path, video: ClipVideo, *, workflow: dict[str, str], **options: Any) -> media.Written:
    """Write the frames of a clip, with its own sound and tags unless `options` of media.write say otherwise."""
    with video.open(comfy_host.stop_if_interrupted) as reader:
        info, start = reader.info, reader.start
        frames = reader
        if reader.colour.is_hdr and video.clip.as_sdr:
            frames = sdr_batches(reader)
            options.setdefault("picture", media.Picture(media.Colour(), reader.sample_aspect, reader.rate))
        options.setdefault("sound", media.Sound(info.path, info.audio, info.start + start))
        options.setdefault("tagging", media.Tagging(info, start, workflow))
        return media.write(path, frames, time_base=reader.time_base, **options)


def as_texts(metadata: dict) -> dict[str, str]:
    """Metadata as the texts that files hold."""
    import json

    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}


def samples_of(audio: Any) -> media.Samples | None:
    """ComfyUI's AUDIO as samples, the first of a batch."""
    if audio is None:
        return None
    return media.Samples(audio["waveform"][0].float().cpu().numpy(), int(audio["sample_rate"]))


def _from_core_file(video: Input.Video, keep_in: Path) -> ClipVideo:
    source = video.get_stream_source()
    if isinstance(source, io.BytesIO):
        data = source.getvalue()
        path = keep_in / f"{hashlib.sha256(data).hexdigest()[:16]}.{video.get_container_format().split(',')[-1]}"
        if not path.exists():
            keep_in.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        source = str(path)
    info = media.probe(source)
    start, duration = video.get_active_trim_window()
    selection = media.Selection(start=max(Fraction(0), Fraction(start) - info.start) if start else 0, duration=duration)
    return ClipVideo(Clip(info.path, selection), info)


def _keep_components(components: Types.VideoComponents, rate: Fraction, folder: Path) -> Path:
    images, samples = components.images, samples_of(components.audio)
    digest = hashlib.sha256(f"{tuple(images.shape)} {rate}".encode())
    for image in images:
        digest.update(image.float().cpu().contiguous().numpy().tobytes())
    if samples is not None:
        digest.update(samples.samples.tobytes())
    path = folder / f"{digest.hexdigest()[:16]}.mkv"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        batches = comfy_host.stoppable(batches_of(images))
        media.write(path, batches, time_base=1 / rate, encoding=media.Encoding("MKV FFV1"),
                    picture=media.Picture(rate=rate), sound=media.Sound(samples=samples))  # fmt: skip
    return path
