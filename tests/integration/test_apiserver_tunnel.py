"""Logs and upgraded streams through the API server to an agent that is a few lines of script."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop
from apiserver_pki import TestPki
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
from wherry.apiserver.tunnel.agent import TlsDialer
from wherry.pki.tls import client_context, server_context
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

PODS = "/api/v1/namespaces/a/pods"
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


@dataclass
class Agent:
    """Answers each connection with `answer`, then echoes in capitals if it was an upgrade."""

    answer: bytes = b""
    echo: bool = False
    requests: list[str] = field(default_factory=list)
    open: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
            while self.echo and (data := await reader.read(65536)):
                writer.write(data.upper())
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()


@dataclass
class World:
    verbs: StubVerbs
    agent: Agent
    port: int
    pki: TestPki

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = client_context(self.pki.admin())
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def send(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(text.encode())
        return reader, writer

    async def ask(self, target: str, headers: str = "", method: str = "GET") -> tuple[int, bytes]:
        reader, writer = await self.send(
            f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n"
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split(b" ", 2)[1]), body

    async def refused(self, target: str, headers: str = "") -> tuple[int, str]:
        reader, writer = await self.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: close" in head
        body = await reader.read()
        writer.close()
        return int(head.split(b" ", 2)[1]), orjson.loads(body)["message"]


def pod(*containers: str, node: str = "n1", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "a", **metadata},
        "spec": {"nodeName": node, "containers": [{"name": c} for c in containers]},
    }


@asynccontextmanager
async def world(directory: Path, agent_user: str = "system:node:n1") -> AsyncIterator[World]:
    pki = TestPki(directory)
    verbs, agent = StubVerbs(), Agent()
    listener = await asyncio.start_server(
        agent.serve, "127.0.0.1", 0, ssl=server_context(pki.files(agent_user, server=True))
    )
    agent.port = listener.sockets[0].getsockname()[1]
    verbs.objects["nodes", "", "n1"] = {
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
        },
    }
    verbs.objects["pods", "a", "p"] = pod("c")
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    documents = Documents(get_discovery(), get_openapi(), clock=clock, checks=dict)
    us = pki.files("system:apiserver", ("system:masters",))
    dialer = TlsDialer(lambda: client_context(us, check_hostname=False))
    door = RestDoor(verbs, OpenGate(), documents, dialer=dialer, clock=clock, metrics=metrics)
    tls = server_context(pki.files("kube-apiserver", server=True), require_client=False)
    http = HttpServer(
        door,
        host="127.0.0.1",
        port=0,
        clock=clock,
        tls=tls,
        limits=Limits(drain_s=1, in_flight=2, mutating_in_flight=2),
        is_long_running=is_long_running,
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(http.run())
        await http.listening.wait()
        try:
            async with asyncio.timeout(90):
                yield World(verbs, agent, http.port, pki)
        finally:
            task.cancel()
            listener.close()


def in_world(
    directory: Path,
    story: Callable[[World], Awaitable[None]],
    agent_user: str = "system:node:n1",
) -> None:
    async def main() -> None:
        async with world(directory, agent_user) as one:
            await story(one)

    uvloop.run(main())


def test_logs_are_passed_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"6\r\nline1\n\r\n6\r\nline2\n\r\n0\r\n\r\n"
        )
        status, body = await w.ask(f"{PODS}/p/log?follow=True&tailLines=2&previous=false")
        assert status == 200
        assert b"line1\n" in body
        assert body.endswith(b"line2\n\r\n0\r\n\r\n")
        assert w.agent.requests[0].startswith(
            "GET /containerLogs/a/p/c?follow=true&tailLines=2 HTTP/1.1\r\n"
        )
        assert "authorization" not in w.agent.requests[0].lower()

    in_world(tmp_path, story)


def test_a_log_that_breaks_off_is_not_a_complete_one(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nline1\n\r\n"
        reader, writer = await w.send(f"GET {PODS}/p/log HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        with suppress(OSError, ssl.SSLError):
            got = await reader.read()
        assert not got.endswith(b"0\r\n\r\n")
        writer.close()

    in_world(tmp_path, story)


LOG_ERRORS = [
    pytest.param(pod("c", "d"), "", 400, "must be specified for pod p, choose one of: [c d]", id="two"),
    pytest.param(pod("c"), "?container=x", 400, "container x is not valid for pod p", id="unknown"),
    pytest.param(pod("c", node=""), "", 400, "pod p does not have a host assigned", id="unscheduled"),
    pytest.param(pod("c", node="n9"), "", 502, "no such node n9", id="no node"),
    pytest.param(pod("c"), "?tailLines=-1", 422, "tailLines", id="range"),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "query", "code", "message"), LOG_ERRORS)
def test_logs_that_cannot_be(
    tmp_path: Path, obj: dict[str, Any], query: str, code: int, message: str
) -> None:
    async def story(w: World) -> None:
        w.verbs.objects["pods", "a", "p"] = obj
        status, body = await w.ask(f"{PODS}/p/log{query}")
        assert status == code
        assert message in orjson.loads(body)["message"]
        assert w.agent.requests == []

    in_world(tmp_path, story)


def test_the_container_that_an_annotation_names(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        annotations = {"kubectl.kubernetes.io/default-container": "d"}
        w.verbs.objects["pods", "a", "p"] = pod("c", "d", annotations=annotations)
        w.agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert (await w.ask(f"{PODS}/p/log"))[0] == 200
        assert w.agent.requests[0].startswith("GET /containerLogs/a/p/d HTTP")

    in_world(tmp_path, story)


def test_an_agents_refusal_becomes_a_status(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        text = b'container "c" in pod "p" is waiting to start: ContainerCreating'
        w.agent.answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (
            len(text),
            text,
        )
        status, body = await w.ask(f"{PODS}/p/log")
        assert (status, orjson.loads(body)["message"]) == (400, text.decode())

    in_world(tmp_path, story)


def test_exec_is_a_pipe(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer, w.agent.echo = SWITCH + b"greeting ", True
        target = f"{PODS}/p/exec?command=sh&command=-c&command=a+b&stdin=true&stdout=true&tty=false"
        reader, writer = await w.send(f"POST {target} HTTP/1.1\r\nHost: a\r\n{SPDY}\r\nearly ")
        assert await reader.readexactly(len(SWITCH)) == SWITCH
        assert await reader.readexactly(15) == b"greeting EARLY "
        big = b"x" * 3_000_000
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(writer, big))
            assert await reader.readexactly(len(big)) == big.upper()
        head = w.agent.requests[0]
        assert head.startswith(
            "POST /exec/a/p/c?command=sh&command=-c&command=a+b&input=1&output=1 HTTP/1.1\r\n"
        )
        assert head.lower().count("x-stream-protocol-version: ") == 2
        writer.close()
        while w.agent.open:  # the agent learns that the client is gone
            await asyncio.sleep(0.01)

    in_world(tmp_path, story)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_the_client_learns_that_the_agent_is_gone(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer, w.agent.echo = SWITCH + b"bye", False
        reader, writer = await w.send(
            f"POST {PODS}/p/attach?stdout=1 HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
        )
        assert await reader.read() == SWITCH + b"bye"
        writer.close()

    in_world(tmp_path, story)


WEBSOCKETS = [
    ("v5.channel.k8s.io", None),
    ("SPDY/3.1+portforward.k8s.io", None),
    ("v5.channel.k8s.io, v4.channel.k8s.io", "v4.channel.k8s.io"),
    ("v4.channel.k8s.io", "v4.channel.k8s.io"),
    ("base64.channel.k8s.io", "base64.channel.k8s.io"),
    ("", ""),
]


@pytest.mark.parametrize(("offered", "passed"), WEBSOCKETS)
def test_websocket_subprotocols(tmp_path: Path, offered: str, passed: str | None) -> None:
    async def story(w: World) -> None:
        w.agent.answer = SWITCH
        offer = f"Sec-WebSocket-Protocol: {offered}\r\n" if offered else ""
        target = f"{PODS}/p/portforward?ports=80"
        if passed is None:
            code, message = await w.refused(target, WEBSOCKET + offer)
            assert (code, w.agent.requests) == (400, [])
            assert "Upgrade request required" in message
            return
        reader, writer = await w.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}{offer}\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        head = w.agent.requests[0]
        assert head.startswith("GET /portForward/a/p?port=80 HTTP/1.1\r\n")
        assert "sec-websocket-key: AAAA" in head
        lines = [line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Protocol")]
        assert lines == ([f"Sec-WebSocket-Protocol: {passed}"] if passed else [])
        writer.close()

    in_world(tmp_path, story)


def test_no_tunnel_without_a_101(tmp_path: Path) -> None:
    """CVE-2018-1002105: after a refusal the connection must not lead to the agent."""

    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        w.agent.echo = True
        reader, writer = await w.send(
            f"POST {PODS}/p/exec?command=x HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
            "GET /containerLogs/kube-system/secret/c HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        got = await reader.read()
        assert got.startswith(b"HTTP/1.1 403 ")
        assert got.count(b"HTTP/1.1") == 1
        assert len(w.agent.requests) == 1
        writer.close()

    in_world(tmp_path, story)


@pytest.mark.parametrize(
    ("said", "code"), [(200, 502), (100, 502), (302, 502), (999, 502), (99, 502), (503, 503)]
)
def test_what_is_no_upgrade_is_an_error_with_one_code(tmp_path: Path, said: int, code: int) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 %03d X\r\nContent-Length: 2\r\n\r\nno" % said
        reader, writer = await w.send(
            f"POST {PODS}/p/exec?command=x HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % code)
        assert orjson.loads(body)["code"] == code
        writer.close()

    in_world(tmp_path, story)


def test_one_process_is_many_hollow_nodes(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"
        status, body = await w.ask(f"{PODS}/p/log")
        assert status == 200
        assert b"hi\n" in body

    in_world(tmp_path, story, agent_user="system:hollow-nodes")


def test_somebody_else_at_the_nodes_address(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        code, body = await w.ask(f"{PODS}/p/log")
        assert code == 502
        assert "is 'system:node:n2', not node n1" in orjson.loads(body)["message"]
        assert w.agent.requests == []

    in_world(tmp_path, story, "system:node:n2")


def test_a_node_that_is_down(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        status = w.verbs.objects["nodes", "", "n1"]["status"]
        status["daemonEndpoints"]["kubeletEndpoint"]["Port"] = 1
        code, body = await w.ask(f"{PODS}/p/log")
        assert code == 502
        message = orjson.loads(body)["message"]
        assert message.startswith("error dialing backend: dial tcp 127.0.0.1:1: ")

    in_world(tmp_path, story)


def test_who_asks_a_silent_agent_shuts_nobody_else_out(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.echo = True  # it reads, and answers nothing
        writers = []
        for _ in range(4):
            head = f"GET {PODS}/p/log?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n"
            writers.append((await w.send(head))[1])
            head = f"POST {PODS}/p/exec?command=x HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
            writers.append((await w.send(head))[1])
        while len(w.agent.requests) < 8:
            await asyncio.sleep(0.01)
        assert (await w.ask(f"{PODS}/p"))[0] == 200
        for writer in writers:
            writer.transport.abort()

    in_world(tmp_path, story)


def test_an_agent_that_talks_nonsense(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        for nonsense in (b"hello\r\n\r\n", b"", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000):
            w.agent.answer = nonsense
            assert (await w.ask(f"{PODS}/p/log"))[0] == 502

    in_world(tmp_path, story)
