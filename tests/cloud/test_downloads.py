"""Paid results stay until they are joined; joined ones go, oldest first, when there is no room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from seedvr2_anywhere.cloud import downloads

SIZE = 1000


def result_of(root: Path, clip: str, name: str, joined_at: float | None) -> Path:
    result = downloads.downloads_folder(root, clip) / f"segment-{name}.mp4"
    result.parent.mkdir(exist_ok=True)
    result.write_bytes(bytes(SIZE))
    if joined_at is not None:
        downloads.joined([result])
        (mark,) = result.parent.glob(f"{result.name}?*")
        os.utime(mark, (joined_at, joined_at))
    return result


@pytest.mark.parametrize(
    ("limit", "gone"), [(3 * SIZE, []), (2 * SIZE, ["b"]), (SIZE, ["b", "c"]), (0, ["b", "c", "a"])]
)
def test_the_longest_joined_go_first_and_what_is_not_joined_never(tmp_path, limit, gone):
    # d is of the same clip as a: one job's end says nothing about the results of another
    kept = [("one", "a", 300), ("two", "b", 100), ("two", "c", 200), ("one", "d", None)]
    results = {name: result_of(tmp_path, clip, name, at) for clip, name, at in kept}
    (tmp_path / "clip_0123").mkdir()  # a job of another kind
    assert downloads.rotate(tmp_path, limit) == [results[name] for name in gone]
    assert [name for name, result in results.items() if not result.exists()] == sorted(gone)


def test_what_a_new_run_needs_stays_until_it_is_joined_again(tmp_path):
    result = result_of(tmp_path, "one", "a", 100)
    downloads.needed(result)
    assert downloads.rotate(tmp_path, 0) == []
    downloads.joined([result, result.with_name("never fetched.mp4")])
    assert downloads.rotate(tmp_path, 0) == [result]
    assert list(result.parent.iterdir()) == []
