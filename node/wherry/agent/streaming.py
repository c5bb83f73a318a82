"""Passing an upgraded connection on to the runtime's stream server, byte for byte.

The stream server (containerd's, on loopback) gets the client's own request head with another
path, and from then on both directions are copied: SPDY and WebSocket alike. A connection that
is to lead to a pod (`dial`) becomes one after our own 101.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from wherry.agent.http1 import Request
from wherry.api.dialing import dial_failure
from wherry.api.errors import ServiceUnavailableError, UnavailableError

CHUNK: Final = 64 * 1024
CONNECT_S: Final = 10.0
SWITCHED: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
_DROPPED: Final = ("host", "authorization", "content-length")


def rewritten_head(request: Request, url: str) -> bytes:
    """Return the request's head as the stream server shall see it."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    for line in request.head.decode("latin-1").split("\r\n")[1:]:
        name = line.partition(":")[0].lower()
        if line and name not in _DROPPED:
            lines.append(line)
    if request.method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def splice(
    request: Request, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect to the stream server and copy both ways until one side ends.

    Raises:
        UnavailableError: the stream server does not answer.
    """
    parts = urlsplit(url)
    try:
        upstream, downstream = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        raise UnavailableError(f"the runtime's stream server does not answer: {error}") from error
    downstream.write(rewritten_head(request, url))
    await _join(upstream, downstream, reader, writer)


async def dial(
    host: str, port: int
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Connect to a pod; return what makes of another connection this one.

    Raises:
        ServiceUnavailableError: nobody answers there, in Go's words.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            upstream, downstream = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError, OverflowError) as error:
        raise ServiceUnavailableError(f"dial tcp {host}:{port}: {dial_failure(error)}") from error

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCHED)
        await _join(upstream, downstream, reader, writer)

    return run


async def _join(
    upstream: asyncio.StreamReader,
    downstream: asyncio.StreamWriter,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until the server's side ends, then close it."""
    try:
        async with asyncio.TaskGroup() as tasks:
            up = tasks.create_task(_copy(reader, downstream, half_close=True))
            await _copy(upstream, writer, half_close=False)
            up.cancel()
    finally:
        downstream.close()


async def _copy(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, half_close: bool
) -> None:
    try:
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        if half_close and sink.can_write_eof():
            sink.write_eof()
    except OSError:
        return  # the other side went away: so does this one
