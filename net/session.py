"""A requests session whose connections judge the address they are about to use.

The address that was judged is the one connected to: the connection resolves the name itself, refuses the whole name
when any of its addresses is not allowed, and connects to one of exactly these addresses; TLS still verifies the name.
Behind a proxy of the environment (HTTPS_PROXY) the proxy resolves the name, so there only the form of the URL and a
literal address can be judged here. Redirects are never followed by the session itself. A call that asks for
`Connection: close` gets a connection of its own: it is never used again, whatever the server answers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from .address import Resolver, Rules, check_url, is_loopback_name, resolve

USER_AGENT = "SeedVR2-Anywhere"
PUBLIC_ONLY = Rules()
SEND_STALL_S = 30.0  # longest that one block of an upload may wait for the network

Connect = Callable[..., socket.socket]  # the signature of socket.create_connection


class GuardedSession(requests.Session):
    """Session under `rules`; keeps no cookies, reads no netrc, follows no redirect by itself."""

    def __init__(self, rules: Rules, getaddrinfo: Resolver, connect: Connect):
        super().__init__()
        self.rules = rules
        self.headers["User-Agent"] = USER_AGENT
        self.headers["Accept-Encoding"] = "identity"
        # a no-op in place of None keeps requests from looking credentials up in the user's netrc
        self.auth = _no_auth
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _GuardedAdapter(rules, getaddrinfo, connect)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: requests would read a redirect's whole body and follow it unjudged."""
        return None


def guarded_session(
    rules: Rules = PUBLIC_ONLY,
    getaddrinfo: Resolver = socket.getaddrinfo,
    connect: Connect = socket.create_connection,
) -> GuardedSession:
    """Make a session that reaches only what `rules` allow; the resolver and the dialler can be injected."""
    return GuardedSession(rules, getaddrinfo, connect)


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, rules: Rules, getaddrinfo: Resolver, connect: Connect):
        self._rules = rules
        self._pools = _pool_classes(rules, getaddrinfo, connect)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def send(
        self, request: requests.PreparedRequest, *args: Any, proxies: Mapping[str, str] | None = None, **kwargs: Any
    ) -> requests.Response:
        parts = check_url(request.url or "", self._rules)
        # a proxy cannot reach this machine's own loopback
        direct = is_loopback_name(parts.hostname or "")
        return super().send(request, *args, proxies={} if direct else dict(proxies or {}), **kwargs)


def _pool_classes(rules: Rules, getaddrinfo: Resolver, connect: Connect) -> dict[str, Any]:
    """Pool classes by scheme whose connections dial only allowed addresses and remember their socket in `live`."""

    def dial(connection: HTTPConnection) -> socket.socket:
        addresses = resolve(connection.host.strip("[]"), connection.port, rules, getaddrinfo)
        opened = _first_open(connection, addresses, connect)
        opened.settimeout(SEND_STALL_S)
        return opened

    class Guarded:
        live: socket.socket | None = None
        is_single = False  # closed after its call, not kept for the next one

        def _new_conn(self) -> socket.socket:
            return dial(self)  # type: ignore[arg-type]

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.live = self.sock  # type: ignore[attr-defined]

        def putheader(self, header: str, *values: Any) -> None:
            self.is_single |= header.lower() == "connection" and values == ("close",)
            super().putheader(header, *values)  # type: ignore[misc]

    class Pool:
        def _put_conn(self, conn: Any) -> None:
            # servers may leave out that they close, and then close while the next call is already on its way
            if conn is not None and conn.is_single:
                conn.close()
                conn = None
            super()._put_conn(conn)  # type: ignore[misc]

    plain = type("Plain", (Guarded, HTTPConnection), {})
    secure = type("Secure", (Guarded, HTTPSConnection), {})
    return {
        "http": type("PlainPool", (Pool, HTTPConnectionPool), {"ConnectionCls": plain}),
        "https": type("SecurePool", (Pool, HTTPSConnectionPool), {"ConnectionCls": secure}),
    }


def _first_open(connection: HTTPConnection, addresses: list[tuple], connect: Connect) -> socket.socket:
    trouble: OSError | None = None
    for _family, sockaddr in addresses:
        try:
            opened = connect(sockaddr[:2], connection.timeout)
        except OSError as error:
            trouble = error
            continue
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened
    if isinstance(trouble, TimeoutError):
        raise ConnectTimeoutError(connection, f"no answer from {connection.host}")
    raise NewConnectionError(connection, f"{connection.host} refused the connection: {trouble}")


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
