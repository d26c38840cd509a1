"""Window partition against the worked tables and the rule it was trained with; orders and chunks as permutations."""

from __future__ import annotations

import math
import random

import pytest
import torch
from seedvr2_anywhere.models.windows import Run, arrange, chunks, partition, window_size

# grid → window size, regular cuts, shifted cuts (t, y, x)
TABLE = {
    (1, 32, 32): ((1, 20, 20), ([0, 1], [0, 20, 32], [0, 20, 32]), ([0, 1], [0, 10, 30, 32], [0, 10, 30, 32])),
    (1, 64, 64): (
        (1, 20, 20),
        ([0, 1], [0, 20, 40, 60, 64], [0, 20, 40, 60, 64]),
        ([0, 1], [0, 10, 30, 50, 64], [0, 10, 30, 50, 64]),
    ),
    (2, 45, 80): (
        (1, 15, 27),
        ([0, 1, 2], [0, 15, 30, 45], [0, 27, 54, 80]),
        ([0, 1, 2], [0, 7, 22, 37, 45], [0, 13, 40, 67, 80]),
    ),
    (6, 45, 80): (
        (2, 15, 27),
        ([0, 2, 4, 6], [0, 15, 30, 45], [0, 27, 54, 80]),
        ([0, 1, 3, 5, 6], [0, 7, 22, 37, 45], [0, 13, 40, 67, 80]),
    ),
    (12, 68, 120): (
        (3, 15, 27),
        ([0, 3, 6, 9, 12], [0, 15, 30, 45, 60, 68], [0, 27, 54, 81, 108, 120]),
        ([0, 1, 4, 7, 10, 12], [0, 7, 22, 37, 52, 67, 68], [0, 13, 40, 67, 94, 120]),
    ),
    (31, 45, 80): (
        (8, 15, 27),
        ([0, 8, 16, 24, 31], [0, 15, 30, 45], [0, 27, 54, 80]),
        ([0, 4, 12, 20, 28, 31], [0, 7, 22, 37, 45], [0, 13, 40, 67, 80]),
    ),
    (2, 4, 6): ((1, 17, 25), ([0, 1, 2], [0, 4], [0, 6]), ([0, 1, 2], [0, 4], [0, 6])),
    (1, 16, 90): ((1, 9, 48), ([0, 1], [0, 9, 16], [0, 48, 90]), ([0, 1], [0, 4, 13, 16], [0, 24, 72, 90])),
    (8, 9, 16): ((2, 15, 27), ([0, 2, 4, 6, 8], [0, 9], [0, 16]), ([0, 1, 3, 5, 7, 8], [0, 9], [0, 16])),
    (1, 120, 68): (
        (1, 27, 15),
        ([0, 1], [0, 27, 54, 81, 108, 120], [0, 15, 30, 45, 60, 68]),
        ([0, 1], [0, 13, 40, 67, 94, 120], [0, 7, 22, 37, 52, 67, 68]),
    ),
}
# grid → number of windows (regular, shifted), and regular sizes with their counts
COUNTS = {
    (1, 32, 32): (4, 9, {400: 1, 240: 2, 144: 1}),
    (1, 64, 64): (16, 16, {400: 9, 80: 6, 16: 1}),
    (2, 45, 80): (18, 32, {405: 12, 390: 6}),
    (6, 45, 80): (27, 64, {810: 18, 780: 9}),
    (12, 68, 120): (100, 150, {1215: 64, 648: 16, 540: 16, 288: 4}),
    (31, 45, 80): (36, 80, None),
    (3, 135, 240): (243, 300, {405: 216, 360: 27}),
    (2, 4, 6): (2, 2, {24: 2}),
    (1, 16, 90): (4, 9, {432: 1, 336: 1, 378: 1, 294: 1}),
    (8, 9, 16): (4, 5, {288: 4}),
    (1, 120, 68): (25, 30, None),
}
ATTENDED = {  # Σ (window + 58 text tokens)², regular and shifted
    (12, 68, 120): (117_889_360, 104_036_120),
    (3, 68, 120): (11_941_500, 11_783_640),
    (6, 45, 80): (19_881_828, 12_832_376),
    (1, 64, 64): (2_007_616, 1_730_176),
    (31, 45, 80): (360_215_154, 232_633_836),
}


@pytest.mark.parametrize("grid", TABLE)
def test_cuts_are_those_of_the_worked_examples(grid):
    size, regular, shifted = TABLE[grid]
    assert window_size(grid) == size
    assert partition(grid, shifted=False) == regular
    assert partition(grid, shifted=True) == shifted


@pytest.mark.parametrize("grid", COUNTS)
def test_windows_are_as_many_and_as_large_as_worked_out(grid):
    regular, shifted, sizes = COUNTS[grid]
    even, odd = arrange(grid, shifted=False), arrange(grid, shifted=True)
    assert (even.windows, odd.windows) == (regular, shifted)
    if sizes is not None:
        assert {run.tokens: run.windows for run in even.runs} == sizes


@pytest.mark.parametrize("grid", ATTENDED)
def test_attention_work_is_as_worked_out(grid):
    for shifted, expected in zip((False, True), ATTENDED[grid], strict=True):
        assert sum(run.windows * (run.tokens + 58) ** 2 for run in arrange(grid, shifted).runs) == expected


def trained_cuts(length: int, size: int) -> list[int]:
    """Shifted boundaries by the trained model's own rule: (i ± ½)·k towards zero, clamped, empty ones dropped."""
    shift = 0.5 if size < length else 0.0
    spans = [(max(int((i - shift) * size), 0), min(int((i - shift + 1) * size), length)) for i in range(length + 2)]
    kept = [span for span in spans if span[1] > span[0]]
    return [0, *(stop for _, stop in kept)]


def test_shifted_cuts_follow_the_trained_rule_on_random_grids():
    source = random.Random(0)
    for _ in range(400):
        grid = (source.randint(1, 60), source.randint(1, 300), source.randint(1, 300))
        expected = tuple(trained_cuts(n, k) for n, k in zip(grid, window_size(grid), strict=True))
        assert partition(grid, shifted=True) == expected, grid


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 32, 32), (3, 16, 16), (7, 19, 11), (5, 15, 27), (2, 9, 65)])
def test_window_order_holds_every_token_once_and_knows_its_place(grid, shifted):
    windows = arrange(grid, shifted)
    assert windows.order.sort().values.equal(torch.arange(math.prod(grid)))
    assert (windows.place >= 0).all()
    assert (windows.place < windows.extent).all()
    corner = 0
    for run in windows.runs:
        for _ in range(run.windows):
            tokens = slice(corner, corner + run.tokens)
            there = torch.stack(torch.unravel_index(windows.order[tokens], grid), dim=1)
            assert (there - windows.place[tokens]).unique(dim=0).shape[0] == 1, "a window is one box of the grid"
            assert windows.extent[tokens].unique(dim=0).prod() == run.tokens
            corner += run.tokens


@pytest.mark.parametrize("limit", [1, 50, 400, 401, 1000, 10**9])
def test_chunks_are_whole_windows_in_order(limit):
    runs = arrange((3, 40, 40), shifted=True).runs
    pieces = chunks(runs, limit)
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == sum(run.length for run in runs) == 3 * 40 * 40
    for piece in pieces:
        assert piece.stop - piece.start == sum(run.length for run in piece.runs)
        assert piece.stop - piece.start <= limit or piece.runs == (Run(1, piece.runs[0].tokens),)
    flat = [run.tokens for piece in pieces for run in piece.runs for _ in range(run.windows)]
    assert flat == [run.tokens for run in runs for _ in range(run.windows)]
