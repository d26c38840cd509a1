"""Fetched results on disk: paid, so kept until they are joined, and after that while there is room for them.

Each clip's results lie in a folder of their own, which all jobs of the clip share. A mark beside a result says that it
is in a joined file, so that losing it costs nothing but fetching it again for other colours.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PREFIX = "runcomfy_"
MARK = ".joined"


def downloads_folder(root: Path, source_key: str) -> Path:
    """Where the results of a clip's requests are kept."""
    return root / f"{PREFIX}{source_key}"


def needed(result: Path) -> None:
    """A run is going to join this result: it must not go before."""
    _mark_of(result).unlink(missing_ok=True)


def joined(results: Iterable[Path]) -> None:
    """These results are in a file that stands, or nobody wants them any more."""
    for result in results:
        if result.is_file():
            _mark_of(result).touch()


def rotate(root: Path, limit_bytes: float) -> list[Path]:
    """Delete joined results, those joined longest ago first, until they are within the limit together; which ones."""
    marks = sorted(root.glob(f"{PREFIX}*/*{MARK}"), key=lambda mark: mark.stat().st_mtime)
    results = [mark.with_name(mark.name.removesuffix(MARK)) for mark in marks]
    sizes = {result: result.stat().st_size if result.is_file() else 0 for result in results}
    total, gone = sum(sizes.values()), []
    for result, size in sizes.items():
        if total <= limit_bytes:
            break
        result.unlink(missing_ok=True)
        _mark_of(result).unlink(missing_ok=True)
        total -= size
        gone.append(result)
    return gone


def _mark_of(result: Path) -> Path:
    return result.with_name(result.name + MARK)
