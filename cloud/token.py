"""Where the RunComfy token comes from, and how it is kept out of everything else.

Order: environment (RUNCOMFY_API_TOKEN, then RUNCOMFY_TOKEN), the file saved from ComfyUI's settings, and last,
read-only, the login of RunComfy's own command line tool. A Token never shows itself in text.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .errors import OutsideLimits

VARIABLES = ("RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN")
MOST_CHARACTERS = 8192
SHORTEST_SECRET = 16
PRINTABLE = re.compile(r"[\x21-\x7e]+")
CLI_FILE = "token.json"


@dataclass(frozen=True, repr=False)
class Token:
    """A checked token and where it was found. Use `secret` only for the Authorization header."""

    secret: str
    source: str

    @property
    def account(self) -> str:
        """A name for the account in the journal that does not give the token away."""
        return hashlib.sha256(b"seedvr2-anywhere " + self.secret.encode()).hexdigest()[:16]

    @property
    def masked(self) -> str:
        return f"…{self.secret[-4:]}" if len(self.secret) >= SHORTEST_SECRET else "…"

    def __repr__(self) -> str:
        return f"Token(from {self.source})"

    def hide_in(self, answer: bytes) -> bytes:
        """A server's answer without the token, should it repeat it; one so short that words hold it is no secret."""
        return answer if len(self.secret) < SHORTEST_SECRET else answer.replace(self.secret.encode(), b"***")


def checked(text: str, source: str) -> Token:
    """A Token of the text without surrounding white space; raises OutsideLimits, never showing the text."""
    text = text.strip()
    if not text:
        raise OutsideLimits(f"The RunComfy token from {source} is empty.")
    if len(text) > MOST_CHARACTERS:
        raise OutsideLimits(f"The RunComfy token from {source} has {len(text)} characters, at most {MOST_CHARACTERS}.")
    if not PRINTABLE.fullmatch(text):
        raise OutsideLimits(
            f"The RunComfy token from {source} contains a space, a line break or another character "
            "no token has. Copy it again from your RunComfy profile."
        )
    return Token(text, source)


def find_token(
    environment: Mapping[str, str],
    saved: Path,
    home: Path,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Token:
    """The token to use; raises OutsideLimits with the ways to give one when there is none."""
    for variable in VARIABLES:
        if environment.get(variable, "").strip():
            return checked(environment[variable], f"the environment variable {variable}")
    text = _read(saved)
    if text and text.strip():
        return checked(text, "ComfyUI's settings")
    login = _login_of_cli(_cli_file(environment, home), now)
    if login:
        return checked(login, "the RunComfy command line login")
    raise OutsideLimits(
        f"No RunComfy token. Set {VARIABLES[0]} where ComfyUI is started, or save it in ComfyUI's settings "
        "under SeedVR2 Anywhere. Tokens are made in your RunComfy profile. Nothing was sent."
    )


def save_token(text: str, saved: Path) -> Token:
    """Write the token to its file, readable by its owner alone, in one step; raises OutsideLimits for no token."""
    token = checked(text, "ComfyUI's settings")
    saved.parent.mkdir(parents=True, exist_ok=True)
    unfinished = saved.with_name(f"{saved.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token.secret)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, saved)
    return token


def delete_token(saved: Path) -> None:
    """Forget the saved token."""
    saved.unlink(missing_ok=True)


def _cli_file(environment: Mapping[str, str], home: Path) -> Path:
    if environment.get("RUNCOMFY_CONFIG_DIR"):
        return Path(environment["RUNCOMFY_CONFIG_DIR"]) / CLI_FILE
    base = Path(environment["XDG_CONFIG_HOME"]) if environment.get("XDG_CONFIG_HOME") else home / ".config"
    return base / "runcomfy" / CLI_FILE


def _login_of_cli(file: Path, now: Callable[[], datetime]) -> str | None:
    try:
        login = json.loads(_read(file) or "null")
    except ValueError:
        return None
    if not isinstance(login, dict) or not isinstance(login.get("access_token"), str):
        return None
    return None if _is_past(login.get("expires_at"), now()) else login["access_token"]


def _is_past(expires: object, now: datetime) -> bool:
    """True when an expiry, ISO text or seconds since 1970, is over; an unreadable one is left to the server."""
    try:
        if isinstance(expires, str):
            moment = datetime.fromisoformat(expires.replace("Z", "+00:00"))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        elif isinstance(expires, (int, float)):
            moment = datetime.fromtimestamp(expires, timezone.utc)
        else:
            return False
    except (ValueError, OverflowError, OSError):
        return False
    return moment <= now


def _read(file: Path) -> str | None:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MOST_CHARACTERS * 4)
    except (OSError, UnicodeDecodeError):
        return None
