"""Whether something can be written in a folder, told before hours of work are spent on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .muxing import reporting


def obstacle_to(folder: Path) -> str:
    """Why nothing can be written in `folder`, which may still have to be made; empty where nothing is in the way."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} may not be changed"


def copy_file(source: Path, target: Path) -> None:
    """A second file like the first; whole, or not there. Raises WriteFailed."""
    part = target.with_name(target.name + ".part")
    try:
        with reporting(target):
            shutil.copyfile(source, part)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
