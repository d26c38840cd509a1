"""Which addresses may be reached: public https, and loopback only where the caller allows it.

A name is resolved once, inside the connection that is about to be opened, and every address it resolves to is
judged there (see session.py), so a name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from .errors import Refused, Unreachable

HTTPS_PORT = 443
ALL_PORTS = frozenset(range(1, 1 << 16))
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in IPv6 clothes
LONGEST_SHOWN = 200
# what parsers disagree about (white space, control characters, backslash) is refused, not interpreted
AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]")

Resolver = Callable[..., list[tuple]]  # the signature of socket.getaddrinfo


@dataclass(frozen=True)
class Rules:
    """What a session may reach beyond public https on port 443."""

    loopback: bool = False  # this machine itself, plain http included, on any port
    ports: frozenset[int] = frozenset({HTTPS_PORT})

    @classmethod
    def for_base(cls, url: str) -> Rules:
        """The rules that fit a base URL the user configured: its own port, and loopback only if it is loopback."""
        parts = _split(url)
        port = _port(parts)
        return cls(loopback=is_loopback_name(parts.hostname or ""), ports=frozenset({HTTPS_PORT, port}))


def check_url(url: str, rules: Rules) -> SplitResult:
    """Return the parsed URL when its form is allowed; raise Refused with the reason otherwise."""
    if AMBIGUOUS.search(url):
        raise Refused(f"{mask(url)}: white space, control characters and backslashes are not allowed in an address.")
    parts = _split(url)
    host = parts.hostname
    if not host or not host.isascii():
        raise Refused(f"{mask(url)}: no plain host name in this address.")
    if parts.username is not None or parts.password is not None:
        raise Refused(f"{mask(url)}: an address with a user name or password in it is not used.")
    if rules.loopback and is_loopback_name(host):
        if parts.scheme not in ("http", "https"):
            raise Refused(f"{mask(url)}: only http and https are used.")
        return parts
    if parts.scheme != "https":
        raise Refused(f"{mask(url)}: only https is used, got {parts.scheme or 'no scheme'!r}.")
    if _port(parts) not in rules.ports:
        raise Refused(f"{mask(url)}: port {_port(parts)} is not allowed, only {_listed(rules.ports)}.")
    _check_literal(host, url)
    return parts


def resolve(host: str, port: int, rules: Rules, getaddrinfo: Resolver) -> list[tuple]:
    """Return the (family, sockaddr) pairs of a host, all of them allowed; one bad address refuses the whole name."""
    try:
        found = getaddrinfo(host, port, type=1)  # 1 is SOCK_STREAM
    except OSError:
        raise Unreachable(f"The name {host} could not be resolved. Is this machine online?") from None
    for *_, sockaddr in found:
        address = sockaddr[0]
        if not (is_public(address) or (rules.loopback and _unwrapped(address).is_loopback)):
            raise Refused(f"{host} leads to {address}, which is not a public address.")
    return [(family, sockaddr) for family, *_, sockaddr in found]


def check_fetchable(url: str, rules: Rules, getaddrinfo: Resolver | None = None) -> None:
    """Raise Refused when somebody out there could not fetch this address: its form, or where its name leads here.

    A name that does not resolve here passes: others may know it.
    """
    parts = check_url(url, rules)
    with contextlib.suppress(Unreachable):
        resolve(parts.hostname or "", _port(parts), rules, getaddrinfo or socket.getaddrinfo)


def is_public(address: str) -> bool:
    """True for an address of the open Internet; private, local, shared, reserved and multicast ones are not."""
    plain = _unwrapped(address)
    return plain.is_global and not plain.is_multicast


def is_loopback_name(host: str) -> bool:
    """True for localhost and literal loopback addresses; nothing is resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return _unwrapped(host).is_loopback
    except ValueError:
        return False


def mask(url: str) -> str:
    """The URL as it may be shown: no query, fragment, user or password, and not too long."""
    try:
        parts = urlsplit(url)
        host = (parts.netloc or "").rpartition("@")[2]
    except ValueError:
        return "(unreadable address)"
    shown = f"{parts.scheme}://{host}{parts.path}" + ("?…" if parts.query else "")
    shown = "".join(letter if letter.isprintable() else "·" for letter in shown)
    return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        raise Refused(f"{mask(url)}: this address cannot be read.") from None
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (80 if parts.scheme == "http" else HTTPS_PORT)


def _check_literal(host: str, url: str) -> None:
    # a literal is judged here too, because behind a proxy no connection of ours will judge it
    try:
        public = is_public(host)
    except ValueError:
        return
    if not public:
        raise Refused(f"{mask(url)}: {host} is not a public address.")


def _unwrapped(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    plain = ipaddress.ip_address(address.split("%")[0])
    if isinstance(plain, ipaddress.IPv4Address):
        return plain
    if plain in NAT64:
        return ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF)
    inner = plain.ipv4_mapped or plain.sixtofour or (plain.teredo[1] if plain.teredo else None)
    return inner or plain


def _listed(ports: frozenset[int]) -> str:
    return ", ".join(str(port) for port in sorted(ports))
