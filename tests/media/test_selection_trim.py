"""A part of a selection holds the frames that lie in that part of what the selection delivers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from seedvr2_anywhere.media import Selection
from seedvr2_anywhere.media.selection import Timed, thinned, within

RATE, FRAMES = Fraction(24), 96
CASES = {
    "everything": Selection(),
    "a window": Selection(start=1, duration=2),
    "every third": Selection(every=3),
    "skipped and capped": Selection(skip=7, cap=40),
    "another rate": Selection(force_rate=12),
    "all at once": Selection(start=0.5, force_rate=48, skip=5, every=2, cap=60),
}


def delivered(selection: Selection) -> list[tuple[int, int]]:
    """(number of the source's frame, tick) of all frames a clip of constant rate delivers."""
    frames = [Timed(number, number, 1) for number in range(FRAMES)]
    return [(one.picture, one.tick) for one in thinned(within(frames, selection, 1 / RATE), selection, 1 / RATE)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "start, duration", [(0, 0), (Fraction(1, 2), 0), (0, Fraction(1, 2)), (Fraction(1, 2), 1), (1, 99)]
)
def test_a_trimmed_selection_delivers_that_part(case, start, duration):
    selection = CASES[case]
    rate = selection.rate(RATE)
    whole = [picture for picture, _ in delivered(selection)]
    times = [index / rate for index in range(len(whole))]
    wanted = [
        picture
        for picture, time in zip(whole, times, strict=True)
        if time >= start and (not duration or time < start + duration)
    ]
    assert [picture for picture, _ in delivered(selection.trimmed(start, duration, RATE))] == wanted
