"""HTTP/1.1 for the agent's server: as much as the API server and curl need of it.

A handler returns a `Reply` (a whole body), a `Stream` (chunks as they come) or a `Takeover`
(the raw connection, for upgrades). Bounds: head, idle time, connections.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

from wherry.api.errors import ConfigError, WherryError
from wherry.pki.certificates import identity

log = logging.getLogger(__name__)
HEAD_BYTES: Final = 64 * 1024
IDLE_S: Final = 60.0
MOST_CONNECTIONS: Final = 1000
_END: Final = b"\r\n\r\n"


class NotHttpError(WherryError):
    """What came is not an HTTP/1 request: the connection is dropped."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body; `head` is it as it came; header names are in lower case."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    head: bytes
    user: str
    groups: tuple[str, ...]

    def text(self, name: str) -> str:
        """Return the first value of a parameter, "" where it is absent."""
        return next((v for k, v in self.query if k == name), "")

    def texts(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return [v for k, v in self.query if k == name]

    def flag(self, *names: str) -> bool:
        """Tell whether one of the parameters says yes."""
        return any(self.text(name).lower() in ("1", "true") for name in names)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body comes in pieces, sent as chunks."""

    pieces: AsyncIterator[bytes]
    content_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Takeover:
    """What to do with the raw connection; it is closed afterwards."""

    run: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


Answer = Reply | Stream | Takeover
Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(slots=True)
class HttpsServer:
    """Listens, with client certificates required, and answers by `handler`."""

    host: str
    port: int
    context: ssl.SSLContext | None
    handler: Handler
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    _open: int = 0

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        async with asyncio.TaskGroup() as tasks:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.create_task(self._connection(reader, writer))

            try:
                server = await asyncio.start_server(
                    accept, self.host, self.port, ssl=self.context, limit=HEAD_BYTES
                )
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {self.host}:{self.port}: {error.strerror}; "
                    "is another agent running? choose another --port"
                ) from error
            async with server:
                self.port = server.sockets[0].getsockname()[1]
                self.listening.set()
                await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MOST_CONNECTIONS:
                return
            user, groups = _peer(writer)
            while await self._one(reader, writer, user, groups):
                pass
        except (OSError, EOFError, WherryError, asyncio.LimitOverrunError) as error:
            log.debug("connection dropped: %r", error)
        except Exception:  # a bug that one request meets must not stop the node's pods
            log.exception("request failed")
        finally:
            self._open -= 1
            writer.close()

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        user: str,
        groups: tuple[str, ...],
    ) -> bool:
        """Answer one request; tell whether the connection may carry another."""
        async with asyncio.timeout(IDLE_S):
            head = await reader.readuntil(_END)
            request = parse_request(head, user, groups)
            length = _length(request.headers.get("content-length", "0"))
            if length > HEAD_BYTES or "transfer-encoding" in request.headers:
                await _send(writer, Reply(413, b"no bodies here\n"), keep=False)
                return False
            await reader.readexactly(length)
        answer = await self.handler(request)
        options = request.headers.get("connection", "").lower().split(",")
        keep = "close" not in map(str.strip, options)
        match answer:
            case Reply():
                await _send(writer, answer, keep=keep)
                return keep
            case Stream():
                await _send_stream(writer, answer)
                return False
            case Takeover():
                await answer.run(reader, writer)
                return False


def _length(text: str) -> int:
    if not text.isdigit():
        raise NotHttpError(f"not a length: {text[:20]!r}")
    return int(text)


def _peer(writer: asyncio.StreamWriter) -> tuple[str, tuple[str, ...]]:
    tls = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return identity(certificate) if certificate else ("", ())


def parse_request(head: bytes, user: str = "", groups: tuple[str, ...] = ()) -> Request:
    """Read a request's head.

    Raises:
        NotHttpError: it is not HTTP/1.
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != len(("method", "target", "version")) or not words[2].startswith("HTTP/1."):
        raise NotHttpError(f"not HTTP/1: {first[:80]!r}")
    method, target, _ = words
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise NotHttpError(f"not a header: {line[:80]!r}")
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    return Request(method, unquote(path), pairs, headers, head, user, groups)


async def _send(writer: asyncio.StreamWriter, reply: Reply, *, keep: bool) -> None:
    phrase = HTTPStatus(reply.status).phrase
    lines = [
        f"HTTP/1.1 {reply.status} {phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        *(() if keep else ("Connection: close",)),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
    await writer.drain()


async def _send_stream(writer: asyncio.StreamWriter, stream: Stream) -> None:
    writer.write(
        f"HTTP/1.1 200 OK\r\nContent-Type: {stream.content_type}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    )
    async for piece in stream.pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
