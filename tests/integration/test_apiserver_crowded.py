"""More connections than an HTTP server takes: who has kept it waiting for longest makes room."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from wherry.apiserver.http import HttpServer, Limits, Reply, Request, Response, Stream
from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.message import Peer
from wherry.apiserver.http.parser import RequestParser
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WATCH = b"GET /watch HTTP/1.1\r\nHost: a\r\n\r\n"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: bytes = GET) -> int:
        """Return the code of the answer, 0 if the server has cut the connection."""
        try:
            self.send(request)
            line = await self._reader.readline()
            head = await self._reader.readuntil(b"\r\n\r\n") if line else b""
        except ConnectionError:
            return 0
        if b"Content-Length: " in head:
            await self._reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
        return int(line.split()[1]) if line else 0


class World:
    def __init__(self, connections: int) -> None:
        self.stack = AsyncExitStack()
        self.clients: list[Client] = []  # one that nobody knows any more would close
        self.server = HttpServer(
            self.handle,
            host="127.0.0.1",
            port=0,
            clock=SystemClock(),
            limits=Limits(connections=connections, drain_s=1),
        )

    async def handle(self, request: Request) -> Reply:
        return Stream(self.events()) if request.target == "/watch" else Response(body=b"{}")

    async def events(self) -> AsyncGenerator[bytes, None]:
        yield b"{}\n"
        await asyncio.Event().wait()

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.stack.callback(writer.transport.abort)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]


@asynccontextmanager
async def world(connections: int) -> AsyncIterator[World]:
    one = World(connections)
    async with asyncio.TaskGroup() as tasks, one.stack, asyncio.timeout(90):
        task = tasks.create_task(one.server.run())
        one.stack.callback(task.cancel)
        await one.server.listening.wait()
        yield one


async def ticked(one: World) -> None:
    """Wait until the server's clock has moved on; it tells who has waited for longer."""
    before = one.server.now
    while one.server.now == before:
        await asyncio.sleep(0.05)


def test_who_was_idle_longest_makes_room_for_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with world(3) as one:
            watcher, idle, busy = [await one.connect() for _ in range(3)]
            assert [await watcher.ask(WATCH), await idle.ask(), await busy.ask()] == [200] * 3
            await ticked(one)
            assert await busy.ask() == 200
            new = await one.connect()
            assert await new.ask() == 200
            assert [await busy.ask(), await idle.ask()] == [200, 0]
            await ticked(one)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert (
        "3 connections are open, which is the most: cut 1 that had been waited for" in caplog.text
    )


def test_of_those_who_came_together_the_first_make_room() -> None:
    async def story() -> None:
        async with world(20) as one:
            silent = [await one.connect() for _ in range(20)]
            for _ in range(5):
                assert await (await one.connect()).ask() == 200
            assert [await each.ask() for each in silent] == [0] * 5 + [200] * 15

    asyncio.run(story())


def test_a_request_half_sent_is_as_good_a_place_as_an_idle_one() -> None:
    async def story() -> None:
        async with world(2) as one:
            slow, busy = await one.connect(), await one.connect()
            slow.send(GET[:-2])
            assert await busy.ask() == 200
            await ticked(one)
            assert await busy.ask() == 200
            assert await (await one.connect()).ask() == 200
            assert [await busy.ask(), await slow.ask(b"\r\n")] == [200, 0]

    asyncio.run(story())


def test_where_all_are_served_a_new_one_is_told_and_nobody_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with world(2) as one:
            for _ in range(2):
                assert await (await one.connect()).ask(WATCH) == 200
            assert await (await one.connect()).ask() == 429
            await ticked(one)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert "cut 0 that had been waited for longest, refused 1 new ones" in caplog.text


def test_a_lost_connection_is_freed_without_waiting_for_a_collection() -> None:
    async def story() -> None:
        async with world(9) as one:
            client = await one.connect()
            assert await client.ask() == 200
            assert alive() == before + 3
            await ticked(one)  # who looks at all connections must let go of the last one
            client.close()
            while alive() > before:  # the world has a deadline
                await asyncio.sleep(0.05)

    def alive() -> int:
        kept = (Connection, RequestParser, Peer)
        # Not isinstance, which asks a weak proxy what it stands for: that may be gone.
        return sum(type(thing) in kept for thing in gc.get_objects())

    gc.collect()
    before = alive()  # of other tests in this process
    gc.disable()
    try:
        asyncio.run(story())
    finally:
        gc.enable()
