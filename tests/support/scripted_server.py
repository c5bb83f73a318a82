"""A server on loopback that does as it is told, whatever it is asked: an agent, or a pod's program."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

NONSENSE = (b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000)
"""Answers that are no HTTP."""

_PIECE = 65536


@dataclass
class ScriptedServer:
    """Answers each connection with `answer`, and then echoes in capitals if it is to."""

    answer: bytes = b""
    echo: bool = False
    rude: bool = False
    """Whether it answers before anything was asked, and goes."""
    silent: asyncio.Event | None = None
    """Until when nothing is answered."""
    flood: bool = False
    """Whether it sends without end after its answer; `sent` tells how many bytes."""
    sent: int = 0
    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: int = 0

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Listen until the block ends, on `port`."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            listener.close()

    async def asked(self, count: int) -> None:
        """Wait until so many requests have come, each with its body."""
        while len(self.bodies) < count:
            await asyncio.sleep(0.01)

    async def abandoned(self) -> None:
        """Wait until it has learned that nobody is connected any more."""
        while self.open:
            await asyncio.sleep(0.01)

    def header(self, name: str) -> str | None:
        """Return a header of the last request, None where it had none; `name` in lower case."""
        lines = [line.partition(":") for line in self.heads[-1].split("\r\n")[1:]]
        found = [value.strip() for told, _, value in lines if told.lower() == name]
        return ", ".join(found) if found else None

    @property
    def target(self) -> str:
        """What the last request was for, path and query."""
        return self.heads[-1].split(" ")[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.rude:
                writer.write(self.answer)
                return
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            length = int(self.header("content-length") or "0")
            self.bodies.append(await reader.readexactly(length))
            if self.silent is not None:
                await self.silent.wait()
            await _send(writer, self.answer)
            while self.flood:
                await _send(writer, b"%x\r\n%b\r\n" % (_PIECE, b"x" * _PIECE))
                self.sent += _PIECE
            while self.echo and (data := await reader.read(_PIECE)):
                await _send(writer, data.upper())
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            with suppress(OSError):
                writer.close()


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    """Send and read as much at the same time, for `data` is more than sockets hold."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_send(writer, data))
        return await reader.readexactly(len(data))


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
