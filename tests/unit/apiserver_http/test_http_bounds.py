"""What one connection may take: time, places among those that are answered, memory."""

import asyncio
from typing import cast

import pytest
from http_wire import GET, POST, FakeHost, Wire, echo, scenario, settle

from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.flight import Lane
from wherry.apiserver.http.handling import OUT_OF_TIME
from wherry.apiserver.http.message import (
    Limits,
    Reply,
    Request,
    Response,
)


@pytest.mark.parametrize(
    ("sent", "patience_s"),
    [
        pytest.param(b"", 10, id="nothing"),
        pytest.param(b"GET / HT", 10, id="part of a header"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", 60, id="part of a body"
        ),
        pytest.param(GET % b"/", 180, id="idle"),
    ],
)
def test_deadlines(sent: bytes, patience_s: float) -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(sent)
        await settle()
        connection.check(patience_s - 0.5)
        assert not wire.closed
        connection.check(patience_s + 0.5)
        assert wire.closed

    scenario(echo, story)


def test_trickled_headers_do_not_move_the_deadline() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        for second, byte in enumerate(b"GET / HTTP/1.1"):
            host.now = float(second)
            connection.data_received(bytes([byte]))
            connection.check(host.now)
        assert wire.closed

    scenario(echo, story)


@pytest.mark.parametrize(("seen_at", "answers"), [(160.0, ["", ""]), (160.1, [OUT_OF_TIME, ""])])
def test_a_handler_has_its_time_from_when_it_was_first_seen_at_work(
    seen_at: float, answers: list[str]
) -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/" + GET % b"/next")
        await settle()
        for now in (100.0, seen_at):
            connection.check(now)
            await settle()
        gate.set()
        await settle()
        assert [body.get("message", "") for body in wire.bodies()] == answers
        assert (host.flight.reads.count, wire.closed) == (0, False)

    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return Response(body=b"{}")

    scenario(handler, story, Limits(request_s=60.0))


def test_a_handler_that_is_out_of_time_and_cancelled_by_others_is_cancelled() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/")
        await settle()
        connection.check(0.0)
        connection.check(61.0)
        tasks[0].cancel()
        await settle()
        assert tasks[0].cancelled()
        assert wire.sent == b""

    tasks: list[asyncio.Task[None]] = []

    async def handler(request: Request) -> Reply:
        tasks.append(cast("asyncio.Task[None]", asyncio.current_task()))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    scenario(handler, story, Limits(request_s=60.0))


def test_too_many_requests_at_once_are_told_to_wait() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        host.flight.reads.count = 400
        connection.data_received(GET % b"/")
        await settle()
        assert wire.sent.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 1" in wire.sent
        connection.data_received(POST % (b"/", 1) + b"x" + GET % b"/watch")
        await settle()
        assert wire.sent.count(b"HTTP/1.1 200 ") == 2  # writes are others; a watch is not counted
        assert (host.flight.reads.count, host.flight.writes.count) == (400, 0)

    scenario(echo, story)


def test_what_a_client_lets_us_hold_is_counted_until_it_is_done() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(POST % (b"/", 1000) + b"x" * 900)
        assert host.holdings.bytes == connection.held == 900
        connection.data_received(b"x" * 100 + GET % b"/")
        await settle()
        assert host.holdings.bytes == 0
        connection.data_received(b"GET /" + b"a" * 500)
        assert host.holdings.bytes == 505
        wire.close()
        await settle()
        assert host.holdings.bytes == 0

    scenario(echo, story)


def test_bodies_that_wait_for_their_turn_stop_a_connection_from_being_read() -> None:
    gate = asyncio.Event()

    async def handler(request: Request) -> Reply:
        await gate.wait()
        return await echo(request)

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        for _ in range(4):
            connection.data_received(POST % (b"/", 700) + b"x" * 600)
            await settle()
            connection.data_received(b"x" * 100)
            if not wire.reading:
                break
        assert host.holdings.bytes == 1400  # one is being answered
        assert not wire.reading
        gate.set()
        await settle()
        assert (wire.reading, host.holdings.bytes, len(wire.bodies())) == (True, 0, 3)

    scenario(handler, story, Limits(body_bytes=1000))


def test_the_slowest_is_cut_when_all_hold_too_much() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(POST % (b"/", 1000) + b"x" * 900)
        await settle()
        other = Connection(host)
        others = Wire(other)
        other.connection_made(others)
        host.now = 5.0
        other.data_received(POST % (b"/", 1000) + b"x" * 200)
        await settle()
        assert (wire.closed, others.closed) == (True, False)
        assert (host.holdings.bytes, host.holdings.cut, host.holdings.cut_bytes) == (200, 1, 900)
        others.close()

    scenario(echo, story, Limits(held_bytes=1000))


@pytest.mark.parametrize(
    ("most", "count", "full"),
    [(0, 0, False), (0, 9, False), (1, 0, False), (1, 1, True), (2, 1, False), (2, 3, True)],
)
def test_a_lane_is_full_at_its_bound_and_never_without_one(
    most: int, count: int, full: bool
) -> None:
    assert Lane(most, count).full is full
