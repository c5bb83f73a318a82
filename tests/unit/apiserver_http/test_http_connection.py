"""One connection as a transcript: bytes in, bytes out, without a socket."""

import asyncio
import gzip
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import orjson
import pytest

from wherry.api.errors import NotFoundError
from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.http.handling import OUT_OF_TIME
from wherry.apiserver.http.holdings import Holdings
from wherry.apiserver.http.message import (
    Handler,
    Limits,
    Reply,
    Request,
    Response,
    Stream,
    Tunnel,
    Upgrade,
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
        self.gone = 0
        self._tasks = tasks

    def opened(self, connection: Connection) -> asyncio.Task[None]:
        return self._tasks.create_task(connection.serve())

    def closed(self, connection: Connection) -> None:
        self.gone += 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def scenario(
    handler: Handler,
    story: Callable[[Wire, Connection, FakeHost], Awaitable[None]],
    limits: Limits = Limits(),  # noqa: B008
) -> None:
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


async def echo(request: Request) -> Reply:
    if request.target == "/missing":
        raise NotFoundError('pods "x" not found')
    if request.target == "/bug":
        raise RuntimeError("the password is hunter2")
    return Response(body=orjson.dumps({"target": request.target, "body": request.body.decode()}))


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

    async def handler(request: Request) -> Reply:
        return Stream(ticks(log, gate))

    scenario(handler, story)


def test_a_stream_ends_with_its_client() -> None:
    log: list[str] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/watch")
        await settle()
        wire.close()
        await settle()
        assert log == ["closed"]

    async def handler(request: Request) -> Reply:
        return Stream(ticks(log, asyncio.Event()))

    scenario(handler, story)


def test_draining_ends_a_stream_properly_and_closes() -> None:
    log: list[str] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(GET % b"/watch")
        await settle()
        host.draining = True
        connection.end()
        await settle()
        assert wire.sent.endswith(b"0\r\n\r\n")
        assert wire.closed
        assert log == ["closed"]

    async def handler(request: Request) -> Reply:
        return Stream(ticks(log, asyncio.Event()))

    scenario(handler, story)


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

    async def handler(request: Request) -> Reply:
        return Stream(flood())

    scenario(handler, story)


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

    async def handler(request: Request) -> Reply:
        return stream

    scenario(handler, story)


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

    async def handler(request: Request) -> Reply:
        return Response(body=body)

    scenario(handler, story)


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


def test_http_1_0_streams_end_with_the_connection() -> None:
    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        connection.data_received(b"GET / HTTP/1.0\r\n\r\n")
        await settle()
        assert b"Transfer-Encoding" not in wire.sent
        assert wire.sent.endswith(b"\r\n\r\none\ntwo\n")
        assert wire.closed

    gate = asyncio.Event()
    gate.set()

    async def handler(request: Request) -> Reply:
        return Stream(ticks([], gate))

    scenario(handler, story)
