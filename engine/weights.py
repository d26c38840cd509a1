"""Weights on this disk, found or fetched: joins what `models` knows about files with what `net` can bring.

    MissingWeights   a file is neither here nor to be had; the message gives address, folder and name

`net.Cancelled` passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import net
from ..models import catalogue
from ..models.catalogue import KnownFile

ROOM_FOR_ROUNDING = 1.05  # a rounded size may be this much too small


class MissingWeights(Exception):
    """A weights file is not on disk and could not be fetched."""


@dataclass(frozen=True)
class Hub:
    """Where files come from: a session of `net`, and the base address it may reach."""

    session: net.GuardedSession
    endpoint: str = catalogue.HUB
    world: net.World = net.REAL_WORLD

    @classmethod
    def at(cls, endpoint: str) -> Hub:
        """The hub at `endpoint`; loopback is reachable only when the endpoint itself is loopback."""
        return cls(net.guarded_session(net.Rules.for_base(endpoint)), endpoint)


def find_or_fetch(
    file: KnownFile,
    folders: Iterable[Path],
    into: Path,
    hub: Hub,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Path of the file or an equivalent one in `folders`; otherwise it is downloaded `into` a folder and verified.

    Raises MissingWeights with the way to do it by hand, or net.Cancelled.
    """
    here = catalogue.locate(file, [*folders, into])
    return here or fetch(file, into, hub, progress, cancelled)


def fetch(
    file: KnownFile,
    into: Path,
    hub: Hub,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Download a published file, checked by size and sha256; never replaces a file that is already there."""
    wanted = net.Wanted(
        url=catalogue.url_of(file, hub.endpoint),
        target=into / file.name,
        size=file.size if file.size_is_exact else None,
        sha256=file.sha256,
        most_bytes=int(file.size * ROOM_FOR_ROUNDING),
    )
    try:
        return net.download(wanted, hub.session, progress, cancelled, hub.world)
    except net.Cancelled:
        raise
    except net.NetError as error:
        raise MissingWeights(
            f"{file.name} could not be downloaded. {error} {catalogue.by_hand(file, into, hub.endpoint)}"
        ) from None
