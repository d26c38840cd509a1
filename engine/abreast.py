"""The same work on one item after the other, by a few threads at once; results come in the order of the items."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_THREADS = 4  # frames are limited by memory's speed from here on
SETTING = threading.Lock()
THREADS = max(2, min(MOST_THREADS, os.cpu_count() or 1))


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS, computing: int = 1
) -> Iterator[Result]:
    """Yield work(item) for each item; no more than `threads` + 1 items are in work or done and not yet yielded.

    Each thread computes with `computing` of PyTorch's threads: several that share a machine's cores otherwise spin
    waiting for each other. What an item or its work raises is raised here in its place, and the rest is dropped.
    """
    pool = ThreadPoolExecutor(threads, "seedvr2-abreast", compute_with, (computing,))
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def compute_with(threads: int) -> None:
    """Let this thread, and no other, compute with so many of PyTorch's threads.

    PyTorch keeps the number for each thread and one for threads that have not computed yet; setting one sets both. So
    another thread puts the second one back.
    """
    with SETTING:  # a second thread would take the number of the first for the usual one
        usual = torch.get_num_threads()
        torch.set_num_threads(threads)
        restorer = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restorer.start()
        restorer.join()
