"""A client for the account and the service that the environment names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from .. import net
from .client import Client, base_of
from .errors import OutsideLimits
from .storage import PresignedPut, Storage, s3_storage
from .token import find_token


def client_for(environment: Mapping[str, str], saved_token: Path, home: Path) -> Client:
    """The client to use; raises OutsideLimits when there is no token or the base cannot be used. Opens nothing."""
    base = base_of(environment)
    token = find_token(environment, saved_token, home)
    return Client(base, token, net.guarded_session(net.Rules.for_base(base)), pause=time.sleep)


def downloads_for(client: Client) -> net.GuardedSession:
    """A session for results: public https, and this machine itself only where the service is on it."""
    return net.guarded_session(net.Rules(loopback=net.Rules.for_base(client.base).loopback))


def link_rules(environment: Mapping[str, str]) -> net.Rules:
    """Where a clip's own link may lead: public https, and this machine itself only where the service is on it."""
    try:
        return net.Rules(loopback=net.Rules.for_base(base_of(environment)).loopback)
    except OutsideLimits:
        return net.Rules()


def storage_for(settings: Mapping[str, object], loopback: bool = False) -> Storage | None:
    """The storage that settings name, None for none; raises OutsideLimits when it cannot be used.

    `loopback`: the service is on this machine, and the storage may be too.
    """
    if settings["storage"] == "presigned":
        session = net.guarded_session(net.Rules(loopback=loopback, ports=net.ALL_PORTS))
        return PresignedPut(str(settings["storage_put_url"]), str(settings["storage_get_url"]), session, time.sleep)
    if settings["storage"] == "s3":
        return s3_storage(str(settings["s3_bucket"]), str(settings["s3_endpoint"]) or None, str(settings["s3_prefix"]))
    return None
