"""Results of elsewhere get the exact size, the source's colours and border, and the same bits on any machine."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from seedvr2_anywhere import media
from seedvr2_anywhere.engine import abreast, hosted_finish
from seedvr2_anywhere.engine.colour import transfer
from seedvr2_anywhere.engine.errors import BadSize
from seedvr2_anywhere.engine.host import Host, Meter
from seedvr2_anywhere.engine.hosted_finish import FEATHER, Finish, Inset, write_result
from seedvr2_anywhere.engine.quantize import to_codes, to_float
from seedvr2_anywhere.engine.resize import blend, resize
from seedvr2_anywhere.engine.wish import Wish

SOURCE, FULL = (45, 60), (135, 180)
CROPPED = Inset(FULL, 3, 2, (128, 176))


def random_codes(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def plainly_finished(finish: Finish, restored: np.ndarray, source: np.ndarray) -> np.ndarray:
    """One frame the long way: every step on whole frames [1,H,W,3]."""
    inset, wish = finish.inset, finish.wish
    (height, width), top, left = inset.size, inset.top, inset.left
    reference = resize(torch.from_numpy(source[None]), *inset.full)
    rows, columns = slice(top, top + height), slice(left, left + width)
    covered = tuple(round(side * size / full)
                    for side, size, full in zip(source.shape, inset.size, inset.full, strict=False))  # fmt: skip
    inner = transfer(to_float(restored[None]), reference[:, rows, columns], wish.color_correction, source_size=covered)
    whole = reference.clone()
    whole[:, rows, columns] = torch.lerp(whole[:, rows, columns], inner, finish.weights[..., None])
    picture = resize(whole, *finish.target)
    wanted = resize(torch.from_numpy(source[None]), *finish.target)
    return to_codes(blend(picture, wanted, wish.strength), torch.uint16)[0].numpy()


@pytest.mark.parametrize("method", ["two_scale", "lab", "wavelet", "adain", "none"])
@pytest.mark.parametrize("inset, target", [
    (Inset(FULL, 0, 0, FULL), FULL), (CROPPED, FULL), (CROPPED, (90, 120)), (Inset((90, 120), 0, 0, (90, 120)), FULL),
])  # fmt: skip
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_frame_is_that_of_the_steps_one_by_one(method, inset, target, strength):
    finish = Finish(inset, target, Wish(color_correction=method, strength=strength))
    for seed in (1, 2):  # the second time with used memory
        restored, source = random_codes(1, inset.size, seed)[0], random_codes(1, SOURCE, seed + 9)[0]
        made = finish.frame(restored, source)
        assert made.shape == (*target, 3)
        plain = plainly_finished(finish, restored, source)
        assert np.abs(made.astype(int) - plain.astype(int)).max() <= 1


def test_the_border_that_was_cropped_is_the_source_s_own():
    finish = Finish(CROPPED, FULL, Wish(color_correction="none"))
    source = random_codes(1, SOURCE, 1)[0]
    made = finish.frame(np.zeros((*CROPPED.size, 3), np.uint8), source)
    own = to_codes(resize(torch.from_numpy(source[None]), *FULL), torch.uint16)[0].numpy()
    assert np.array_equal(made[: CROPPED.top], own[: CROPPED.top])
    assert np.array_equal(made[:, : CROPPED.left], own[:, : CROPPED.left])
    inner = slice(CROPPED.top + FEATHER, -(FULL[0] - CROPPED.top - CROPPED.size[0]) - FEATHER)
    assert not made[inner, CROPPED.left + FEATHER : -CROPPED.left - FEATHER].any()


def test_a_result_of_another_size_is_refused():
    finish = Finish(CROPPED, FULL, Wish())
    with pytest.raises(BadSize, match="Got restored frames of 170 × 128, expected 176 × 128"):
        finish.frame(np.zeros((128, 170, 3), np.uint8), random_codes(1, SOURCE, 1)[0])


def pairs(count: int, sources: np.ndarray, alpha: bool = False):
    restored = random_codes(count, CROPPED.size, 3)
    for number in range(count):
        one = slice(number, number + 1)
        batch = restored[one], sources[one], np.array([number * 2])
        yield (*batch, sources[one, ..., 0]) if alpha else batch


@pytest.mark.parametrize("alpha", [False, True])
def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch, alpha):
    finish, sources = Finish(CROPPED, FULL, Wish()), random_codes(13, SOURCE, 4)
    made = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(hosted_finish, "in_order", lambda work, items, n=threads: abreast.in_order(work, items, n))
        batches = list(hosted_finish.finished_batches(pairs(13, sources, alpha), finish, Meter(Host(), 13)))
        assert [int(batch[1][0]) for batch in batches] == list(range(0, 26, 2))
        made.append([np.concatenate(part) for part in zip(*batches, strict=True)])
    for other in made[1:]:
        assert all(np.array_equal(one, two) for one, two in zip(made[0], other, strict=True))


class Stop(Exception):
    """What a host raises."""


@pytest.mark.parametrize("how", ["the host stops", "a frame is bad", "the source fails"])
def test_nothing_is_left_of_a_result_that_is_not_whole(tmp_path, how):
    source = tmp_path / "source.mp4"
    sources = random_codes(30, (48, 64), 5)
    media.write(source, ((frame[None], np.array([number])) for number, frame in enumerate(sources)),
                time_base=Fraction(1, 24))  # fmt: skip
    seen = []

    def host_check() -> None:
        seen.append(1)
        if how == "the host stops" and len(seen) > 20:
            raise Stop

    def coming(reader):
        for number, (frames, pts) in enumerate((frame[None], tick) for batch, ticks in reader
                                               for frame, tick in zip(batch, ticks[:, None], strict=True)):  # fmt: skip
            if how == "the source fails" and number == 20:
                raise Stop
            size = (99, 176) if how == "a frame is bad" and number == 20 else CROPPED.size
            yield np.zeros((1, *size, 3), np.uint8), frames, pts

    with media.read(source, frames_per_batch=1) as reader, pytest.raises((Stop, BadSize)):
        write_result(tmp_path / "made.mp4", coming(reader), reader, Finish(CROPPED, FULL, Wish()), Host(host_check))
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]
