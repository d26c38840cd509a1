"""Paid results stay until they are joined; joined ones go, oldest first, when there is no room."""

from __future__ import annotations

import os

import pytest
from seedvr2_anywhere.cloud import downloads

SIZE = 1000


def folder_of(root, name: str, joined_at: float | None):
    folder = downloads.downloads_folder(root, name)
    downloads.begin(folder)
    (folder / "segment-1.mp4").write_bytes(bytes(SIZE))
    if joined_at is not None:
        downloads.joined(folder)
        os.utime(folder / downloads.MARK, (joined_at, joined_at))
    return folder


@pytest.mark.parametrize(
    ("limit", "gone"), [(3 * SIZE, []), (2 * SIZE, ["b"]), (SIZE, ["b", "c"]), (0, ["b", "c", "a"])]
)
def test_the_longest_joined_go_first_and_what_is_not_joined_never(tmp_path, limit, gone):
    folders = {name: folder_of(tmp_path, name, at) for name, at in (("a", 300), ("b", 100), ("c", 200), ("d", None))}
    (tmp_path / "clip_0123").mkdir()  # a job of another kind
    assert downloads.rotate(tmp_path, limit) == [folders[name] for name in gone]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["clip_0123", *(folder.name for name, folder in folders.items() if name not in gone)]
    )


def test_a_new_run_takes_the_mark_away(tmp_path):
    folder = folder_of(tmp_path, "a", 100)
    downloads.begin(folder)
    assert downloads.rotate(tmp_path, 0) == []
