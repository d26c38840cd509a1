"""The widgets of Video Combine, in the order users see them, and the formats behind their names."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io

COPY = "copy"


@dataclass(frozen=True)
class Choice:
    """One line of the format widget: the writer's name for it, and the widgets it shows."""

    format: str
    widgets: tuple[str, ...] = ()


GRADED = ("quality", "crf")
CHOICES = {
    "MP4 (H.264)": Choice("MP4 H.264", (*GRADED, "encoder")),
    "MP4 (H.265)": Choice("MP4 H.265", (*GRADED, "bit_depth", "encoder")),
    "MKV (H.265)": Choice("MKV H.265", (*GRADED, "bit_depth", "encoder")),
    "WebM (AV1)": Choice("WebM AV1", (*GRADED, "bit_depth", "encoder")),
    "WebM (VP9)": Choice("WebM VP9", GRADED),
    "MOV (ProRes)": Choice("MOV ProRes", ("profile",)),
    "MKV (FFV1)": Choice("MKV FFV1", ("bit_depth",)),
    "GIF": Choice("GIF", ("loop_count",)),
    "WebP": Choice("WebP", (*GRADED, "loop_count")),
    "PNG sequence": Choice("PNG sequence"),
    COPY: Choice(COPY),
}


def inputs() -> list[io.Input]:
    """All of them."""
    return [*_sources(), _format(), *_rest()]


def wire_types() -> dict[str, str]:
    """What may be connected to each input, by the name a prompt gives it."""
    found = {one.id: one.get_io_type() for one in inputs()}
    return found | {
        f"format.{widget}": _widget(widget).get_io_type() for choice in CHOICES.values() for widget in choice.widgets
    }


def _sources() -> list[io.Input]:
    return [
        io.Video.Input("video", optional=True, tooltip="Video to save, or the sound and timing for images."),
        io.Image.Input("images", optional=True, tooltip="Frames to save. Also connect video to keep its sound."),
        io.Audio.Input("audio", optional=True, tooltip="Replaces the video's own sound."),
        io.Float.Input("frame_rate", default=0.0, min=0.0, max=1000.0, step=0.001,
                       tooltip="0 keeps the video's own timing. Images alone need a rate."),
        io.String.Input("filename_prefix", default="video/%source%_upscaled",
                        tooltip="Folder and name. Also %width%, %height%, %model%, %seed%, %date%."),
    ]  # fmt: skip


def _format() -> io.Input:
    options = [
        io.DynamicCombo.Option(name, [_widget(widget) for widget in choice.widgets]) for name, choice in CHOICES.items()
    ]
    return io.DynamicCombo.Input(
        "format", options, tooltip="MP4 (H.264) plays everywhere. Copy saves without encoding again."
    )


def _widget(name: str) -> io.Input:
    made = {
        "quality": lambda: io.Combo.Input(name, ["small", "good", "high", "near lossless"], default="high",
                                          tooltip="Higher is sharper and larger."),
        "crf": lambda: io.Int.Input(name, default=-1, min=-1, max=63, advanced=True,
                                    tooltip="Exact encoder quality. −1 follows quality."),
        "bit_depth": lambda: io.Combo.Input(name, ["auto", "8", "10"], default="auto",
                                            tooltip="10-bit avoids banding and is needed for HDR."),
        "encoder": lambda: io.Combo.Input(name, ["cpu", "nvenc", "auto"], default="cpu", advanced=True,
                                          tooltip="Graphics card encoding is faster, with slightly larger files."),
        "profile": lambda: io.Combo.Input(name, ["lt", "standard", "hq", "4444", "4444xq"], default="hq",
                                          tooltip="4444 keeps transparency."),
        "loop_count": lambda: io.Int.Input(name, default=0, min=0, max=100,
                                           tooltip="How often it repeats. 0 repeats forever."),
    }  # fmt: skip
    return made[name]()


def _rest() -> list[io.Input]:
    return [
        io.Combo.Input("rate_mode", ["keep speed", "change speed"], default="keep speed", advanced=True,
                       tooltip="Keep speed resamples to frame_rate; change speed plays the same frames."),
        io.Combo.Input("audio_length", ["trim to video", "pad silence", "trim video", "keep"],
                       default="trim to video", advanced=True,
                       tooltip="What happens when sound and picture differ in length."),
        io.Combo.Input("audio_tracks", ["all", "first", "none"], default="all", advanced=True,
                       tooltip="Which of the source's sound tracks to keep."),
        io.Combo.Input("odd_size", ["pad", "crop", "4:4:4"], default="pad", advanced=True,
                       tooltip="Most players need even sizes; choose how to get there."),
        io.Boolean.Input("pingpong", default=False, advanced=True, tooltip="Plays forward, then backward."),
        io.Boolean.Input("keep_source_tags", default=True, advanced=True,
                         tooltip="Keeps date, place, camera, chapters and subtitles of the source."),
        io.Boolean.Input("save_workflow", default=True, advanced=True,
                         tooltip="Stores this graph in the file, unless ComfyUI forbids it."),
        io.Boolean.Input("save_output", default=True, advanced=True, tooltip="Off writes a temporary preview only."),
    ]  # fmt: skip
