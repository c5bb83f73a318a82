"""The writers' HTTPS client against a server that answers badly."""

import asyncio
import ssl
from pathlib import Path

import pytest

from lablib.chaos.rest import Connection, NoAnswerError, Response
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import Subject
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of the server and of the client."""
    now_s = SystemClock().now()
    ca = create_ca("test", now_s=now_s)
    pair = issue(ca, Subject("server", hosts=("127.0.0.1",), server=True), now_s=now_s)
    for name, data in (("crt", pair.certificate), ("key", pair.key), ("ca", ca.certificate)):
        (tmp_path / name).write_bytes(data)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    return server, client


def ask(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], *answers: bytes, hang: bool = False
) -> list[Response | str]:
    """Ask once for each of `answers` on one connection; each answer, or what was raised.

    After the last one the server hangs up, or with `hang` says nothing more.
    """
    server_tls, client_tls = contexts
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        if not hang:
            writer.close()

    async def main() -> list[Response | str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        connection = Connection("127.0.0.1", port, client_tls, timeout_s=3 if hang else 60)
        found: list[Response | str] = []
        for _ in answers:
            try:
                found.append(await connection.request("GET", "/"))
            except NoAnswerError as error:
                found.append(str(error))
        connection.close()
        server.close()
        for writer in accepted:
            writer.transport.abort()
        await asyncio.sleep(0)
        return found

    return asyncio.run(main())


SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n ho\r\n0\r\n\r\n"


def test_answers_of_both_framings_on_one_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    assert ask(contexts, SIZED, CHUNKED, SIZED) == [
        Response(200, b"hi"),
        Response(201, b"hi ho"),
        Response(200, b"hi"),
    ]


@pytest.mark.parametrize(
    ("answer", "hang", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", False, "IncompleteReadError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", True, "TimeoutError"),
        (b"SSH-2.0 OpenSSH\r\n\r\n", False, "not HTTP"),
        (b"", True, "TimeoutError"),
    ],
    ids=["half, then closed", "half, then silent", "not HTTP", "silence"],
)
def test_half_an_answer_is_no_answer(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], answer: bytes, hang: bool, why: str
) -> None:
    (said,) = ask(contexts, answer, hang=hang)
    assert isinstance(said, str)
    assert why in said
