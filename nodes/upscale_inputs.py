"""The widgets of SeedVR2 Upscale, in the order users see them."""

from __future__ import annotations

from comfy_api.latest import io

from ..engine.sizes import SIZE_MODES

LOCAL, HOSTED, EITHER = "local", "RunComfy", "auto"
WHOLE, PREVIEW, ESTIMATE = "whole clip", "preview", "estimate only"
RANGES = {"new_resolution": (16, 8192), "max_long_side": (0, 16384)}


def inputs(models: list[str], devices: list[str]) -> list[io.Input]:
    """Everything but the source."""
    return [*_main(), _backend(models, devices), *_size(), *_restoring()]


def _main() -> list[io.Input]:
    return [
        io.Int.Input("new_resolution", default=1080, min=RANGES["new_resolution"][0],
                     max=RANGES["new_resolution"][1], step=2,
                     tooltip="Short side of the result in pixels; shape is kept."),
        io.Int.Input("seed", default=1245, min=0, max=2**32 - 1, control_after_generate=io.ControlAfterGenerate.fixed,
                     tooltip="Same seed, same result. Changing it starts a new job."),
        io.Combo.Input("run", options=[WHOLE, PREVIEW, ESTIMATE], default=WHOLE,
                       tooltip="Estimate shows time, memory and price without processing or paying."),
    ]  # fmt: skip


def _backend(models: list[str], devices: list[str]) -> io.Input:
    return io.DynamicCombo.Input(
        "backend",
        options=[
            io.DynamicCombo.Option(LOCAL, _local(models, devices)),
            io.DynamicCombo.Option(HOSTED, _hosted()),
            io.DynamicCombo.Option(EITHER, []),
        ],
        tooltip="This computer, or RunComfy (uploads the clip and costs money).",
    )


def _local(models: list[str], devices: list[str]) -> list[io.Input]:
    return [
        io.Combo.Input("model", options=models, default="auto",
                       tooltip="Auto takes the best model on disk. Named ones download once."),
        io.Combo.Input("precision", options=["auto", "fp32", "bf16", "fp16"], default="auto", advanced=True,
                       tooltip="Number format for computing. Auto suits your card."),
        io.Float.Input("memory_limit_gb", default=0.0, min=0.0, max=512.0, step=0.5, advanced=True,
                       tooltip="Most graphics memory to use. 0 uses what is free."),
        io.Combo.Input("device", options=devices, default="auto", advanced=True, tooltip="Which device computes."),
    ]  # fmt: skip


def _hosted() -> list[io.Input]:
    return [
        io.Float.Input("spend_limit_usd", default=2.0, min=0.0, max=1000.0, step=0.1,
                       tooltip="Stops before the next request that would exceed this, per run."),
        io.Int.Input("max_requests", default=1, min=1, max=1000, advanced=True,
                     tooltip="Most requests while no price is known."),
        io.Int.Input("in_flight", default=2, min=1, max=8, advanced=True,
                     tooltip="Segments processed at the same time."),
        io.Int.Input("overlap", default=16, min=0, max=32, advanced=True,
                     tooltip="Frames shared by neighbouring segments, blended; more may cost more."),
        io.String.Input("resubmit", default="", advanced=True,
                        tooltip="Only after an unknown outcome: its id, to pay for it again."),
    ]  # fmt: skip


def _size() -> list[io.Input]:
    return [
        io.Combo.Input("size_by", options=list(SIZE_MODES), default="short side", advanced=True,
                       tooltip="What new_resolution sets. Scale uses the factor below."),
        io.Float.Input("scale", default=2.0, min=0.1, max=8.0, step=0.05, advanced=True,
                       tooltip="Enlargement factor, used only when size_by is scale."),
        io.Int.Input("max_long_side", default=0, min=RANGES["max_long_side"][0], max=RANGES["max_long_side"][1],
                     step=2, advanced=True, tooltip="Limit for the longer side. 0 is no limit."),
    ]  # fmt: skip


def _restoring() -> list[io.Input]:
    return [
        io.Float.Input("preview_seconds", default=2.0, min=0.5, max=30.0, step=0.5, advanced=True,
                       tooltip="Length of a preview run, taken from the middle."),
        io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.01, advanced=True,
                       tooltip="1 is full restoration; lower keeps more of the original."),
        io.Combo.Input("color_correction", options=["two_scale", "lab", "wavelet", "adain", "none"],
                       default="two_scale", advanced=True, tooltip="Makes colours follow the source."),
        io.Int.Input("batch_size", default=0, min=0, max=1024, advanced=True,
                     tooltip="Frames per window. 0 automatic; 1 treats frames separately, as photos."),
        io.Float.Input("cfg_scale", default=1.0, min=0.01, max=10.0, step=0.01, advanced=True,
                       tooltip="1.0 is official and fastest. Other values double the network's work."),
    ]  # fmt: skip
