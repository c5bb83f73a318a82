"""An API server's REST door, for who has no client certificate yet (`wherry join`).

The standard library's HTTPS client in a thread: a handful of small requests, each on a
connection of its own.
"""

import asyncio
import http.client
import ipaddress
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from wherry.api.errors import ConfigError, InternalError, UnavailableError, error_from_status
from wherry.api.kinds import Kind

TIMEOUT_S: Final = 10.0
DEFAULT_PORT: Final = 6443
_BODY_BYTES: Final = 4 << 20


class Objects(Protocol):
    """The part of `wherry.client.api.Api` that asking for a certificate needs."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes:
        """Return the object."""
        ...

    async def create(self, kind: Kind, body: bytes, namespace: str = "") -> bytes:
        """Create and return the object."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """HOST and PORT of the REST door."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def url(self) -> str:
        """Return it as a URL."""
        return f"https://{bracketed(self.host)}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `https://HOST[:PORT]`, `HOST:PORT` or `HOST`.

    Raises:
        ConfigError: it is none of them.
    """
    try:
        parts = urlsplit(text if "//" in text else f"https://{_bare(text)}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"cannot read server {text!r}: {error}") from error
    if parts.scheme != "https" or not host or parts.path not in ("", "/"):
        raise ConfigError(f"cannot read server {text!r}: expected https://HOST[:PORT]")
    return Address(host, DEFAULT_PORT if port is None else port)


def _bare(text: str) -> str:
    try:
        return bracketed(str(ipaddress.ip_address(text)))
    except ValueError:
        return text


def bracketed(host: str) -> str:
    """Return a host as it stands before `:PORT`."""
    return f"[{host}]" if ":" in host else host


class RestServer:
    """Makes clients for one API server; `local_address` is ours on the way to it."""

    def __init__(self, address: Address, *, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self.local_address = ""
        self._timeout_s = timeout_s

    def unverified(self) -> Objects:
        """Return a client that believes any server: what it says has to be checked otherwise."""
        context = _context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return _RestObjects(self, context, {})

    def by_token(self, ca: bytes, token: str) -> Objects:
        """Return a client that shows a bearer token to servers of this authority (PEM)."""
        return _RestObjects(self, _context(ca), {"Authorization": f"Bearer {token}"})

    def by_certificate(self, ca: bytes, certificate: Path, key: Path) -> Objects:
        """Return a client that shows a certificate."""
        context = _context(ca)
        context.load_cert_chain(certificate, key)
        return _RestObjects(self, context, {})

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        context: ssl.SSLContext,
        headers: Mapping[str, str],
    ) -> bytes:
        """Make one request; blocks.

        Raises:
            ConfigError: the server is not whom we want to talk to.
            UnavailableError: no answer.
            StatusError: a refusal.
        """
        sent = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        host, port = self.address.host, self.address.port
        connection = http.client.HTTPSConnection(
            host, port, timeout=self._timeout_s, context=context
        )
        try:
            connection.connect()
            self.local_address = connection.sock.getsockname()[0]
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            status, answer = response.status, response.read(_BODY_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"{self.address.url} shows a certificate that is not for this name, or not of "
                f"this cluster: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", "") or str(error) or type(error).__name__
            raise UnavailableError(f"cannot reach {self.address.url}: {why}") from error
        finally:
            connection.close()
        if status < 300:
            return answer
        raise error_from_status(_status(status, answer))


class _RestObjects:
    def __init__(
        self, server: RestServer, context: ssl.SSLContext, headers: Mapping[str, str]
    ) -> None:
        self._server = server
        self._context = context
        self._headers = headers

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes:
        return await self._ask("GET", kind.path(namespace, name))

    async def create(self, kind: Kind, body: bytes, namespace: str = "") -> bytes:
        return await self._ask("POST", kind.path(namespace), body)

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        return await asyncio.to_thread(
            self._server.ask, method, path, body, self._context, self._headers
        )


def _context(ca: bytes = b"") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca:
        context.load_verify_locations(cadata=ca.decode())
    return context


def _status(code: int, answer: bytes) -> dict[str, object]:
    try:
        status = json.loads(answer)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return status
    text = answer[:200].decode(errors="replace").strip()
    reason = InternalError.reason if code >= 500 else ""
    return {"message": f"HTTP {code}: {text}", "code": code, "reason": reason}
