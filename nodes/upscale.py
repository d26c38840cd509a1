"""SeedVR2 Upscale: the switch between this machine and RunComfy."""

from __future__ import annotations

import torch
from comfy_api.latest import Input, io

from ..engine.choice import model_names
from ..engine.errors import BadSize
from ..engine.sizes import SIZE_MODES, check_wish
from ..engine.upscale import Wish
from . import comfy_host
from .auto_run import auto_run
from .hosted_run import HostedRun
from .local_run import RESULTS, LocalRun
from .upscale_inputs import EITHER, HOSTED, LOCAL, RANGES, inputs

KIND = io.MatchType.Template("seedvr2_source", [io.Video, io.Image])  # pyright: ignore[reportArgumentType]
FORWARDED = ("new_resolution", "size_by", "scale", "max_long_side", "seed", "batch_size", "cfg_scale", "strength",
             "color_correction")  # fmt: skip
RUNS = {LOCAL: LocalRun, HOSTED: HostedRun, EITHER: auto_run}


class Upscale(io.ComfyNode):
    """Hosted node 35."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        models = model_names(comfy_host.model_folders())
        source = io.MatchType.Input(
            "source", KIND, tooltip="Video or images to restore; the result is of the same kind."
        )
        return io.Schema(
            node_id="SeedVR2Anywhere.Upscale",
            display_name="SeedVR2 Upscale",
            category="video/SeedVR2",
            description="Restores and enlarges video or images with SeedVR2. Stopped runs go on where they were.",
            search_aliases=["VHS", "upscaler", "super resolution", "restore", "enhance", "DVD", "save video"],
            inputs=[source, *inputs(models, comfy_host.device_names())],
            outputs=[io.MatchType.Output(KIND, display_name="upscaled"), io.String.Output(display_name="report")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, new_resolution, size_by, max_long_side, backend) -> bool | str:
        """What is too large for any source. ComfyUI leaves the ranges of what is named here to this check, too."""
        if backend["backend"] not in RUNS:
            return f"There is no backend {backend['backend']!r}; known are {', '.join(RUNS)}."
        for name, value in (("new_resolution", new_resolution), ("max_long_side", max_long_side)):
            low, high = RANGES[name]
            if value is not None and not low <= value <= high:
                return f"{name} is {value}; expected {low} to {high}."
        if size_by is not None and size_by not in SIZE_MODES:
            return f"size_by is {size_by!r}; expected one of {', '.join(SIZE_MODES)}."
        if new_resolution is None or size_by is None or max_long_side is None:  # by wire, known when it runs
            return True
        try:
            check_wish(size_by, new_resolution, max_long_side)
        except BadSize as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, **_widgets) -> int:
        """Changes when a result that was handed out is gone, so that it is made again."""
        return RESULTS.lost

    @classmethod
    def execute(cls, source, run, backend, preview_seconds, **widgets) -> io.NodeOutput:
        wish = Wish(**{name: widgets[name] for name in FORWARDED})
        task = RUNS[backend["backend"]](wish, run, preview_seconds, backend, cls.hidden.unique_id)
        # ComfyUI's inference mode is bound to its thread; results are finished on others
        with torch.inference_mode(False), torch.no_grad():
            if isinstance(source, Input.Video):
                return io.NodeOutput(*task.restore_video(source))
            if isinstance(source, torch.Tensor):
                return io.NodeOutput(*task.restore_images(source))
        raise TypeError(f"source is {type(source).__name__}, expected VIDEO or IMAGE. Connect a video or images.")
