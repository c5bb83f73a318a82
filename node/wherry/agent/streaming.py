"""Passing an upgraded connection on to the runtime's stream server, byte for byte.

The stream server (containerd's, on loopback) gets the client's own request head with another
path, and from then on both directions are copied: SPDY and WebSocket alike.
"""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from wherry.agent.http1 import Request
from wherry.api.errors import UnavailableError

CHUNK: Final = 64 * 1024
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
    try:
        downstream.write(rewritten_head(request, url))
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
