"""One HTTP connection of the server without a socket: a transport in memory, and who owns it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from wherry.api.errors import NotFoundError
from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.http.holdings import Holdings
from wherry.apiserver.http.message import (
    Handler,
    Limits,
    Reply,
    Request,
    Response,
)

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport in memory; `sent` is what the client has got."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.sent = b""
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += bytes(data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def bodies(self) -> list[Any]:
        """Parse what was sent as JSON answers with a Content-Length."""
        rest, found = self.sent, []
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            found.append(orjson.loads(rest[:size]))
            rest = rest[size:]
        return found


class FakeHost:
    def __init__(self, handler: Handler, limits: Limits, tasks: asyncio.TaskGroup) -> None:
        self.handler = handler
        self.limits = limits
        self.flight = Flight(limits, lambda request: request.target == "/watch")
        self.holdings = Holdings(limits.held_bytes)
        self.draining = False
        self.now = 0.0
        self.date = "now"
        self.rng = random.Random(1)
        self.gone = 0
        self._tasks = tasks

    def opened(self, connection: Connection) -> asyncio.Task[None]:
        return self._tasks.create_task(connection.serve())

    def closed(self, connection: Connection) -> None:
        self.gone += 1


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def scenario(
    handler: Handler,
    story: Callable[[Wire, Connection, FakeHost], Awaitable[None]],
    limits: Limits = Limits(),  # noqa: B008
) -> None:
    """Tell a story of one connection, whose requests `handler` answers."""

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            host = FakeHost(handler, limits, tasks)
            connection = Connection(host)
            wire = Wire(connection)
            connection.connection_made(wire)
            await settle()
            await story(wire, connection, host)
            wire.close()
            await settle()

    asyncio.run(main())


def always(reply: Callable[[], Reply]) -> Handler:
    """Answer every request with another of the same."""

    async def handler(_request: Request) -> Reply:
        return reply()

    return handler


async def echo(request: Request) -> Reply:
    """Answer with what was asked; `/missing` and `/bug` fail."""
    if request.target == "/missing":
        raise NotFoundError('pods "x" not found')
    if request.target == "/bug":
        raise RuntimeError("the password is hunter2")
    return Response(body=orjson.dumps({"target": request.target, "body": request.body.decode()}))
