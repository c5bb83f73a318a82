"""An API server's REST door on loopback, over stub verbs, and the administrator as its client.

Behind it is what a test puts there: `register` says where the agent of node n1 listens.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Protocol

from apiserver_pki import TestPki
from http_answer import Answer, parse, refusal
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs

from wherry.apiserver.discovery import get_discovery
from wherry.apiserver.http import HttpServer, Limits
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.rest.documents import Documents
from wherry.apiserver.rest.door import RestDoor
from wherry.apiserver.rest.longrunning import is_long_running
from wherry.apiserver.tunnel.agent import Dialer, TlsDialer
from wherry.pki.tls import client_context, server_context
from wherry.process.clock import SystemClock


class Server(Protocol):
    """What runs and tells when it listens."""

    @property
    def listening(self) -> asyncio.Event: ...

    async def run(self) -> None: ...


class RestFront:
    """The door, which is open to everybody, and its client; two requests at once are the most."""

    def __init__(self, directory: Path, *, direct: Dialer | None = None) -> None:
        self.pki = TestPki(directory)
        self.verbs, self.gate = StubVerbs(), OpenGate()
        clock = SystemClock()
        us = self.pki.files("system:apiserver", ("system:masters",))
        door = RestDoor(
            self.verbs,
            self.gate,
            Documents(get_discovery(), get_openapi(), clock=clock, checks=dict),
            dialer=TlsDialer(lambda: client_context(us, check_hostname=False)),
            clock=clock,
            metrics=Metrics(CollectorRegistry()),
            direct=direct,
            rng=Random(1),
        )
        self.http = HttpServer(
            door,
            host="127.0.0.1",
            port=0,
            clock=clock,
            tls=server_context(self.pki.files("kube-apiserver", server=True), require_client=False),
            limits=Limits(drain_s=1, in_flight=2, mutating_in_flight=2),
            is_long_running=is_long_running,
        )

    def register(self, port: int) -> None:
        """Make node n1, whose agent listens on a port of the loopback."""
        self.verbs.objects["nodes", "", "n1"] = {
            "metadata": {"name": "n1"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        }

    async def send(self, text: str | bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection as the administrator and send a request."""
        context = client_context(self.pki.admin())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http.port, ssl=context)
        writer.write(text.encode() if isinstance(text, str) else text)
        return reader, writer

    @asynccontextmanager
    async def waiting(self, texts: Sequence[str]) -> AsyncIterator[None]:
        """Have requests under way until the block ends, each on a connection of its own."""
        writers = [(await self.send(text))[1] for text in texts]
        yield
        for writer in writers:
            writer.transport.abort()

    async def exchange(self, text: str | bytes) -> bytes:
        """Send, and return all that comes until the server ends the connection."""
        reader, writer = await self.send(text)
        answer = await reader.read()
        writer.close()
        return answer

    async def until_cut(self, target: str) -> bytes:
        """Return what comes of an answer whose connection is cut instead of kept for the next."""
        reader, writer = await self.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                got += piece
        writer.close()
        return got

    async def ask(
        self, target: str, *headers: str, method: str = "GET", body: bytes = b""
    ) -> Answer:
        """Ask on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", "Host: api:6443", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        answer = await self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return parse(answer, bodiless=method == "HEAD")

    async def message(self, target: str, *headers: str, **given: Any) -> tuple[int, str]:
        """Return code and message of a Status."""
        return refusal(await self.ask(target, *headers, **given))


@asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[None]:
    """Run servers until the block ends, which takes 90 s at the most; they listen when it begins."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(server.run()) for server in servers]
        for server in servers:
            await server.listening.wait()
        try:
            async with asyncio.timeout(90):
                yield
        finally:
            for task in tasks:
                task.cancel()
