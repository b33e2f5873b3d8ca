"""Who may reach the service: the address it listens on, names it goes by, and the secret that others than this machine need."""

from __future__ import annotations

import ipaddress
import secrets
from base64 import b64decode
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from configs.cli import UserError
from configs.loader import StrictModel
from generation.service.settings import MIB

_LEAST_TOKEN = 16


class Access(StrictModel):
    """Where the service listens, and its limits on what comes in before anything is read.

    Raises:
        UserError: an address that others reach, without a secret.
    """

    host: str = Field("127.0.0.1", description="address to listen on; another than this machine's own needs --auth or --token")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    auth: str | None = Field(None, description="USER:PASSWORD that is asked for (HTTP Basic)", repr=False)
    token: str | None = Field(None, description="token that is asked for (Bearer)", repr=False)
    names: tuple[str, ...] = Field((), description="names of this service, besides localhost and addresses")
    order_bytes: int = Field(MIB // 4, ge=1, description="of an order without a picture")
    upload_bytes: int = Field(72 * MIB, ge=1, description="of an order with a picture or video")
    head_bytes: int = Field(16 * 1024, ge=1, description="of the head of a request")
    head_seconds: float = Field(10, gt=0, description="for the head of a request to arrive")
    body_seconds: float = Field(60, gt=0, description="for the rest of it")
    send_seconds: float = Field(60, gt=0, description="for each part of the answer to be taken")
    most_connections: int = Field(2000, ge=1, description="open at once")

    @model_validator(mode="after")
    def _others_need_a_secret(self) -> Self:
        if self.auth is not None and not all(self.auth.partition(":")[::2]):
            raise UserError("--auth: write USER:PASSWORD")
        if self.token is not None and len(self.token) < _LEAST_TOKEN:
            raise UserError(f"--token: needs {_LEAST_TOKEN} characters or more")
        if self.is_open and not _is_own(self.host):
            raise UserError(f"--host {self.host}: others reach this address; add --auth USER:PASSWORD or --token TOKEN")
        return self

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a secret."""
        return self.auth is None and self.token is None

    def knows(self, host: str) -> bool:
        """Whether a ``Host`` header names this service.

        Names that somebody else's DNS may point here (rebinding) do not; addresses are nobody's name.
        """
        name = _name(host)
        return name == "localhost" or name in self.names or name == self.host or _address(name) is not None

    def same_origin(self, origin: str, host: str) -> bool:
        """Whether an ``Origin`` header is a page of this service."""
        return urlsplit(origin).netloc.lower() == host.lower()

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether the ``authorization`` of a request is right, or none is asked for."""
        if self.is_open:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        wanted = {"bearer": self.token, "basic": self.auth}.get(scheme.lower())
        if wanted is None:
            return False
        if scheme.lower() == "basic":
            try:
                given = b64decode(given, validate=True).decode()
            except ValueError:
                return False
        return secrets.compare_digest(given.encode(), wanted.encode())


def _name(host: str) -> str:
    """``[::1]:8000`` as ``::1``, ``localhost:8000`` as ``localhost``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_own(host: str) -> bool:
    """Whether only this machine reaches it."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
