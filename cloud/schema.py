"""The inputs of the hosted model as data, and the way from this pack's settings to a request.

Source: the model's API page (community/seedvr2/upscale/video). A name is `<node id>_<widget>` of the workflow there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import OutsideLimits

MODEL_ID = "community/seedvr2/upscale/video"
VIDEO_FIELD = "33_video"
MOST_VIDEO_BYTES = 100_000_000  # recommended limit for a video behind a URL
MOST_DATA_BYTES = 32 << 20  # of a clip sent as a data URI: what RunComfy's own nodes allow
SIDE_STEP = 16  # the hosted workflow crops both sides of its result to a multiple of this

Number = int | float


@dataclass(frozen=True)
class HostedInput:
    """One field of the request; `widget` is the name of our own setting it comes from."""

    name: str
    widget: str
    title: str
    kind: type
    minimum: Number | None = None
    maximum: Number | None = None
    default: Number | str | None = None
    description: str = ""


INPUTS: tuple[HostedInput, ...] = (
    HostedInput(VIDEO_FIELD, "source", "Video", str, description="Address or data URI of the clip."),
    HostedInput("35_new_resolution", "new_resolution", "Short side of the result (px)", int, 720, 1440, 1080),
    HostedInput("33_frame_load_cap", "frame_load_cap", "Number of frames", int, 32, 160, 120),
    HostedInput("34_frame_rate", "frame_rate", "Frames per second", int, 12, 30, 24),
    HostedInput("35_seed", "seed", "Seed", int, 1, 5000, 1245),
    HostedInput("35_cfg_scale", "cfg_scale", "Guidance scale", float, 1.01, 2, 1.01,
                "1.01 to 1.5 enhances subtly, 1.5 to 2.0 restores more aggressively."),
    HostedInput("35_batch_size", "batch_size", "Batch size", int, 1, 4, 1,
                "1 is the most repeatable; 2 to 4 all cost as 5."),
)  # fmt: skip
BY_NAME = {field.name: field for field in INPUTS}
BY_WIDGET = {field.widget: field for field in INPUTS}
MOST_FRAMES = int(BY_WIDGET["frame_load_cap"].maximum or 0)
FEWEST_FRAMES = int(BY_WIDGET["frame_load_cap"].minimum or 0)


@dataclass(frozen=True)
class Settings:
    """This pack's settings, as the user typed them, and the exact size the result will have here."""

    new_resolution: int  # short side of the result
    seed: int
    cfg_scale: float = 1.0
    batch_size: int = 0  # 0 is automatic
    is_explicit_size: bool = True  # false when new_resolution was computed from a scale or another side


def refuse_outside_range(settings: Settings) -> None:
    """Raise OutsideLimits for an explicit new_resolution, cfg_scale or batch_size that no request can carry."""
    if settings.is_explicit_size:
        _check("new_resolution", settings.new_resolution)
    if settings.cfg_scale != 1.0:
        _check("cfg_scale", settings.cfg_scale)
    if settings.batch_size != 0:
        _check("batch_size", settings.batch_size)


def translate(settings: Settings, rate: float) -> tuple[dict[str, Number], list[str]]:
    """The fields common to all requests of a clip with `rate` frames per second, and a note for each translation.

    Only the clip and its number of frames are missing. Raises OutsideLimits like refuse_outside_range.
    """
    refuse_outside_range(settings)
    if not (math.isfinite(rate) and rate > 0):
        raise OutsideLimits("The clip has no frame rate. Connect a video, or type the rate the images are meant for.")
    wanted: dict[str, tuple[Number, Number, str]] = {
        "new_resolution": (settings.new_resolution, _into_range("new_resolution", settings.new_resolution),
                           "the rest is done here"),
        "frame_rate": (rate, _into_range("frame_rate", round(rate)), "transport only, true timing is restored here"),
        "seed": (settings.seed, _hosted_seed(settings.seed), "hosted seeds are 1 to 5000"),
        "cfg_scale": (settings.cfg_scale, 1.01 if settings.cfg_scale == 1.0 else float(settings.cfg_scale),
                      "the smallest hosted value"),
        "batch_size": (settings.batch_size, settings.batch_size or 1, "automatic"),
    }  # fmt: skip
    values = {BY_WIDGET[widget].name: sent for widget, (_, sent, _) in wanted.items()}
    notes = [
        f"{widget} {_shown(own)} → {_shown(sent)} ({why})" for widget, (own, sent, why) in wanted.items() if own != sent
    ]
    return values, notes


def complete(values: Mapping[str, Number], frames: int) -> dict[str, Number]:
    """The fields of one request for `frames` frames, checked against the schema; the clip itself is still missing."""
    request = {**values, "33_frame_load_cap": frames}
    for name, value in request.items():
        _check(BY_NAME[name].widget, value)
    return {field.name: request[field.name] for field in INPUTS if field.name in request}


def widget_of(field_name: str) -> str:
    """Our name for a hosted field, for messages; unknown names are returned as they are."""
    field = BY_NAME.get(field_name)
    return field.widget if field else field_name


def _check(widget: str, value: Number) -> None:
    field = BY_WIDGET[widget]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    is_kind = is_number and (field.kind is float or isinstance(value, int))
    low, high = field.minimum or 0, field.maximum or 0
    if not is_kind or not low <= value <= high:
        kind = "a whole number" if field.kind is int else "a number"
        raise OutsideLimits(
            f"{widget} is {value!r}; RunComfy takes {kind} from {low} to {high}. "
            f"Change {widget}, or choose the backend local. Nothing was sent."
        )


def _into_range(widget: str, value: int) -> int:
    field = BY_WIDGET[widget]
    return int(min(max(value, field.minimum or 0), field.maximum or 0))


def _hosted_seed(seed: int) -> int:
    field = BY_WIDGET["seed"]
    low, high = int(field.minimum or 0), int(field.maximum or 0)
    return seed if low <= seed <= high else low + seed % high


def _shown(value: Number) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
