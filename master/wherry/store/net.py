"""Connections that carry frames: what clients, servers and members talk over.

A frame is a 4-byte big-endian length and that many bytes. `Network` is the seam: `Sockets`
is the real one (Unix sockets for the same machine, TCP with TLS 1.3 and certificates on both
sides for the rest); the simulated world has one in memory.

    endpoint    unix:///run/wherry/store.sock    |    host:port
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

from wherry.api.errors import ConfigError
from wherry.store.page import RevisionView, page_beside, view_page

log = logging.getLogger(__name__)

MAX_FRAME_BYTES: Final = 24 << 20
_HIGH_WATER_BYTES: Final = 1 << 20
_USER_TIMEOUT_MS: Final = 5000  # unacknowledged for so long: the other machine is gone


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a peer's certificate names."""

    user: str
    groups: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()


class Handler(Protocol):
    """What a connection calls. A handler that raises `ValueError` ends the connection."""

    def frames(self, frames: Sequence[bytes]) -> None:
        """Frames arrived."""
        ...

    def closed(self) -> None:
        """The connection ended, for whatever reason; called once."""
        ...


class Connection(Protocol):
    """One connection, in both directions."""

    @property
    def identity(self) -> Identity | None:
        """Return whom the peer's certificate names; None on a local socket."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Return how much waits to be sent."""
        ...

    def send(self, frame: bytes) -> None:
        """Queue a frame; dropped when the connection has ended."""
        ...

    def published(self) -> int:
        """Return the revision that the store at the other end shows (`page.py`); 0: ask it."""
        ...

    async def drained(self) -> None:
        """Wait until the peer takes what was sent; returns at once when the connection ends."""
        ...

    def pause(self) -> None:
        """Take no further frames for now."""
        ...

    def resume(self) -> None:
        """Take frames again."""
        ...

    def close(self) -> None:
        """End it, after what is queued was sent."""
        ...


class Listener(Protocol):
    """Something that listens."""

    def close(self) -> None:
        """Stop listening; connections stay."""
        ...


Accept = Callable[[Connection], Handler]


class Network(Protocol):
    """How endpoints are reached."""

    async def dial(self, endpoint: str, handler: Handler) -> Connection:
        """Connect.

        Raises:
            OSError: nobody answers, or the certificates do not fit (`ssl.SSLError` is one).
        """
        ...

    async def listen(self, endpoint: str, accept: Accept) -> Listener:
        """Listen; `accept` is called with every new connection and returns its handler.

        Raises:
            ConfigError: the endpoint cannot be listened on.
        """
        ...


class _Stream(asyncio.Protocol):
    """`Connection` on an asyncio transport."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._handler: Handler | None = None
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._flushing = False
        self._writable: asyncio.Future[None] | None = None
        self._page: RevisionView | None = None
        self.identity: Identity | None = None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is one by duck type only
        self._transport = stream
        stream.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self.identity = _identity(transport.get_extra_info("peercert"))
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        self._handler = self._accept(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._input
        buffer += data
        frames: list[bytes] = []
        position, end = 0, len(buffer)
        while end - position >= 4:
            length = int.from_bytes(buffer[position : position + 4], "big")
            if length > MAX_FRAME_BYTES:
                log.warning("frame too large", extra={"bytes": length})
                self._abort()
                return
            if end - position - 4 < length:
                break
            frames.append(bytes(memoryview(buffer)[position + 4 : position + 4 + length]))
            position += 4 + length
        if position:
            del buffer[:position]
        if frames and self._handler is not None:
            try:
                self._handler.frames(frames)
            except ValueError as error:  # msgspec's are: the peer talks nonsense
                log.warning("connection refused", extra={"why": str(error)})
                self._abort()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._page is not None:
            self._page.close()
            self._page = None
        self.resume_writing()
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed()

    # ---- Connection

    @property
    def buffered_bytes(self) -> int:
        transport = self._transport
        return self._output_bytes + (transport.get_write_buffer_size() if transport else 0)

    def watch_page(self, path: Path) -> None:
        """Have `published` look at the page of the store that this leads to."""
        if self._transport is not None:
            self._page = view_page(path, self._transport.get_extra_info("socket").fileno())

    def published(self) -> int:
        return self._page.revision() if self._page is not None else 0

    def send(self, frame: bytes) -> None:
        if self._transport is None:
            return
        self._output += (len(frame).to_bytes(4, "big"), frame)
        self._output_bytes += len(frame) + 4
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Everything sent in one turn of the loop leaves in one write."""
        self._flushing = False
        output, self._output, self._output_bytes = self._output, [], 0
        if self._transport is not None and output:
            self._transport.write(b"".join(output))

    async def drained(self) -> None:
        self._flush()
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _identity(certificate: dict[str, Any] | None) -> Identity | None:
    if not certificate:
        return None
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    users = [value for name, value in subject if name == "commonName"]
    groups = tuple(value for name, value in subject if name == "organizationName")
    hosts = frozenset(value for _, value in certificate.get("subjectAltName", ()))
    return Identity(users[0] if users else "", groups, hosts)


@dataclass(frozen=True, slots=True)
class Sockets:
    """The real network. Without TLS contexts only Unix sockets can be used."""

    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None

    async def dial(self, endpoint: str, handler: Handler) -> Connection:
        """See `Network`."""
        loop = asyncio.get_running_loop()
        stream = _Stream(lambda _: handler)
        path = unix_path(endpoint)
        if path is not None:
            await loop.create_unix_connection(lambda: stream, path)
            stream.watch_page(page_beside(path))
        else:
            host, port = host_port(endpoint)
            await loop.create_connection(
                lambda: stream,
                host,
                port,
                ssl=_needed(self.client_tls),
                server_hostname=host,
                ssl_handshake_timeout=3.0,
            )
        return stream

    async def listen(self, endpoint: str, accept: Accept) -> Listener:
        """See `Network`."""
        loop = asyncio.get_running_loop()
        path = unix_path(endpoint)
        try:
            if path is not None:
                return await self._listen_unix(loop, path, accept)
            host, port = host_port(endpoint)
            return await loop.create_server(
                lambda: _Stream(accept),
                host,
                port,
                ssl=_needed(self.server_tls),
                ssl_handshake_timeout=5.0,
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on {endpoint}: {error.strerror or error}") from error

    @staticmethod
    async def _listen_unix(
        loop: asyncio.AbstractEventLoop, path: str, accept: Accept
    ) -> "_UnixListener":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108  # left by a killed process
        before = os.umask(0o177)  # nobody else may connect, not even for an instant
        try:
            return _UnixListener(
                await loop.create_unix_server(lambda: _Stream(accept), path), Path(path)
            )
        finally:
            os.umask(before)


class _UnixListener:
    """Takes its socket's name away when it closes, unless another process has it by now."""

    def __init__(self, server: asyncio.Server, path: Path) -> None:
        self._server = server
        self._path = path
        self._inode = path.stat().st_ino

    def close(self) -> None:
        self._server.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _needed(context: ssl.SSLContext | None) -> ssl.SSLContext:
    if context is None:
        raise ConfigError("TCP needs certificates: give --ca-file, --cert-file and --key-file")
    return context


def unix_path(endpoint: str) -> str | None:
    """Return the path of a `unix://` endpoint, None for any other."""
    return endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else None


def host_port(endpoint: str) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port`.

    Raises:
        ConfigError: it is neither.
    """
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"cannot read {endpoint!r}: expected HOST:PORT or unix:///PATH")
    return host.strip("[]"), int(port)


def parse_cluster(text: str) -> dict[str, str]:
    """Parse `name=host:port,...` into addresses by name.

    Raises:
        ConfigError: it is not of that form.
    """
    members: dict[str, str] = {}
    for part in text.split(","):
        name, separator, address = part.strip().partition("=")
        if not separator or not name or name in members:
            raise ConfigError(f"cannot read {text!r}: expected NAME=HOST:PORT,... without repeats")
        host_port(address)
        members[name] = address
    return members
