"""The size of the result is what the settings say: shape kept, sides even, limits held."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seedvr2_anywhere.engine.errors import BadSize
from seedvr2_anywhere.engine.sizes import MOST_LONG_SIDE, MOST_PIXELS, SIZE_MODES, target_size

KNOWN = [  # source (height, width), settings, result (height, width)
    ((480, 640), {}, (1080, 1440)),
    ((640, 480), {}, (1440, 1080)),
    ((1080, 1920), {"resolution": 720}, (720, 1280)),
    ((480, 854), {}, (1080, 1922)),  # 1921.5
    ((480, 640), {"size_by": "long side", "resolution": 1920}, (1440, 1920)),
    ((480, 640), {"size_by": "width", "resolution": 1000}, (750, 1000)),
    ((480, 640), {"size_by": "height", "resolution": 1000}, (1000, 1334)),  # 1333.3
    ((480, 640), {"size_by": "scale", "scale": 2.5}, (1200, 1600)),
    ((100, 200), {"size_by": "scale", "scale": 1.15}, (116, 230)),  # 115 lies between 114 and 116
    ((361, 641), {"size_by": "scale", "scale": 1.0}, (362, 642)),
    ((480, 640), {"max_long_side": 1280}, (960, 1280)),
    ((480, 640), {"max_long_side": 1281}, (960, 1280)),
    ((480, 640), {"max_long_side": 1440}, (1080, 1440)),
    ((480, 640), {"resolution": 8192, "max_long_side": 1000}, (750, 1000)),
    ((480, 640), {"resolution": 719}, (720, 960)),
    ((1, 1), {"size_by": "scale", "scale": 1.0}, (2, 2)),
    ((2, 2), {"size_by": "scale", "scale": 0.1}, (2, 2)),
    ((1, 1), {"resolution": 1080}, (1080, 1080)),
    ((2160, 4096), {"size_by": "scale", "scale": 2.0, "max_long_side": 8192}, (4320, 8192)),
]


@pytest.mark.parametrize(("source", "asked", "result"), KNOWN)
def test_sizes_are_what_the_settings_say(source, asked, result):
    assert target_size(source, **asked) == result


REFUSED = [
    ((480, 640), {"resolution": 8192}, "10922 × 8192 .*max_long_side"),
    ((4000, 4000), {"size_by": "scale", "scale": 2.001}, "64.* megapixels"),
    ((8192, 8192), {"size_by": "scale", "scale": 1.0}, "67.1 megapixels"),
    ((2, 4000), {}, "long side"),
    ((0, 640), {}, "at least 1 × 1"),
    ((480, 640), {"size_by": "diagonal"}, "short side, long side, width, height, scale"),
    ((480, 640), {"size_by": "scale", "scale": 0.0}, "positive"),
    ((480, 640), {"size_by": "scale", "scale": float("nan")}, "positive"),
    ((480, 640), {"size_by": "scale", "scale": float("inf")}, "positive"),
    ((480, 640), {"resolution": 0}, "at least 1 pixel"),
]


@pytest.mark.parametrize(("source", "asked", "words"), REFUSED)
def test_impossible_sizes_are_refused_in_words(source, asked, words):
    with pytest.raises(BadSize, match=words):
        target_size(source, **asked)


@settings(max_examples=400, deadline=None)
@given(
    source=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    size_by=st.sampled_from(SIZE_MODES),
    resolution=st.integers(1, 8192),
    scale=st.floats(0.1, 8),
    max_long_side=st.one_of(st.just(0), st.integers(2, 16384)),
)
def test_any_size_is_even_within_limits_and_keeps_the_shape(source, size_by, resolution, scale, max_long_side):
    asked = {"size_by": size_by, "resolution": resolution, "scale": scale, "max_long_side": max_long_side}
    try:
        height, width = target_size(source, **asked)
    except BadSize as refusal:
        assert "megapixels" in str(refusal)
        return
    assert height % 2 == width % 2 == 0 and min(height, width) >= 2
    assert max(height, width) <= min(MOST_LONG_SIDE, max(2, max_long_side) if max_long_side else MOST_LONG_SIDE)
    assert height * width <= MOST_PIXELS
    # one factor explains both sides: each is within a pixel of its exact length, or the least there is
    sides = list(zip((height, width), source, strict=True))
    least = max(Fraction(got - 1 if got > 2 else 0, had) for got, had in sides)
    most = min(Fraction(got + 1, had) for got, had in sides)
    assert least <= most, f"{source} became {(height, width)}"
