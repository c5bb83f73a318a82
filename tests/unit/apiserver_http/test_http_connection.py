"""One connection as a transcript: bytes in, bytes out, without a socket."""

import asyncio
import gzip
import logging

import pytest
from http_wire import GET, FakeHost, Wire, echo, scenario, settle

from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.message import (
    Reply,
    Request,
    Response,
    Tunnel,
    Upgrade,
)


def test_answers_come_in_the_order_of_requests() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"".join(GET % b"/%d" % i for i in range(50)))
        await settle()
        while not wire.reading:
            await settle()
        await settle()
        assert [b["target"] for b in wire.bodies()] == [f"/{i}" for i in range(50)]
        assert not wire.closed

    scenario(echo, story)


def test_errors_become_statuses_and_the_connection_lives() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/missing")
        await settle()
        assert wire.bodies()[0]["reason"] == "NotFound"
        assert not wire.closed

    scenario(echo, story)


def test_a_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        with caplog.at_level(logging.CRITICAL):
            connection.data_received(GET % b"/bug")
            await settle()
        assert wire.sent.startswith(b"HTTP/1.1 500 ")
        assert b"hunter2" not in wire.sent

    scenario(echo, story)


def test_a_malformed_request_is_answered_after_the_ones_before_it_and_ends_it() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/1" + b"GET / HTTP/1.1\r\nHost : b\r\n\r\n" + GET % b"/2")
        await settle()
        assert [b.get("target", b.get("code")) for b in wire.bodies()] == ["/1", 400]
        assert b"Connection: close" in wire.sent

    scenario(echo, story)


def test_expect_100_continue_is_answered_when_it_is_its_turn() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        head = b"POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        connection.data_received(GET % b"/1" + head)
        await settle()
        first, _, rest = wire.sent.partition(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert b'"/1"' in first
        assert rest == b""
        connection.data_received(b"hi")
        await settle()
        assert b'"body":"hi"' in wire.sent

    scenario(echo, story)


def test_head_has_no_body_but_its_length() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        await settle()
        assert wire.sent.endswith(b"\r\n\r\n")
        assert b"Content-Length: 24" in wire.sent

    scenario(echo, story)


@pytest.mark.parametrize(("size", "packed"), [(128 * 1024, False), (128 * 1024 + 1, True)])
def test_large_answers_are_compressed_if_asked(size: int, packed: bool) -> None:
    async def big(request: Request) -> Reply:
        return Response(body=b"x" * size)

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        await settle()
        head, _, body = wire.sent.partition(b"\r\n\r\n")
        assert (b"Content-Encoding: gzip" in head) is packed
        assert (gzip.decompress(body) if packed else body) == b"x" * size

    scenario(big, story)


def test_draining_lets_a_request_finish() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/slow")
        await settle()
        host.draining = True
        connection.end()
        gate.set()
        await settle()
        assert b"Connection: close" in wire.sent
        assert wire.closed

    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return Response(body=b"{}")

    scenario(handler, story)


def test_a_request_is_carried_to_its_end_when_the_client_goes() -> None:
    done: list[bool] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/write")
        await settle()
        wire.close()
        await settle()
        gate.set()
        await settle()
        assert done == [True]

    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        done.append(True)
        return Response(body=b"{}")

    scenario(handler, story)


def test_an_upgraded_client_that_sends_too_fast_is_not_read_from() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        head = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
        connection.data_received(head)
        await settle()
        read_from = []
        for _ in range(2):
            connection.data_received(b"x" * 200_000)
            read_from.append(wire.reading)
        gate.set()
        await settle()
        assert [*read_from, wire.reading] == [True, False, True]
        assert taken == [400_000]

    gate, taken = asyncio.Event(), list[int]()

    async def handler(request: Request) -> Reply:
        async def run(tunnel: Tunnel) -> None:
            await gate.wait()
            while data := await tunnel.read():
                taken.append(len(data))

        return Upgrade(run)

    scenario(handler, story)


def test_an_upgrade_gets_the_raw_connection() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        head = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
        connection.data_received(head + b"early")
        await settle()
        connection.data_received(b" late")
        await settle()
        assert wire.sent == b"101!EARLY LATE"
        wire.close()
        await settle()
        assert ended == ["eof"]

    ended: list[str] = []

    async def handler(request: Request) -> Reply:
        async def run(tunnel: Tunnel) -> None:
            await tunnel.write(b"101!")
            while data := await tunnel.read():
                await tunnel.write(data.upper())
            ended.append("eof")

        return Upgrade(run)

    scenario(handler, story)


def test_a_refused_upgrade_ends_the_connection() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        head = b"GET /missing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        connection.data_received(head + GET % b"/smuggled")
        await settle()
        assert wire.sent.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in wire.sent
        assert wire.closed

    scenario(echo, story)
