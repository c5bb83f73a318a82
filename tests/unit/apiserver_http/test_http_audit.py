"""Each answer names its request, so that who has the answer can find it in logs."""

import random
import re
import uuid
from collections.abc import AsyncGenerator

import pytest
from http_wire import GET, FakeHost, Wire, echo, scenario, settle

from wherry.apiserver.http import HttpServer
from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.message import Limits, Reply, Request, Response, Stream
from wherry.process.clock import SystemClock

NAMED = b"%b %b HTTP/1.1\r\nHost: a\r\nAudit-ID: %b\r\n\r\n"
AUDIT_ID = re.compile(rb"\r\nAudit-Id: ([^\r]+)\r\n")
DEFAULTS = Limits()


async def line() -> AsyncGenerator[bytes, None]:
    yield b"line\n"


async def handler(request: Request) -> Reply:
    if request.target == "/watch":
        return Stream(line())
    if request.target == "/large":
        return Response(body=b"x" * 200_000)
    return await echo(request)


def ids(*requests: bytes, limits: Limits = DEFAULTS) -> list[bytes]:
    """Return the ids of the answers to the requests, which come one after the other."""
    found: list[bytes] = []

    async def story(wire: Wire, connection: Connection, host: FakeHost) -> None:
        for request in requests:
            connection.data_received(request)
            await settle()
        found.extend(AUDIT_ID.findall(wire.sent))

    scenario(handler, story, limits)
    return found


def test_every_request_has_a_random_id_of_its_own() -> None:
    found = ids(*[GET % b"/"] * 50)
    assert len(set(found)) == 50
    assert {uuid.UUID(each.decode()).version for each in found} == {4}


@pytest.mark.parametrize("given", [b"mine", b"7" * 65, b"a b,c"], ids=["short", "long", "odd"])
@pytest.mark.parametrize(
    ("method", "target"),
    [(b"GET", b"/"), (b"HEAD", b"/"), (b"GET", b"/missing"), (b"GET", b"/watch")],
)
def test_who_brings_an_id_is_answered_with_it(method: bytes, target: bytes, given: bytes) -> None:
    assert ids(NAMED % (method, target, given)) == [given]


def test_an_empty_id_is_none() -> None:
    (found,) = ids(NAMED % (b"GET", b"/", b""))
    assert uuid.UUID(found.decode()).version == 4


def test_an_answer_that_is_compressed_has_its_id() -> None:
    asked = b"GET /large HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nAudit-ID: mine\r\n\r\n"
    assert ids(asked) == [b"mine"]


def test_servers_have_different_ids() -> None:
    def first(seed: int) -> int:
        rng = random.Random(seed)
        server = HttpServer(handler, host="127.0.0.1", port=0, clock=SystemClock(), rng=rng)
        return server.rng.getrandbits(128)

    assert len({first(seed) for seed in range(5)}) == 5
    assert first(1) == first(1)
