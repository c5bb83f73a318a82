"""Requests and answers as values, and the bounds that both are held to."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

import orjson

from wherry.api.errors import StatusError
from wherry.apiserver.http.pieces import Pieces

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
NO_CACHE = ("Cache-Control", "no-cache, private")
"""On every answer but documents that never change: upstream's `WithCacheControl`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of the server. Sizes in bytes, times in seconds."""

    header_bytes: int = 64 * 1024
    """Request line and headers together; kube-apiserver allows 1 MB."""
    target_bytes: int = 48 * 1024
    """`kubectl exec` sends a whole script in it."""
    body_bytes: int = 3 * 1024 * 1024
    """kube-apiserver's limit on write bodies."""
    pipeline: int = 16
    """Requests that one connection may have waiting behind the one being answered."""
    in_flight: int = 400
    """Reads being answered at once, streams not counted; then 429 (kube-apiserver's default)."""
    mutating_in_flight: int = 200
    """Writes, likewise. 0 of either is no bound."""
    connections: int = 10_000
    held_bytes: int = 256 * 1024 * 1024
    """Of all connections: requests not complete or waiting, answers not taken; see `holdings`."""
    handshake_s: float = 10.0
    header_s: float = 10.0
    """From the first byte of a request to the end of its headers (slowloris)."""
    body_s: float = 60.0
    idle_s: float = 180.0
    """A kept-alive connection without a request; client-go reuses connections for 90 s."""
    request_s: float = 60.0
    """Until a handler has answered; longer is 504 (`--request-timeout`). Streams have no such bound."""
    write_stall_s: float = 60.0
    """A client that takes no byte of its answer for so long is cut off."""
    goodbye_s: float = 1.0
    """For a client to answer the end of TLS; one that keeps idle connections in a pool never does."""
    drain_s: float = 10.0
    gzip_bytes: int = 128 * 1024
    """Larger bodies are compressed for clients that accept it; kube-apiserver's threshold."""


@dataclass(slots=True)
class Peer:
    """The other end of a connection; lives as long as the connection does."""

    address: str = ""
    certificate: bytes | None = None
    """The client certificate, if it sent one, and what it sent along; PEM, verified by TLS."""
    cache: dict[str, Any] = field(default_factory=dict)
    """What a handler wants to remember of this connection (who it is)."""


@dataclass(slots=True)
class Request:
    """A complete request."""

    method: str
    target: str
    """As it was sent: path and query, percent-encoded."""
    headers: Mapping[str, str]
    """Lower-case names; values of repeated headers joined with `, `."""
    header_lines: Sequence[tuple[str, str]]
    """Each line by itself, names in lower case."""
    body: bytes
    peer: Peer
    keep_alive: bool = True
    http_1_0: bool = False
    upgrade: bool = False
    """The client asks to switch protocols; bytes that followed are kept for the tunnel."""


@dataclass(slots=True)
class Response:
    """An answer whose body is known."""

    status: int = 200
    body: bytes | Pieces = b""
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    close: bool = False


@dataclass(slots=True)
class Stream:
    """An answer whose body comes in pieces; each piece is sent as it comes.

    The iterator is closed when the client goes away. When the server drains, it is cancelled
    where it waits, and the answer ends properly.
    """

    chunks: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    length: int | None = None
    """Of the body in bytes, where it is known before it comes; one that is not so long is cut off."""
    sink: Callable[[bytes], bool] | None = None
    """Set by the connection while the iterator runs; see `push`."""

    def push(self, piece: bytes) -> bool:
        """Send a piece at once, while the iterator waits; False: it has to be yielded.

        Without a task woken for it. Pieces must be small: the client's pace is looked at before
        the next one, and not after this.
        """
        return self.sink is not None and self.sink(piece)


class Tunnel(Protocol):
    """The raw connection after an upgrade."""

    async def read(self) -> bytes:
        """Return the next bytes, b"" when the client has closed."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; returns when the client keeps up. Raises `ConnectionError` when it is gone."""
        ...


@dataclass(slots=True)
class Upgrade:
    """The connection becomes a byte stream: `run` owns it (and writes the 101 itself)."""

    run: Callable[[Tunnel], Awaitable[None]]


Reply = Response | Stream | Upgrade
Handler = Callable[[Request], Awaitable[Reply]]


def status_response(error: StatusError, *, close: bool = False) -> Response:
    """Return the Kubernetes Status that tells a client of `error`."""
    headers = [NO_CACHE]
    if error.retry_after_s:
        headers.append(("Retry-After", str(error.retry_after_s)))
    return Response(error.code, orjson.dumps(error.to_status()), headers=headers, close=close)


def refusal(code: int, reason: str, message: str) -> Response:
    """Return the Status of a request that HTTP itself refuses; the connection ends with it."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return Response(code, orjson.dumps(status), headers=[NO_CACHE], close=True)


DEFAULT_LIMITS = Limits()
_STATUSES = frozenset(HTTPStatus)
_UNSAFE = str.maketrans({"\r": " ", "\n": " ", "\0": " "})


@lru_cache(maxsize=256)
def _beginning(status: int, content_type: str) -> str:
    """Return the lines of which there are few: the status line and the type."""
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    line = f"HTTP/1.1 {status} {phrase}\r\n"
    return f"{line}Content-Type: {content_type}\r\n" if content_type else line


def render_head(status: int, content_type: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """Render status line and headers; a line break inside a value becomes a space."""
    lines = [_beginning(status, content_type)]
    for name, value in headers:
        safe = value if value.isprintable() else value.translate(_UNSAFE)
        lines.append(f"{name}: {safe}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode()
