"""What passes through the proxy subresource: bodies however they end, TLS, upgrades, and how much."""

import asyncio
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from proxy_world import (
    HELLO,
    NAMESPACE,
    POD,
    ProxyWorld,
    endpoint,
    endpoint_slice,
    in_proxy_world,
    service,
)
from scripted_server import echoed

from wherry.pki.tls import server_context

pytestmark = pytest.mark.integration

FRAMINGS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "4", id="length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", None, id="chunked"),
    pytest.param(b"HTTP/1.0 200 OK\r\n\r\nbody", None, id="until the end"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "4", id="announced"),
]  # fmt: skip

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(("answer", "length"), FRAMINGS)
def test_bodies_however_they_end(tmp_path: Path, answer: bytes, length: str | None) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = answer
        status, headers, body = await w.ask(f"{POD}/")
        assert (status, body) == (200, b"body")
        assert headers.get("content-length") == length
        assert headers.get("transfer-encoding") == (None if length else "chunked")

    in_proxy_world(tmp_path, story)


@pytest.mark.parametrize("code", [204, 304])
def test_answers_without_bodies_leave_the_connection_usable(tmp_path: Path, code: int) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 %d X\r\nETag: 1\r\n\r\n" % code
        reader, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % code)
            assert b"ETag: 1\r\n" in head
            assert b"ransfer-" not in head
        writer.close()
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
        status, headers, body = await w.ask(f"{POD}/", method="HEAD")
        assert (status, headers["content-length"], body) == (200, "7", b"")
        assert "transfer-encoding" not in headers
        assert w.backend.heads[-1].startswith("HEAD / ")

    in_proxy_world(tmp_path, story)


def test_headers_of_an_answer(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = (
            b"HTTP/1.1 418 X\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: then\r\n"
            b"Access-Control-Allow-Origin: *\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"
            b"X-Name: \xc3\xa4\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1"
        )
        status, headers, body = await w.ask(f"{POD}/", "Accept-Encoding: gzip")
        assert (status, body) == (418, b"1")
        assert headers["set-cookie"] == "a=1, b=2"
        assert (headers["x-name"], headers["content-encoding"]) == ("ä", "gzip")
        assert headers["date"] != "then"
        assert not headers.keys() & {"access-control-allow-origin", "x-mine"}

    in_proxy_world(tmp_path, story)


def test_an_answer_that_breaks_off_is_not_a_complete_one(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello"
        head, _, body = (await w.until_cut(f"{POD}/")).partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: 99" in head
        assert body in (b"", b"hello")  # what was on its way when the connection was cut is lost
        w.backend.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        assert not (await w.until_cut(f"{POD}/")).endswith(b"0\r\n\r\n")

    in_proxy_world(tmp_path, story)


def test_an_answer_with_a_length_leaves_the_connection_usable(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        for answer, body in ((HELLO, b"hello"), (EMPTY, b"")):
            w.backend.answer = answer
            reader, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                assert f"Content-Length: {len(body)}\r\n".encode() in head
                assert await reader.readexactly(len(body)) == body
            writer.close()

    in_proxy_world(tmp_path, story)


def test_tls_to_the_pod(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    tls = server_context(TestPki(tmp_path / "pod").files("pod", server=True), require_client=False)

    async def story(w: ProxyWorld) -> None:
        big = b"x" * 3_000_000
        w.backend.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big)
        status, _, body = await w.ask(
            f"{NAMESPACE}/pods/https:p:web/proxy/", method="POST", body=big
        )
        assert (status, body == big) == (200, True)
        assert w.backend.bodies == [big]
        status, message = await w.message(f"{POD}/")  # plain HTTP, to who speaks TLS
        assert (status, message) == (503, "error trying to reach service: EOF")

    in_proxy_world(tmp_path, story, backend_tls=tls)


def test_tls_to_who_does_not_speak_it(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.verbs.objects["services", "a", "s"] = service("s", {"port": 443})
        w.verbs.objects["endpointslices", "a", "s1"] = endpoint_slice([{"port": 1}], endpoint())
        w.backend.rude = True
        status, message = await w.message(f"{NAMESPACE}/services/https:s:/proxy/")
        assert status == 503
        assert message.startswith("error trying to reach service: tls: ")

    in_proxy_world(tmp_path, story)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n"


def test_an_upgrade_is_a_pipe(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = SWITCH + b"hi ", True
        secret = "Authorization: Bearer secret\r\n"
        reader, writer = await w.send(
            f"GET {POD}/ws?x=1 HTTP/1.1\r\nHost: a\r\n{secret}{WEBSOCKET}\r\nearly "
        )
        assert await reader.readexactly(len(SWITCH)) == SWITCH
        assert await reader.readexactly(9) == b"hi EARLY "
        big = b"x" * 3_000_000
        assert await echoed(reader, writer, big) == big.upper()
        assert w.backend.target == "/ws?x=1"
        told = [w.backend.header(n) for n in ("connection", "upgrade", "sec-websocket-key")]
        assert told == ["Upgrade", "websocket", "AAAA"]
        assert w.backend.header("authorization") is None
        writer.close()
        await w.backend.abandoned()

    in_proxy_world(tmp_path, story)


def test_an_upgrade_that_is_refused(tmp_path: Path) -> None:
    """After any answer but 101 the connection must not lead to the pod."""

    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = HELLO.replace(b"200 OK", b"403 No"), True
        smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        head = f"GET {POD}/ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n"
        answer = await w.exchange(head + smuggled)
        assert (answer[:13], answer.count(b"HTTP/1.1")) == (b"HTTP/1.1 403 ", 1)
        assert [one.partition(" HTTP")[0] for one in w.backend.heads] == ["GET /ws"]

    in_proxy_world(tmp_path, story)


def test_who_switches_protocols_unasked(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = SWITCH, True
        status, message = await w.message(f"{POD}/")
        assert (status, "was not asked to" in message) == (502, True)

    in_proxy_world(tmp_path, story)


def test_a_client_that_does_not_read_stops_the_backend(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        w.backend.flood = True
        _, writer = await w.send(f"GET {POD}/ HTTP/1.1\r\nHost: a\r\n\r\n")
        before = -1
        while before != w.backend.sent or not before:  # until it stands still
            before = w.backend.sent
            await asyncio.sleep(0.5)
        assert before < 64 << 20  # sockets' buffers, four times
        writer.transport.abort()
        await w.backend.abandoned()

    in_proxy_world(tmp_path, story)


def test_who_asks_a_silent_pod_shuts_nobody_else_out(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.answer, w.backend.echo = b"", True  # it reads, and answers nothing
        rest = f"{POD}/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        async with w.waiting([f"GET {rest}", f"POST {rest}"] * 4):
            await w.backend.asked(8)
            assert (await w.ask(f"{NAMESPACE}/pods/p"))[0] == 200

    in_proxy_world(tmp_path, story)


def test_bodies_on_their_way_are_bounded_together(tmp_path: Path) -> None:
    async def story(w: ProxyWorld) -> None:
        w.backend.silent = asyncio.Event()
        body = b"x" * (3 << 20)
        head = f"POST {POD}/x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        writers = []
        for count in range(1, 22):  # 64 MB have room for 21 of them
            writers.append((await w.send(head.encode() + body))[1])
            await w.backend.asked(count)
        status, message = await w.message(f"{POD}/x", method="POST", body=body)
        assert (status, message) == (429, "too many requests, please try again later")
        w.backend.silent.set()
        for writer in writers:
            writer.close()
        while (await w.ask(f"{POD}/x", method="POST", body=body))[0] != 200:
            await asyncio.sleep(0.01)

    in_proxy_world(tmp_path, story)
