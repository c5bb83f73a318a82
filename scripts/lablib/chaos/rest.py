"""A small HTTPS client of the Kubernetes API for the writers: one connection, every error told.

Stock clients retry on their own; a writer that measures an outage must know of each attempt.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class NoAnswerError(Exception):
    """The connection failed or ended before a whole answer: what became of the request is unknown."""


class Connection:
    """One keep-alive connection to one API server, opened when first needed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Response:
        """Send one request and read its answer.

        Raises:
            NoAnswerError: there was none.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(method, path, body, content_type)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.close()
            raise NoAnswerError(f"{self._host}: {error!r}") from error
        except BaseException:
            self.close()  # cancelled in the middle of an answer
            raise

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, method: str, path: str, body: Any, content_type: str) -> Response:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        reader, writer = self._streams
        data = b"" if body is None else orjson.dumps(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: application/json\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        if headers.get("transfer-encoding", "") == "chunked":
            answer = await _chunks(reader)
        else:
            answer = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "") == "close":
            self.close()
        return Response(status, answer)


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers (names and values in lower case) of an answer.

    Raises:
        ValueError: it is no HTTP/1.1 answer.
    """
    lines = head.decode("latin-1").split("\r\n")
    protocol, status = lines[0].split(" ")[:2]
    if not protocol.startswith("HTTP/1."):
        raise ValueError(f"not HTTP: {lines[0]!r}")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return int(status), {name.lower(): value.strip().lower() for name, _, value in pairs}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
