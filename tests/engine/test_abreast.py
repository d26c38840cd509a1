"""Work abreast keeps its order, its bounds and its failures, and leaves PyTorch's threads as they were."""

from __future__ import annotations

import random
import threading
import time

import pytest
import torch
from seedvr2_anywhere.engine.abreast import compute_with, in_order


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    pauses = random.Random(5)

    def slow(number: int) -> int:
        time.sleep(pauses.random() / 100)
        return number * number

    assert list(in_order(slow, range(40), threads=3)) == [number * number for number in range(40)]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_taken_ahead_than_the_threads_and_one(threads):
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    for result in in_order(lambda number: number, items(), threads):
        assert len(taken) - result <= threads + 1
    assert len(taken) == 20


def test_a_failure_is_raised_in_its_place_and_the_rest_is_not_begun():
    begun = []

    def fragile(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    found = []
    with pytest.raises(ValueError, match="five"):
        found.extend(in_order(fragile, range(1000), threads=2))
        pytest.fail("nothing was raised")
    assert max(begun) <= 5 + 3


def test_a_caller_that_leaves_early_leaves_no_thread_behind():
    results = in_order(lambda number: number, iter(range(1000)), threads=2)
    assert next(results) == 0
    results.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("seedvr2-abreast")]


def in_a_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_each_thread_computes_alone_and_nobody_else_notices():
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert set(in_order(lambda _: torch.get_num_threads(), range(6), threads=2)) == {1}
        assert torch.get_num_threads() == 3
        assert in_a_new_thread(torch.get_num_threads) == 3
        assert in_a_new_thread(lambda: (compute_with(2), torch.get_num_threads())[1]) == 2
        assert in_a_new_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(usual)
