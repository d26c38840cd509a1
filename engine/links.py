"""A clip behind a public https link, fetched once and kept."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .. import media, net

LINK = re.compile(r"https?://", re.IGNORECASE)
MOST_BYTES = 100 * 10**9  # larger than any clip that is sensibly fetched for a run
KEPT_DAYS = 14  # since a link was last used
SAFE = re.compile(r"[^\w.-]+")
LONGEST_NAME = 80
KEY_LETTERS = 16


def is_link(text: str) -> bool:
    """True for what looks like a web address, allowed or not."""
    return LINK.match(text) is not None


def check_link(link: str, rules: net.Rules) -> None:
    """Raise net.Refused for an address that is not a public https one; nothing is looked up."""
    net.check_url(link, rules)


def place_of(link: str, folder: Path) -> Path:
    """Where a link's file is kept below `folder`, under the link's own name."""
    key = hashlib.sha256(link.encode()).hexdigest()[:KEY_LETTERS]
    name = SAFE.sub("_", unquote(urlsplit(link).path).rpartition("/")[2]).strip("._")
    return folder / key / (name[-LONGEST_NAME:] or "video")


def fetch_link(
    link: str,
    folder: Path,
    session: net.GuardedSession,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> media.MediaInfo:
    """What the clip behind a link is, its file fetched into `folder` unless it is there; an interrupted one goes on.

    Files of links that were not used for two weeks are removed. Raises net.NetError, net.Cancelled, or a MediaError
    when the link gives no video.
    """
    path = place_of(link, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.touch()
    _remove_unused(folder)
    net.download(net.Wanted(link, path, most_bytes=MOST_BYTES), session, progress, cancelled)
    try:
        return media.probe(path, [folder])
    except media.MediaError as error:
        path.unlink()
        raise type(error)(f"{net.mask(link)} gives no video: {error}") from None


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for one in folder.iterdir():
        if one.is_dir() and one.stat().st_mtime < oldest:
            shutil.rmtree(one, ignore_errors=True)
