"""How many frames a clip really has and where its shots begin: one pass, kept in a small file for the next run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .shots import ShotFinder

VERSION = 1


@dataclass(frozen=True)
class Survey:
    """Frames in all, and the first frames of the shots after the first."""

    frames: int
    shots: tuple[int, ...] = ()


def survey_of(batches: Iterable[tuple[np.ndarray, ...]], seen: Callable[[int], None] = lambda frames: None) -> Survey:
    """Read a clip to its end. `seen(frames)` is called after each batch and may raise to stop."""
    finder, shots, count = ShotFinder(), [], 0
    for pixels, *_ in batches:
        shots += finder.push(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8))
        count += len(pixels)
        seen(count)
    return Survey(count, tuple(shots + finder.finish()))


def load_survey(path: Path) -> Survey | None:
    """What an earlier run found, None when there is nothing usable."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != VERSION:
            return None
        return Survey(int(stored["frames"]), tuple(map(int, stored["shots"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_survey(path: Path, survey: Survey) -> None:
    """Keep it, in one step: where segments are cut must not change between runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps({"version": VERSION, **asdict(survey)}), encoding="utf-8")
    part.replace(path)
