"""Fetched results on disk: paid, so kept until they are joined, and after that while there is room for them.

Each clip's results lie in a folder of their own. A mark in it says that all of them are in a joined file, so that
losing them costs nothing but joining again with other colours.
"""

from __future__ import annotations

import shutil
from pathlib import Path

PREFIX = "runcomfy_"
MARK = "joined"


def downloads_folder(root: Path, source_key: str) -> Path:
    """Where the results of a clip's requests are kept."""
    return root / f"{PREFIX}{source_key}"


def begin(folder: Path) -> None:
    """A run needs these results, or fetches more: nothing of them may go."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).unlink(missing_ok=True)


def joined(folder: Path) -> None:
    """All results in the folder are in a file that stands."""
    (folder / MARK).touch()


def rotate(root: Path, limit_bytes: float) -> list[Path]:
    """Delete joined folders, those joined longest ago first, until the joined ones are within the limit; which ones."""
    marked = sorted(root.glob(f"{PREFIX}*/{MARK}"), key=lambda mark: mark.stat().st_mtime)
    sizes = {mark.parent: sum(file.stat().st_size for file in mark.parent.iterdir()) for mark in marked}
    total, gone = sum(sizes.values()), []
    for folder, size in sizes.items():
        if total <= limit_bytes:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
        gone.append(folder)
    return gone
