"""How fast this machine is: measured on real runs and remembered, or probed for a moment where nothing is known yet."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from .plan import PRECISIONS, Card, Outline

FILE = "speeds.json"
FEWEST_FRAMES = 12  # a shorter run says more about starting than about speed
PROBE_SECONDS = 0.4
PROBE_SIDE = 128  # pixels of the probed convolution
PROBE_DOUBT = 1.7  # a probe knows one layer only: its range is this much wider at either end
NEWEST_SHARE = 0.5  # of the newest measurement in what is remembered
Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """Arithmetic a second of whole runs, and by which factor it may be wrong besides the usual range."""

    flops_per_second: float
    doubt: float = 1.0


class Speeds:
    """Measured speeds by device, model and number format, in a small file of the jobs folder."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    def known(self, card: Card, outline: Outline, precision: str) -> Speed | None:
        """What earlier runs achieved."""
        rate = self._read().get(_key(card, outline, precision))
        return Speed(rate) if isinstance(rate, float) and rate > 0 else None

    def learn(self, card: Card, outline: Outline, precision: str, flops: float, seconds: float) -> None:
        """A run did so much arithmetic in so many seconds. What cannot be written is not remembered."""
        rates, key = self._read(), _key(card, outline, precision)
        measured = flops / max(seconds, 1e-9)
        known = rates.get(key)
        rates[key] = measured if known is None else NEWEST_SHARE * measured + (1 - NEWEST_SHARE) * known
        part = self._path.with_name(f"{FILE}.{os.getpid()}.part")
        with contextlib.suppress(OSError):
            part.write_text(json.dumps(rates, indent=1), encoding="utf-8")
            os.replace(part, self._path)

    def _read(self) -> dict[str, float]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(key): float(rate) for key, rate in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def probe(outline: Outline, device: torch.device | str, precision: str, clock: Clock = time.perf_counter) -> Speed:
    """The speed of the layer that takes most time, a convolution at full size, in about half a second."""
    device, dtype, width = torch.device(device), PRECISIONS[precision], outline.vae.widths[0]
    frame = torch.zeros(1, width, PROBE_SIDE, PROBE_SIDE, device=device, dtype=dtype)
    frame = frame.contiguous(memory_format=torch.channels_last)
    kernel = torch.zeros(width, width, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    flops, runs = 2 * 9 * width**2 * PROBE_SIDE**2, 0
    with torch.no_grad():
        _settle(F.conv2d(frame, kernel, padding=1))
        start = clock()
        while (spent := clock() - start) < PROBE_SECONDS:
            _settle(F.conv2d(frame, kernel, padding=1))
            runs += 1
    return Speed(flops * max(1, runs) / max(spent, 1e-9), PROBE_DOUBT)


def _settle(result: torch.Tensor) -> None:
    """Wait until a result is there."""
    if result.device.type == "cuda":
        torch.cuda.synchronize(result.device)


def _key(card: Card, outline: Outline, precision: str) -> str:
    return f"{card.name} | {outline.name} | {precision}"
