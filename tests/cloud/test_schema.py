"""A request keeps to the service's ranges; a graph need not, unless it asks for what cannot be had."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from seedvr2_anywhere.cloud import errors, schema
from seedvr2_anywhere.cloud.schema import Settings, complete, translate

RANGES = {
    "35_new_resolution": (720, 1440, 1080),
    "33_frame_load_cap": (32, 160, 120),
    "34_frame_rate": (12, 30, 24),
    "35_seed": (1, 5000, 1245),
    "35_cfg_scale": (1.01, 2, 1.01),
    "35_batch_size": (1, 4, 1),
}


def test_the_table_is_the_published_schema():
    assert {one.name: (one.minimum, one.maximum, one.default) for one in schema.INPUTS[1:]} == RANGES
    assert schema.INPUTS[0].name == "33_video"


@pytest.mark.parametrize(
    ("changes", "rate", "sent", "noted"),
    [
        ({}, 24.0, {"35_cfg_scale": 1.01, "35_batch_size": 1, "34_frame_rate": 24}, ["cfg_scale", "batch_size"]),
        ({"cfg_scale": 1.5, "batch_size": 4}, 24.0, {"35_cfg_scale": 1.5, "35_batch_size": 4}, []),
        ({"seed": 5000}, 24.0, {"35_seed": 5000}, ["cfg_scale", "batch_size"]),
        ({"seed": 0}, 24.0, {"35_seed": 1}, ["seed", "cfg_scale", "batch_size"]),
        ({"seed": 5001}, 24.0, {"35_seed": 2}, ["seed", "cfg_scale", "batch_size"]),
        ({"seed": 2**32 - 1}, 24.0, {"35_seed": 1 + (2**32 - 1) % 5000}, ["seed", "cfg_scale", "batch_size"]),
        ({}, 50.0, {"34_frame_rate": 30}, ["frame_rate", "cfg_scale", "batch_size"]),
        ({}, 23.976, {"34_frame_rate": 24}, ["frame_rate", "cfg_scale", "batch_size"]),
        ({}, 5.0, {"34_frame_rate": 12}, ["frame_rate", "cfg_scale", "batch_size"]),
        ({"new_resolution": 720}, 24.0, {"35_new_resolution": 720}, ["cfg_scale", "batch_size"]),
        (
            {"new_resolution": 2160, "is_explicit_size": False},
            24.0,
            {"35_new_resolution": 1440},
            ["new_resolution", "cfg_scale", "batch_size"],
        ),
    ],
)
def test_settings_are_translated_and_each_translation_is_named(changes, rate, sent, noted):
    values, notes = translate(Settings(**{"new_resolution": 1080, "seed": 1245, **changes}), rate)
    assert {name: values[name] for name in sent} == sent
    assert [note.split()[0] for note in notes] == noted
    assert all(type(value) is (float if name == "35_cfg_scale" else int) for name, value in values.items())
    complete(values, 100)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"new_resolution": 480}, ("new_resolution is 480", "720 to 1440", "Nothing was sent")),
        ({"new_resolution": 2160}, ("new_resolution is 2160", "720 to 1440")),
        ({"cfg_scale": 0.5}, ("cfg_scale is 0.5", "1.01 to 2")),
        ({"cfg_scale": 2.5}, ("cfg_scale is 2.5", "1.01 to 2")),
        ({"cfg_scale": math.nan}, ("cfg_scale is nan",)),
        ({"batch_size": 5}, ("batch_size is 5", "1 to 4")),
        ({"batch_size": True}, ("batch_size is True",)),
    ],
)
def test_what_was_asked_for_explicitly_and_cannot_be_had_is_refused(desk, changes, parts):
    settings = Settings(**{"new_resolution": 1080, "seed": 1245, **changes})
    desk.fails(errors.OutsideLimits, *parts, settings=settings)
    assert (desk.posts, desk.service.calls, desk.cuts) == (0, [], 0)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_clip_without_a_rate_is_refused_before_payment(desk, rate):
    desk.fails(errors.OutsideLimits, "no frame rate", rate=rate)
    assert (desk.posts, desk.service.calls) == (0, [])


@pytest.mark.parametrize(("name", "range_"), RANGES.items())
def test_both_ends_of_every_range_pass_and_beyond_them_nothing_does(name, range_):
    low, high, default = range_
    values, _ = translate(Settings(1080, 7), 24.0)
    frames = 100
    step = 0.01 if isinstance(default, float) else 1
    for value in (low, high, default):
        complete({**values, name: value}, value if name == "33_frame_load_cap" else frames)
    for value in (low - step, high + step, str(low), None, True):
        with pytest.raises(errors.OutsideLimits):
            complete({**values, name: value}, value if name == "33_frame_load_cap" else frames)


def test_a_request_carries_all_fields_and_the_number_of_frames_always(desk):
    desk.run()
    sent = desk.service.posts[0]
    assert list(sent) == ["33_video", *RANGES]
    assert sent["33_frame_load_cap"] == 100
    assert json.loads(json.dumps(sent)) == sent
    assert Path(desk.finished.parts[0][1]).is_file()
