"""Load Video: a clip from input/, a path or a folder of images, without decoding any of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from comfy_api.latest import io

from .. import media, net
from ..cloud.reach import link_rules
from ..engine.links import check_link, fetch_link, is_link
from ..net import guarded_session as open_session
from . import comfy_host
from .video_value import Clip, ClipVideo, HandedOut

EXAMPLE = "seedvr2_example.mp4"
SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts", ".ts", ".mod", ".tod",
     ".dv", ".wmv", ".flv", ".3gp", ".mxf", ".ogv", ".gif", ".apng", ".webp")
)  # fmt: skip
ANY = 2**31 - 1
SELECTION = {"start": "start_time", "duration": "duration", "force_rate": "force_rate", "skip": "skip_first_frames",
             "every": "select_every_nth", "cap": "frame_load_cap"}  # fmt: skip
FETCHED = HandedOut()  # files of links
TREATMENT = ("deinterlace", "pixel_aspect", "color_matrix", "color_range")


class LoadVideo(io.ComfyNode):
    """Hosted node 33."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SeedVR2Anywhere.LoadVideo",
            display_name="Load Video (SeedVR2)",
            category="video/SeedVR2",
            description="Loads a clip of any length without decoding it; sound, timing and tags travel inside VIDEO.",
            search_aliases=["VHS", "upscaler", "super resolution", "restore", "enhance", "DVD", "save video"],
            inputs=[*_main_inputs(), *_advanced_inputs()],
            outputs=[
                io.Video.Output(display_name="video"),
                io.Int.Output(display_name="frame_count"),
                io.Float.Output(display_name="fps"),
                io.String.Output(display_name="info"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, video, path) -> bool | str:
        if video is None or path is None:  # one of them comes by wire
            return True
        try:
            if is_link(_typed(path)):
                check_link(_typed(path), link_rules(os.environ))
            else:
                media.probe(_source(video, path), comfy_host.readable_folders())
        except (media.MediaError, net.NetError, OSError, ValueError) as error:
            return _explained(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, video, path, **_widgets) -> tuple:
        """Changes with the file; for a link, when what was fetched is gone."""
        if is_link(_typed(path)):
            return _typed(path), FETCHED.lost
        state = os.stat(_source(video, path))
        return state.st_mtime, state.st_size

    @classmethod
    def execute(cls, video, path, hdr, **widgets) -> io.NodeOutput:
        if is_link(_typed(path)):
            clip, info = _from_link(_typed(path), cls.hidden.unique_id)
        else:
            clip, info = _from_disk(video, path)
        selection = media.Selection(**{field: widgets[name] for field, name in SELECTION.items()})
        treatment = media.Treatment(**{name: widgets[name] for name in TREATMENT})
        clip = replace(clip, selection=selection, treatment=treatment, as_sdr=hdr == "to SDR")
        loaded = ClipVideo(clip, info)
        cut = _cap_line(loaded)
        if cut:
            comfy_host.say(cut, cls.hidden.unique_id)
        text = "\n".join(line for line in (cut, *_describe(loaded)) if line)
        return io.NodeOutput(loaded, loaded.get_frame_count(), float(loaded.get_frame_rate()), text)


def _main_inputs() -> list[io.Input]:
    return [
        io.Combo.Input("video", options=_uploads(), default=EXAMPLE, upload=io.UploadType.video,
                       tooltip="Choose or drop a clip. Over the upload limit, use path instead."),
        io.String.Input("path", default="", tooltip="Full path or link as the server sees it. Overrides video."),
        io.Int.Input("frame_load_cap", default=0, min=0, max=ANY, tooltip="Most frames to load. 0 loads all."),
    ]  # fmt: skip


def _advanced_inputs() -> list[io.Input]:
    return [
        io.Float.Input("start_time", default=0.0, min=0.0, max=1e6, step=0.001, advanced=True,
                       tooltip="Where to start, in seconds."),
        io.Float.Input("duration", default=0.0, min=0.0, max=1e6, step=0.001, advanced=True,
                       tooltip="How long to load, in seconds. 0 goes to the end."),
        io.Float.Input("force_rate", default=0.0, min=0.0, max=240.0, step=0.001, advanced=True,
                       tooltip="Resample to this rate by time stamps. 0 keeps the source's."),
        io.Int.Input("skip_first_frames", default=0, min=0, max=ANY, advanced=True,
                     tooltip="Frames dropped at the start, after force_rate."),
        io.Int.Input("select_every_nth", default=1, min=1, max=10000, advanced=True,
                     tooltip="Keep every n-th frame after skipping; the rate drops accordingly."),
        io.Combo.Input("deinterlace", options=["auto", "off", "on", "double rate", "film"], default="auto",
                       advanced=True, tooltip="Removes combing from DVD, DV and camcorder video. Auto looks first."),
        io.Combo.Input("pixel_aspect", options=["square", "keep"], default="square", advanced=True,
                       tooltip="Square makes DVD and DV pixels square; keep only tags them."),
        io.Combo.Input("hdr", options=["to SDR", "keep"], default="to SDR", advanced=True,
                       tooltip="Convert HDR to normal range, or keep it for 10-bit output."),
        io.Combo.Input("color_matrix", options=["auto", "bt601", "bt709", "bt2020"], default="auto", advanced=True,
                       tooltip="Override how colours are read when tags are wrong or missing."),
        io.Combo.Input("color_range", options=["auto", "limited", "full"], default="auto", advanced=True,
                       tooltip="Override black and white levels when the file says nothing."),
    ]  # fmt: skip


def _uploads() -> list[str]:
    """Clips in input/ and its folders, as the widget names them."""
    root = comfy_host.input_folder()
    found = [
        (Path(folder) / name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    ]
    return sorted(found)


def _typed(path: str) -> str:
    """The path widget's text without the quotes that file managers copy along."""
    return (path or "").strip().strip("\"'")


def _from_disk(video: str, path: str) -> tuple[Clip, media.MediaInfo]:
    allowed = comfy_host.readable_folders()
    try:
        info = media.probe(_source(video, path), allowed)
    except media.NotAllowed as error:
        raise media.NotAllowed(_explained(error)) from None
    return Clip(info.path, allowed=tuple(allowed) if allowed else None), info


def _from_link(link: str, node: str | None) -> tuple[Clip, media.MediaInfo]:
    """Fetched once; an interrupt stops the download, which goes on with the next run."""
    folder = comfy_host.links_folder()
    progress = comfy_host.download_progress(node)
    try:
        info = fetch_link(link, folder, open_session(link_rules(os.environ)), progress, comfy_host.is_interrupted)
    except net.Cancelled:
        comfy_host.stop_if_interrupted()
        raise
    FETCHED.add(info.path)
    return Clip(info.path, allowed=(folder,), address=link), info


def _source(video: str, path: str) -> Path:
    """The file or folder meant; raises a MediaError when it is not there."""
    text = _typed(path)
    if not text:
        return comfy_host.input_file(video)
    return media.resolve(text, comfy_host.readable_folders())


def _explained(error: Exception) -> str:
    if isinstance(error, media.NotAllowed):
        return f"{error} The server's owner can add folders in {comfy_host.VIDEO_DIRS_VARIABLE}."
    return str(error)


def _cap_line(video: ClipVideo) -> str | None:
    """What is said when frame_load_cap leaves frames out."""
    cap = video.clip.selection.cap
    if not cap:
        return None
    uncapped = replace(video.clip, selection=replace(video.clip.selection, cap=0))
    whole = uncapped.open(video.info).expected
    if whole is None or whole <= cap:
        return None
    return f"Loading {cap:,} of {whole:,} frames; set frame_load_cap 0 for all."


def _describe(video: ClipVideo) -> list[str]:
    info, reader = video.info, video.open()
    width, height = reader.size
    count = "unknown" if reader.expected is None else f"{reader.expected:,}"
    colour = reader.colour
    sound = ", ".join(f"{one.codec} {one.rate} Hz {one.layout}" for one in info.audio) or "none"
    return [
        f"{info.path.name}: {info.container}, {info.codec}, {info.bit_depth} bit",
        f"{width} × {height}, {float(reader.rate):.3f} fps, {count} frames",
        f"Colours: {colour.matrix}, {colour.range}, {colour.transfer}. Sound: {sound}.",
        *reader.notes,
    ]
