"""What a run would make and take, said before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from .. import media
from .attend import attended
from .cost import clip_flops, say_time, time_range
from .denoise import OFFICIAL_CFG
from .machine import Machine
from .padding import Geometry, plan_geometry
from .plan import Clip, Outline, Plan, describe, make_plan
from .sizes import target_size
from .speed import Speed
from .wish import Wish

BYTES_PER_PIXEL = 0.25  # of the intermediate, generously
COPIES = 2  # segments and joined file stand side by side for a moment
LONG_HOURS = 12


@dataclass(frozen=True)
class Outlook:
    """A plan with what it will cost."""

    geometry: Geometry
    clip: Clip
    plan: Plan
    disk: int  # bytes needed at most
    seconds: tuple[float, float] | None  # least and most; None where the number of frames or the speed is unknown

    @property
    def line(self) -> str:
        """The plan in one line."""
        return describe(self.plan, self.clip)

    @property
    def costs(self) -> str:
        """Time and disk in one line."""
        time = "Time unknown" if self.seconds is None else f"Takes {say_time(self.seconds)} here"
        return f"{time}; up to {self.disk / 1e9:.2f} GB on disk while it runs."

    @property
    def warning(self) -> str:
        """What to say before such a run starts; empty when there is nothing."""
        if self.seconds is None or self.seconds[0] <= LONG_HOURS * 3600:
            return ""
        return (
            f"This will take more than {LONG_HOURS} hours here ({say_time(self.seconds)}). It can be stopped and gone "
            "on with at any time; a smaller new_resolution, a preview or RunComfy are faster."
        )

    @property
    def lines(self) -> list[str]:
        """All of it, for a report."""
        return [self.line, self.costs, *([self.warning] if self.warning else [])]


def foresee(
    source: tuple[int, int],
    frames: int | None,
    wish: Wish,
    outline: Outline,
    machine: Machine,
    precision: str = "auto",
    speed: Speed | None = None,
    check: Callable[[], None] = lambda: None,
) -> Outlook:
    """Plan for a source (height, width) of so many frames; nothing is loaded, read or computed.

    `speed`: what this machine does, see `Speeds`; None leaves the time open. `check` is called meanwhile and may raise
    to stop: the first plan of a process takes seconds. Raises BadSize, DoesNotFit.
    """
    geometry = plan_geometry(source, wish.target(source))
    clip = Clip(source, geometry.target, geometry.padded, frames)
    room = machine.room()
    plan = attended(lambda: make_plan(machine.card, outline, clip, room, wish.batch_size, precision), check)
    seconds = None
    if speed is not None and frames is not None:
        least, most = time_range(flops_of(plan, clip, outline, wish, frames), speed.flops_per_second)
        seconds = (least / speed.doubt, most * speed.doubt)
    return Outlook(geometry, clip, plan, disk_bytes(clip.target, frames or 0), seconds)


def flops_of(plan: Plan, clip: Clip, outline: Outline, wish: Wish, frames: int) -> float:
    """Arithmetic of so many frames of a clip."""
    return clip_flops(
        outline.dit, outline.vae, clip.padded, plan.semantic.windowing, frames, outline.text_length,
        wish.cfg_scale != OFFICIAL_CFG,
    )  # fmt: skip


def disk_bytes(target: tuple[int, int], frames: int) -> int:
    """Most bytes that a run of so many frames of (height, width) needs for the moment."""
    return int(COPIES * BYTES_PER_PIXEL * target[0] * target[1] * max(0, frames))


def look_ahead(source: tuple[int, int], wish: Wish) -> tuple[int, int]:
    """(height, width) of the result for a source (height, width). Raises BadSize."""
    return target_size(
        source, size_by=wish.size_by, resolution=wish.new_resolution, scale=wish.scale, max_long_side=wish.max_long_side
    )


def plan_line(source: tuple[int, int], target: tuple[int, int], frames: int | None, rate: Fraction | None) -> str:
    """One line: sizes, frames, disk; and a warning where the result is smaller. source (width, height)."""
    width, height = source
    count = "frames of unknown number" if frames is None else f"{frames:,} frames"
    line = f"{width} × {height} → {target[1]} × {target[0]}, {count}"
    if rate is not None:
        line += f" at {float(rate):.3f} fps"
        line += f", up to {disk_bytes(target, frames) / 1e9:.2f} GB on disk" if frames else ""
    if target[0] * target[1] < width * height:
        line += ". The result is smaller than the source: raise new_resolution to enlarge"
    return f"{line}."


def middle_of(reader: media.Reader, selection: media.Selection, seconds: float) -> media.Selection:
    """The part of a selection that lies in the middle of what the reader would deliver."""
    if reader.expected is None:
        return selection.trimmed(0, seconds, reader.info.rate)
    length = reader.expected / reader.rate
    start = max(Fraction(0), (length - Fraction(seconds)) / 2)
    return selection.trimmed(start, seconds, reader.info.rate)
