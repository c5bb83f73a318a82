"""The HTTP server on real TLS sockets: what only a kernel and a TLS library can show."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import uvloop
from apiserver_pki import TestPki
from ports import claim

from wherry.api.errors import ConfigError
from wherry.apiserver.http import HttpServer, Limits, Reply, Request, Response, Stream
from wherry.pki.certificates import identity
from wherry.pki.tls import client_context, server_context
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

LIMITS = Limits(drain_s=1)  # a story that is about another limit shortens that one alone
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


class World:
    def __init__(self, pki: TestPki, limits: Limits = LIMITS, port: int = 0) -> None:
        self.pki = pki
        self.asked = 0
        self.produced = 0
        self.ended = 0
        self.server = HttpServer(
            self.handle,
            host="127.0.0.1",
            port=port,
            clock=SystemClock(),
            tls=server_context(pki.files("kube-apiserver", server=True), require_client=False),
            limits=limits,
        )

    async def handle(self, request: Request) -> Reply:
        self.asked += 1
        if request.target == "/flood":
            return Stream(self.flood())
        if request.target == "/hang":
            await asyncio.sleep(3600)
        der = request.peer.certificate
        who = identity(der)[0] if der else ""
        return Response(body=orjson.dumps({"who": who, "size": len(request.body)}))

    async def flood(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.produced += 1
                yield b"x" * 100_000
        finally:
            self.ended += 1

    async def connect(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = context or client_context(self.pki.admin())
        return await asyncio.open_connection("127.0.0.1", self.server.port, ssl=context)


@asynccontextmanager
async def world(directory: Path, limits: Limits = LIMITS, port: int = 0) -> AsyncIterator[World]:
    one = World(TestPki(directory), limits, port)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(one.server.run())
        await one.server.listening.wait()
        try:
            async with asyncio.timeout(60):
                yield one
        finally:
            task.cancel()


def in_world(
    directory: Path, story: Callable[[World], Awaitable[None]], limits: Limits = LIMITS
) -> None:
    async def main() -> None:
        async with world(directory, limits) as one:
            await story(one)

    uvloop.run(main())


async def body_of(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(size)


def anonymous(pki: TestPki) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki.ca))


def test_a_certificate_is_optional_and_seen(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        for context, who in ((None, "admin"), (anonymous(w.pki), "")):
            reader, writer = await w.connect(context)
            for _ in range(2):  # kept alive
                writer.write(GET % b"/")
                assert orjson.loads(await body_of(reader))["who"] == who
            writer.close()

    in_world(tmp_path, story)


def test_a_strangers_certificate_is_refused(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        (tmp_path / "other").mkdir()
        stranger = TestPki(tmp_path / "other", "other-ca").admin()
        context = anonymous(w.pki)
        context.load_cert_chain(stranger.cert, stranger.key)
        reader, writer = await w.connect(context)  # in TLS 1.3 the refusal comes afterwards
        writer.write(GET % b"/")
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            await reader.read()
        assert w.asked == 0

    in_world(tmp_path, story)


def test_a_connection_whose_client_vanished_is_found_by_tcp(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        _, writer = await w.connect()
        client = writer.get_extra_info("sockname")[1]
        at_rest = [b"02"]  # proc(5), net/tcp: the keep-alive timer runs
        while server_timers(w.server.port, client) != at_rest:  # the world has a deadline
            await asyncio.sleep(0.05)
        writer.close()

    in_world(tmp_path, story)


def server_timers(port: int, client: int) -> list[bytes]:
    """Return which timer runs at the server's end of an established connection on loopback.

    Others have the same port at other addresses: it is found by both ends.
    """
    loopback = int.from_bytes(bytes([127, 0, 0, 1]), sys.byteorder)
    pair = [b"%08X:%04X" % (loopback, each) for each in (port, client)]
    lines = [line.split() for line in Path("/proc/net/tcp").read_bytes().splitlines()[1:]]
    return [line[5].partition(b":")[0] for line in lines if line[1:4] == [*pair, b"01"]]


def test_http_2_is_never_chosen(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        context = anonymous(w.pki)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await w.connect(context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2"
        writer.close()

    in_world(tmp_path, story)


def test_a_body_of_three_megabytes_and_not_more(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        for size, code in ((3 * 1024 * 1024, 200), (3 * 1024 * 1024 + 1, 413)):
            reader, writer = await w.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(b"x" * size)
            answer = orjson.loads(await body_of(reader))
            assert answer.get("code", 200) == code
            assert answer.get("size", size) == size
            writer.close()

    in_world(tmp_path, story)


def test_a_client_that_does_not_read_costs_no_memory_and_is_cut(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        context = client_context(w.pki.admin())
        loop = asyncio.get_running_loop()
        deaf = asyncio.Protocol()
        transport, _ = await loop.create_connection(
            lambda: deaf, "127.0.0.1", w.server.port, ssl=context
        )
        transport.pause_reading()
        transport.write(GET % b"/flood")
        while not w.produced:  # until it has begun
            await asyncio.sleep(0.01)
        while not w.ended:  # until the server has had enough
            await asyncio.sleep(0.05)
        assert w.produced < 200  # 20 MB: what the kernel's buffers take
        transport.abort()

    in_world(tmp_path, story, replace(LIMITS, write_stall_s=1.5))


def test_a_slow_header_is_cut_and_others_go_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        reader, writer = await w.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        got = b"?"
        with suppress(OSError, ssl.SSLError):
            got = await reader.read()
        assert got in (b"", b"?")
        writer.close()
        reader, writer = await w.connect()
        writer.write(GET % b"/")
        assert await body_of(reader)
        writer.close()

    in_world(tmp_path, story, replace(LIMITS, header_s=5))


def test_a_handler_that_hangs_is_answered_for(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        reader, writer = await w.connect()
        writer.write(GET % b"/hang")
        assert orjson.loads(await body_of(reader))["reason"] == "Timeout"
        writer.close()

    in_world(tmp_path, story, replace(LIMITS, request_s=0.3))


def test_plain_text_on_the_tls_port_hurts_nobody(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", w.server.port)
        writer.write(GET % b"/")
        with suppress(OSError):
            await reader.read()
        writer.close()
        reader, writer = await w.connect()
        writer.write(GET % b"/")
        assert await body_of(reader)
        writer.close()

    in_world(tmp_path, story)


def test_draining_ends_streams_and_frees_the_port(tmp_path: Path) -> None:
    async def main() -> None:
        (port,) = claim(1)  # nobody else may be there afterwards
        async with world(tmp_path, port=port) as w:
            reader, writer = await w.connect()
            writer.write(GET % b"/flood")
            await reader.readuntil(b"\r\n\r\n")
        got = b""
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(1 << 20):
                got = (got + data)[-16:]
        writer.close()
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", w.server.port)

    uvloop.run(main())


def test_a_client_that_keeps_idle_connections_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """urllib3 and httpx answer the end of TLS when they next use the connection: never."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = replace(LIMITS, drain_s=60, goodbye_s=0.2)
        async with world(tmp_path, limits) as w:
            context = client_context(w.pki.admin())
            raw = socket.create_connection(("127.0.0.1", w.server.port))
            pooled = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="127.0.0.1")
            await asyncio.to_thread(pooled.sendall, GET % b"/")
            assert b" 200 " in await asyncio.to_thread(pooled.recv, 100)
            began = loop.time()
        assert loop.time() - began < 30, "it waited for the client as long as it may"
        pooled.close()

    uvloop.run(main())


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        second = World(w.pki)
        second.server.port = w.server.port
        with pytest.raises(ExceptionGroup) as raised:
            await second.server.run()
        [error] = raised.value.exceptions
        assert isinstance(error, ConfigError)
        assert str(w.server.port) in str(error)

    in_world(tmp_path, story)
