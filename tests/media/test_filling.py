"""Batches are filled by several threads: order, contents and errors are those of one, and little is in flight."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from seedvr2_anywhere.media.filling import CONVERTERS, Filler

SIZE = (4, 6)  # height, width


def allocate(count: int, with_opacity: bool = False) -> tuple[np.ndarray, ...]:
    batch = (np.zeros((count, *SIZE, 3), np.uint8), np.zeros(count, np.int64))
    return (*batch, np.zeros((count, *SIZE), np.uint8)) if with_opacity else batch


def paint(picture: list[int], rgb: np.ndarray, opacity: np.ndarray | None) -> None:
    """A picture is its shade; every third takes its time, so that later ones overtake it."""
    if picture[0] % 3 == 0:
        time.sleep(0.005)
    rgb[...] = picture[0]
    if opacity is not None:
        opacity[...] = 255 - picture[0]


def filled(shades: list[int], count: int, with_opacity: bool = False) -> list[tuple[np.ndarray, ...]]:
    """Batches of pictures with these shades, equal neighbours being one and the same picture."""
    filler = Filler(count, lambda n: allocate(n, with_opacity), lambda: paint)
    batches, picture = [], [-1]
    for tick, shade in enumerate(shades):
        picture = picture if picture[0] == shade else [shade]
        batches += filler.add(picture, 10 * tick)
    batches += filler.rest()
    filler.close()
    return batches


@pytest.mark.parametrize("with_opacity", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_frames_come_out_as_they_went_in(count, with_opacity):
    shades = [0, 1, 2, 3, 3, 3, 4, 6, 9, 9, 12, 13, 15, 15, 18, 20, 21]
    batches = filled(shades, count, with_opacity)
    assert [len(batch[0]) for batch in batches[:-1]] == [count] * (len(batches) - 1)
    pixels, ticks = np.concatenate([batch[0] for batch in batches]), np.concatenate([batch[1] for batch in batches])
    assert (pixels == np.array(shades, np.uint8)[:, None, None, None]).all()
    assert ticks.tolist() == [10 * tick for tick in range(len(shades))]
    if with_opacity:
        opacity = np.concatenate([batch[2] for batch in batches])
        assert (opacity == 255 - np.array(shades, np.uint8)[:, None, None]).all()


def test_no_more_pictures_wait_than_can_soon_be_worked_on():
    """A large batch must not keep a large batch of decoded pictures."""
    gate, begun = threading.Semaphore(0), 0

    def slowly(*_: object) -> None:
        gate.acquire()

    filler = Filler(1000, allocate, lambda: slowly)
    feeder = threading.Thread(target=lambda: [list(filler.add([tick], tick)) for tick in range(50)])
    feeder.start()
    time.sleep(0.2)
    begun = len(filler._jobs)
    for _ in range(50):
        gate.release()
    feeder.join()
    filler.close()
    assert begun <= 2 * CONVERTERS + 1


@pytest.mark.parametrize("count", [1, 2, 50])
def test_an_error_reaches_the_caller(count):
    def fail_at_five(picture: list[int], *_: object) -> None:
        if picture[0] == 5:
            raise ValueError("picture five")

    filler = Filler(count, allocate, lambda: fail_at_five)
    with pytest.raises(ValueError, match="picture five"):
        for tick in range(20):
            list(filler.add([tick], tick))
        list(filler.rest())
    filler.close()
