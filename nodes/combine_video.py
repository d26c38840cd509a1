"""Video Combine: frames, sound, timing and tags into one file, with a preview that plays in a browser."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from comfy_api.latest import io, ui

from .. import media
from ..engine.images import batches_of, check_images, there_and_back
from ..media.presets import format_named
from . import comfy_host
from .combine_inputs import CHOICES, COPY, inputs, wire_types
from .video_value import AS_STORED, Clip, ClipVideo, as_clip_video, as_texts, samples_of, write_clip

NO_RATE = "An IMAGE has no frame rate. Type one (Wan 2.2 14B: 16) or connect the source to video."
NOTHING = "Neither video nor images is connected. Connect what is to be saved."
HIGHEST_RATE = 1000
PLAYABLE = {"h264": 8, "vp8": 8, "vp9": 8, "av1": 10}  # codec → most bits that browsers show
PROXY = media.Encoding("MP4 H.264", quality="good")
UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f/]')
DEPTHS: dict[str, Literal["auto", 8, 10]] = {"auto": "auto", "8": 8, "10": 10}
ENCODING = ("quality", "crf", "encoder", "profile", "loop_count")


class VideoCombine(io.ComfyNode):
    """Hosted node 34."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SeedVR2Anywhere.VideoCombine",
            display_name="Video Combine (SeedVR2)",
            category="video/SeedVR2",
            description="Saves video or images with sound, exact timing and tags, and shows a preview.",
            search_aliases=["VHS", "upscaler", "super resolution", "restore", "enhance", "DVD", "save video"],
            inputs=inputs(),
            outputs=[io.Video.Output(display_name="video"), io.String.Output(display_name="path")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, input_types, format, filename_prefix=None, save_output=True,
                        frame_rate=None) -> bool | str:  # fmt: skip
        """Types of wires, which ComfyUI leaves to whoever asks for them, the rule for the rate, and the place."""
        types = wire_types()
        for name, received in input_types.items():
            expected = types.get(name)
            if expected and not comfy_host.types_fit(received, expected):
                return f"{name} takes {expected}, but {received} is connected."
        if format["format"] not in CHOICES:
            return f"There is no format {format['format']!r}; known are {', '.join(CHOICES)}."
        if "video" not in input_types and "images" not in input_types:
            return NOTHING
        if frame_rate is not None and not 0 <= frame_rate <= HIGHEST_RATE:
            return f"frame_rate is {frame_rate:g}; expected 0 to {HIGHEST_RATE}."
        if frame_rate == 0 and "video" not in input_types:
            return NO_RATE
        return True if filename_prefix is None else comfy_host.place_trouble(filename_prefix, save_output) or True

    @classmethod
    def execute(cls, frame_rate, filename_prefix, format, video=None, images=None, audio=None,
                **widgets) -> io.NodeOutput:  # fmt: skip
        if video is None and images is None:
            raise ValueError(NOTHING)
        if audio is not None and not isinstance(audio, dict):
            raise TypeError(f"audio is {type(audio).__name__}, expected AUDIO.")
        source = as_clip_video(video, comfy_host.jobs_folder() / "sources") if video is not None else None
        if images is not None:
            check_images(images)
            images = there_and_back(images) if widgets["pingpong"] else images
        rate = Fraction(frame_rate).limit_denominator(100_000)
        workflow = _workflow(cls.hidden) if widgets["save_workflow"] else {}
        job = Saving(source, images, samples_of(audio), rate, format, widgets, workflow)
        target, below = job.target(filename_prefix)
        notes = job.save(target)
        for note in notes:
            comfy_host.say(note, cls.hidden.unique_id)
        saved = ClipVideo(Clip(target, treatment=AS_STORED, as_sdr=False))
        shown = _preview(saved, below, widgets["save_output"])
        return io.NodeOutput(saved, str(target), ui=shown)


@dataclass
class Saving:
    """One file to be written."""

    source: ClipVideo | None
    images: Any  # [T,H,W,C] or None
    samples: media.Samples | None
    rate: Fraction  # 0 keeps the source's timing
    format: dict
    widgets: dict
    workflow: dict[str, str]

    def target(self, prefix: str) -> tuple[Path, str]:
        """(path, folder below output or temp) that does not exist yet."""
        if self.images is not None:
            size = (self.images.shape[2], self.images.shape[1])
        else:
            assert self.source
            size = self.source.get_dimensions()
        folder, name, below = comfy_host.place_for(self._named(prefix), size, self.widgets["save_output"])
        if self.format["format"] == COPY:
            suffix = self.source.info.path.suffix if self.source else ""
        else:
            suffix = format_named(CHOICES[self.format["format"]].format).container.suffix
        return folder / f"{name}{suffix}", below

    def save(self, target: Path) -> tuple[str, ...]:
        """Write it; returns what is to be said about it."""
        if self.format["format"] == COPY:
            return self._copy(target)
        options = {"encoding": self._encoding(), "sound": self._sound()}
        if self.images is None:
            assert self.source
            cadence = media.Cadence(self.rate or None, self.widgets["rate_mode"])
            options |= {"cadence": cadence, "tagging": self._tagging()}
            return write_clip(target, self.source, workflow=self.workflow, **options).notes
        rate = self.rate or self._rate_of_images()
        picture = media.Picture(rate=rate, duration=len(self.images) / rate)
        batches = comfy_host.stoppable(batches_of(self.images, self._bits()))
        written = media.write(target, batches, time_base=1 / rate, picture=picture,
                              tagging=self._tagging(), **options)  # fmt: skip
        return written.notes

    def _copy(self, target: Path) -> tuple[str, ...]:
        source = self.source
        changed = self.images is not None or self.samples is not None or self.rate
        if source is None or changed or not source.clip.selection.is_whole or not source.info.path.is_file():
            raise ValueError(
                "copy saves a video file as it is: connect video alone, whole, with frame_rate 0. Or choose a format."
            )
        media.copy_file(source.info.path, target)
        return ("Copied as it is; nothing was encoded, and this graph is not stored in it.",)

    def _named(self, prefix: str) -> str:
        origin = self.source.clip.origin if self.source else None
        words = {
            "source": self.source.clip.name if self.source else "images",
            "model": origin.model if origin else "",
            "seed": origin.seed if origin else "",
            "date": time.strftime("%Y-%m-%d"),
        }
        for word, value in words.items():
            prefix = prefix.replace(f"%{word}%", UNSAFE.sub("_", value))
        return prefix

    def _encoding(self) -> media.Encoding:
        given = {name: self.format[name] for name in ENCODING if name in self.format}
        depth = self.format.get("bit_depth", "auto")
        name = CHOICES[self.format["format"]].format
        return media.Encoding(name, bit_depth=DEPTHS[depth], odd_size=self.widgets["odd_size"], **given)

    def _bits(self) -> int:
        """Images are floats: they become codes as fine as the format can hold."""
        line, depth = format_named(CHOICES[self.format["format"]].format), self.format.get("bit_depth", "auto")
        return 8 if depth == "8" or max(line.pixels) == 8 else 16

    def _sound(self) -> media.Sound:
        length = self.widgets["audio_length"]
        if self.samples is not None or self.source is None:
            return media.Sound(samples=self.samples, length=length)
        info = self.source.info
        tracks = {"all": info.audio, "first": info.audio[:1], "none": ()}[self.widgets["audio_tracks"]]
        return media.Sound(info.path, tracks, info.start + self._start(), length=length)

    def _tagging(self) -> media.Tagging:
        keeps = self.source is not None and self.widgets["keep_source_tags"]
        return media.Tagging(self.source.info if keeps and self.source else None, self._start(), self.workflow)

    def _start(self) -> Fraction:
        if self.source is None or self.source.clip.selection.is_whole:
            return Fraction(0)
        with self.source.open() as reader:
            return reader.start

    def _rate_of_images(self) -> Fraction:
        if self.source is None:
            raise ValueError(NO_RATE)
        return media.snap_rate(len(self.images) / Fraction(self.source.get_duration()))


def _workflow(hidden: Any) -> dict[str, str]:
    if not comfy_host.may_store_workflow():
        return {}
    found = {**(hidden.extra_pnginfo or {}), **({"prompt": hidden.prompt} if hidden.prompt else {})}
    return as_texts(found)


def _preview(saved: ClipVideo, below: str, is_kept: bool) -> Any:
    """What the node shows: the file itself where a browser can play it, else a smaller copy of it in temp."""
    path, info = saved.clip.path, saved.info
    folder = io.FolderType.output if is_kept else io.FolderType.temp
    if path.is_dir():
        first = sorted(path.iterdir())[0].name
        return {"images": [ui.SavedResult(first, f"{below}/{path.name}".lstrip("/"), folder)]}
    result = ui.SavedResult(path.name, below, folder)
    if path.suffix == ".gif":
        return {"images": [result]}
    if path.suffix == ".webp" or (info.codec in PLAYABLE and info.bit_depth <= PLAYABLE[info.codec]
                                  and path.suffix in (".mp4", ".webm")):  # fmt: skip
        return ui.PreviewVideo([result])
    proxy, name, proxy_below = comfy_host.place_for("seedvr2_preview", saved.get_dimensions(), False)
    write_clip(proxy / f"{name}.mp4", ClipVideo(Clip(path)), encoding=PROXY, workflow={})
    return ui.PreviewVideo([ui.SavedResult(f"{name}.mp4", proxy_below, io.FolderType.temp)])
