"""What is kept of runs for pages that come later, and which run a job in the list belongs to."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.nodes.run_board import MOST_RUNS, RunBoard


def message(prompt: str, job: str = "", state: str = "running", node: str = "35") -> dict:
    """As `seedvr2.run` tells it, shortened."""
    return {"prompt": prompt, "node": node, "job": job, "state": state}


def board_of(*messages: dict) -> RunBoard:
    """A board after these were put on it."""
    board = RunBoard()
    for one in messages:
        board.put(one)
    return board


def test_of_each_node_of_each_prompt_the_newest_message_is_kept_and_old_runs_go():
    told = [message(str(number), state=state) for number in range(MOST_RUNS + 5) for state in ("running", "done")]
    kept = board_of(*told).messages()
    assert [one["prompt"] for one in kept] == [str(number) for number in range(5, MOST_RUNS + 5)]
    assert {one["state"] for one in kept} == {"done"}


@pytest.mark.parametrize(
    ("told", "is_running", "prompt"),
    [
        ([message("1", "a", "done")], False, "1"),
        ([message("1", "a", "done"), message("2")], False, "1"),
        ([message("1", "a", "done"), message("2")], True, "2"),  # begun anew, not named yet
        ([message("1", "a", "done"), message("2", "b")], True, None),  # another program works on it
        ([message("1", "a", "stopped"), message("2", "a")], True, "2"),
        ([message("1", "b", "done")], False, None),
    ],
)
def test_a_job_is_told_by_its_own_run(told, is_running, prompt):
    found = board_of(*told).of_job("a", is_running)
    assert (found["prompt"] if found else None) == prompt
