"""One connection that sends for long: streams, and bodies at the pace of their clients."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from http_wire import GET, FakeHost, Wire, always, scenario, settle

from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.message import Response, Stream


async def ticks(log: list[str], gate: asyncio.Event) -> AsyncGenerator[bytes, None]:
    try:
        yield b"one\n"
        await gate.wait()
        yield b"two\n"
    finally:
        log.append("closed")


def test_a_stream_is_sent_in_chunks_as_it_comes() -> None:
    log: list[str] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/watch")
        await settle()
        assert wire.sent.endswith(b"\r\n\r\n4\r\none\n\r\n")
        gate.set()
        await settle()
        assert wire.sent.endswith(b"4\r\ntwo\n\r\n0\r\n\r\n")
        assert log == ["closed"]
        connection.data_received(GET % b"/again")
        await settle()
        assert not wire.closed

    gate = asyncio.Event()

    scenario(always(lambda: Stream(ticks(log, gate))), story)


def test_a_stream_ends_with_its_client() -> None:
    log: list[str] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/watch")
        await settle()
        wire.close()
        await settle()
        assert log == ["closed"]

    scenario(always(lambda: Stream(ticks(log, asyncio.Event()))), story)


@pytest.mark.parametrize(("length", "end"), [(None, b"0\r\n\r\n"), (8, b"\r\n\r\none\n")])
def test_draining_ends_a_stream_as_far_as_it_came_and_closes(
    length: int | None, end: bytes
) -> None:
    log: list[str] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/watch")
        await settle()
        host.draining = True
        connection.end()
        await settle()
        assert wire.sent.endswith(end)
        assert wire.closed
        assert log == ["closed"]

    scenario(always(lambda: Stream(ticks(log, asyncio.Event()), length=length)), story)


def test_a_stream_waits_for_a_slow_client_who_is_cut_off_in_the_end() -> None:
    sent: list[int] = []

    async def flood() -> AsyncGenerator[bytes, None]:
        for number in range(1000):
            sent.append(number)
            yield b"x"

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.pause_writing()
        connection.data_received(GET % b"/watch")
        await settle()
        assert len(sent) <= 1
        host.now = 61.0
        connection.check(host.now)
        await settle()
        assert host.gone == 1

    scenario(always(lambda: Stream(flood())), story)


def test_a_waiting_stream_is_pushed_to_until_its_client_is_slow_or_gone() -> None:
    log: list[str] = []
    gate = asyncio.Event()

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        assert not stream.push(b"early")
        connection.data_received(GET % b"/watch")
        await settle()
        before = wire.sent
        assert stream.push(b"live\n")
        assert wire.sent == before + b"5\r\nlive\n\r\n"  # no turn of the loop in between
        connection.pause_writing()
        assert not stream.push(b"late\n")
        connection.resume_writing()
        assert stream.push(b"on\n")
        wire.close()
        assert not stream.push(b"lost\n")
        assert wire.sent == before + b"5\r\nlive\n\r\n3\r\non\n\r\n"
        await settle()
        assert log == ["closed"]

    stream = Stream(ticks(log, gate))

    scenario(always(lambda: stream), story)


def test_a_large_body_is_sent_at_the_pace_of_its_client() -> None:
    body = bytes(range(256)) * 2048  # four slices, the first of them with the head

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        write = wire.write

        def full(data: Any) -> None:  # each write fills what the client has not taken
            write(data)
            connection.pause_writing()

        wire.write = full  # type: ignore[method-assign]
        connection.data_received(GET % b"/list")
        await settle()
        for _ in range(3):
            before = len(wire.sent)
            assert before < len(body)
            connection.resume_writing()
            await settle()
            assert 0 < len(wire.sent) - before <= 128 * 1024
        assert wire.sent.partition(b"\r\n\r\n")[2] == body

    scenario(always(lambda: Response(body=body)), story)


def test_http_1_0_streams_end_with_the_connection() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"GET / HTTP/1.0\r\n\r\n")
        await settle()
        assert b"Transfer-Encoding" not in wire.sent
        assert wire.sent.endswith(b"\r\n\r\none\ntwo\n")
        assert wire.closed

    gate = asyncio.Event()
    gate.set()

    scenario(always(lambda: Stream(ticks([], gate))), story)


async def parts(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("pieces", [(b"hel", b"", b"lo"), (b"hello",), (b"", b"hello", b"")])
def test_a_stream_that_says_its_length_has_no_chunks(pieces: tuple[bytes, ...]) -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        for asked, body in ((b"GET", b"hello"), (b"HEAD", b""), (b"GET", b"hello")):
            wire.sent = b""
            connection.data_received(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % asked)
            await settle()
            head, _, sent = wire.sent.partition(b"\r\n\r\n")
            assert b"\r\nContent-Length: 5" in head
            assert b"Transfer-Encoding" not in head
            assert sent == body
        assert not wire.closed

    scenario(always(lambda: Stream(parts(*pieces), length=5)), story)


def test_an_old_client_is_told_the_length_and_that_nothing_follows() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        await settle()
        head, _, sent = wire.sent.partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: 0" in head
        assert b"\r\nConnection: close" in head
        assert sent == b""
        assert wire.closed

    scenario(always(lambda: Stream(parts(b""), length=0)), story)


@pytest.mark.parametrize(
    ("pieces", "length", "taken"),
    [
        ((b"hel",), 5, b"hel"),
        ((), 5, b""),
        ((b"hel", b"lo!"), 5, b"hel"),
        ((b"x",), 0, b""),
    ],
)
def test_a_stream_of_another_length_than_it_said_is_cut_off(
    pieces: tuple[bytes, ...], length: int, taken: bytes
) -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/1" + GET % b"/2")
        await settle()
        assert wire.sent.count(b"HTTP/1.1 200") == 1
        assert wire.sent.partition(b"\r\n\r\n")[2] == taken
        assert wire.closed

    scenario(always(lambda: Stream(parts(*pieces), length=length)), story)
