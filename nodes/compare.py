"""Compare: source and result in one picture with a line to drag, playing together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from comfy_api.latest import Input, io

from ..engine.images import batches_of, check_images
from ..engine.outlook import middle_of
from . import comfy_host
from .proxy import FOLDER, playable
from .video_value import Clip, ClipVideo, as_clip_video

START, MIDDLE = "start", "middle"
MOST_IMAGES = 100
MIXED = "before and after must be of the same kind: connect VIDEO to both, or IMAGE to both."
LONGER = "{} is {:.2f} s long, {} {:.2f} s: the longer one is cut."
MORE = "Of {:,} images the first {} are shown."


class Compare(io.ComfyNode):
    """An output node; what it shows is a copy in temp where a browser could not play the file itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SeedVR2Anywhere.Compare",
            display_name="Compare (SeedVR2)",
            category="video/SeedVR2",
            description="Plays source and result together, with a line to drag between them. Images too.",
            search_aliases=["before after", "slider", "side by side", "compare video", "difference"],
            inputs=[
                io.MultiType.Input("before", [io.Video, io.Image], tooltip="The source, shown left of the line."),
                io.MultiType.Input("after", [io.Video, io.Image], tooltip="The result, shown right of the line."),
                io.Combo.Input("align", options=[START, MIDDLE], default=START,
                               tooltip="Middle suits a preview run, which is taken from the middle of the clip."),
                io.Float.Input("start_time", default=0.0, min=0.0, max=1e6, step=0.1, advanced=True,
                               tooltip="Where the comparison starts, in seconds of the result."),
                io.Float.Input("duration", default=30.0, min=0.0, max=1e6, step=0.5, advanced=True,
                               tooltip="How many seconds are compared. 0 goes to the end."),
                io.Int.Input("longest_side", default=1920, min=256, max=8192, step=2, advanced=True,
                             tooltip="Longest side of the copies that play. Larger is sharper and slower to make."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(cls, before, after, align, start_time, duration, longest_side) -> io.NodeOutput:
        if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
            return io.NodeOutput(ui={"seedvr2_compare": [_images(before, after)]})
        if not isinstance(before, Input.Video) or not isinstance(after, Input.Video):
            raise TypeError(MIXED)
        keep_in = comfy_host.jobs_folder() / "sources"
        pair = _aligned(as_clip_video(before, keep_in), as_clip_video(after, keep_in), align)
        tell = comfy_host.download_progress(cls.hidden.unique_id)
        return io.NodeOutput(ui={"seedvr2_compare": [_films(*pair, start_time, duration, longest_side, tell)]})


def _aligned(before: ClipVideo, after: ClipVideo, align: str) -> tuple[ClipVideo, ClipVideo]:
    if align == START:
        return before, after
    clip = before.clip
    middle = middle_of(before.open(), clip.selection, after.get_duration())
    return ClipVideo(Clip(clip.path, middle, clip.treatment, clip.as_sdr, clip.origin, clip.allowed)), after


def _films(before: ClipVideo, after: ClipVideo, start: float, duration: float, side: int, tell: Callable) -> dict:
    lengths = before.get_duration(), after.get_duration()
    frame = float(1 / after.get_frame_rate())
    note = LONGER.format("before", lengths[0], "after", lengths[1]) if abs(lengths[0] - lengths[1]) > frame else ""
    if start >= min(lengths):
        raise ValueError(f"start_time is {start:g} s, but only {min(lengths):.2f} s can be compared. Start earlier.")
    length = min(filter(None, (duration, min(lengths) - start)))
    is_cut = start > 0 or length < max(lengths) - frame
    shown = [video.as_trimmed(start, length) or video if is_cut else video for video in (before, after)]
    views = [playable(video, side, tell) for video in shown]
    return {"kind": "video", "before": views[:1], "after": views[1:], "size": list(after.get_dimensions()),
            "rate": 1 / frame, "frames": shown[1].get_frame_count(), "note": note, "name": after.clip.name}  # fmt: skip


def _images(before: torch.Tensor, after: torch.Tensor) -> dict:
    check_images(before)
    check_images(after)
    count = min(len(before), len(after))
    shown = min(count, MOST_IMAGES)
    height, width = after.shape[1:3]
    return {"kind": "images", "before": _saved(before[:shown]), "after": _saved(after[:shown]), "size": [width, height],
            "rate": 0.0, "frames": shown, "note": MORE.format(count, shown) if count > shown else "",
            "name": "images"}  # fmt: skip


def _saved(images: torch.Tensor) -> list[dict[str, str]]:
    """The images as PNG in temp, named by what is in them."""
    from PIL import Image

    folder = comfy_host.temporary_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    views = []
    for batch in batches_of(images[..., :3], 8):
        for codes in batch[0]:
            path = folder / f"{hashlib.sha256(codes.tobytes() + bytes(str(codes.shape), 'ascii')).hexdigest()[:16]}.png"
            if not path.is_file():
                Image.fromarray(codes).save(path)
            views.append(comfy_host.view_of(path))
    return views
