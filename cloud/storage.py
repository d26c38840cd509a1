"""Storage the user configured, for clips that RunComfy shall fetch: presigned addresses, or S3 through boto3.

Nothing is ever put on a host the user did not name. What is put there stays there until the user's own rules delete it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .. import net
from .errors import OutsideLimits

NAME_MARK = "{name}"  # in a template, where the clip's name goes
MOST_TRIES = 3
FIRST_WAIT_S = 1.0
PATIENCE = net.Timeouts(connect_s=10, read_s=60, block_s=30)
LINK_LIFE_S = 7 * 24 * 3600  # a queue may be long; also the longest that S3 signs for
MEDIA_TYPE = "video/mp4"
SAFE_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Storage(Protocol):
    """Puts a clip where RunComfy can fetch it."""

    def put(self, data: bytes, name: str) -> str:
        """Store the bytes and return a public https address; raises OutsideLimits when that fails."""
        ...


@dataclass(frozen=True)
class PresignedPut:
    """HTTP PUT to one address, fetched from another; `{name}` in both templates is replaced by the clip's name."""

    put_template: str
    get_template: str
    session: net.GuardedSession
    pause: Callable[[float], None]

    def put(self, data: bytes, name: str) -> str:
        address = self.put_template.replace(NAME_MARK, _checked_name(name))
        reason = ""
        for attempt in range(MOST_TRIES):
            if attempt:
                self.pause(FIRST_WAIT_S * 2 ** (attempt - 1))
            reason, is_passing = self._try(address, data)
            if not reason:
                return _public(self.get_template.replace(NAME_MARK, name), self.session.rules.loopback)
            if not is_passing:
                break
        raise OutsideLimits(f"The clip could not be put on your storage. {reason} Nothing was submitted.")

    def _try(self, address: str, data: bytes) -> tuple[str, bool]:
        """(what went wrong or nothing, whether it may pass)."""
        upload = net.Upload.of(data)
        try:
            answer = net.call(self.session, "PUT", address, {"Content-Type": MEDIA_TYPE}, upload, timeouts=PATIENCE)
        except net.NetError as error:
            return str(error), isinstance(error, net.Unreachable)
        if 200 <= answer.status < 300:
            return "", False
        return f"{net.mask(address)} answered HTTP {answer.status}.", answer.status >= 500 or answer.status == 429


@dataclass(frozen=True)
class S3:
    """A bucket reached through a boto3 client; RunComfy gets a signed link that lives for `life_s` seconds."""

    client: Any  # boto3 has no types of its own
    bucket: str
    prefix: str = "seedvr2/"
    life_s: int = LINK_LIFE_S

    def put(self, data: bytes, name: str) -> str:
        key = self.prefix + _checked_name(name)
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=MEDIA_TYPE)
            place = {"Bucket": self.bucket, "Key": key}
            return _public(self.client.generate_presigned_url("get_object", Params=place, ExpiresIn=self.life_s))
        except OutsideLimits:
            raise
        except Exception as error:  # botocore's errors are made at run time and share no base that can be imported
            name_of_error = type(error).__name__
            raise OutsideLimits(
                f"The clip could not be put into the bucket {self.bucket} ({name_of_error}). Nothing was submitted."
            ) from None


def s3_storage(bucket: str, endpoint: str | None = None, prefix: str = "seedvr2/") -> S3:
    """An S3-compatible bucket with the credentials boto3 finds by itself; raises OutsideLimits without boto3."""
    try:
        import boto3  # type: ignore[import-not-found]
    except ImportError:
        raise OutsideLimits("Storage on S3 needs the package boto3. Install it, or use presigned addresses.") from None
    return S3(boto3.client("s3", endpoint_url=endpoint), bucket, prefix)


def _checked_name(name: str) -> str:
    if not SAFE_NAME.fullmatch(name):
        raise OutsideLimits(f"{name!r} is no plain file name.")
    return name


def _public(address: str, loopback: bool = False) -> str:
    """The address when RunComfy can be given it: plain public https, or this machine where the service is on it."""
    try:
        net.check_fetchable(address, net.Rules(loopback=loopback, ports=net.ALL_PORTS))
    except net.Refused as error:
        raise OutsideLimits(f"RunComfy could not fetch from your storage. {error} Nothing was submitted.") from None
    return address
