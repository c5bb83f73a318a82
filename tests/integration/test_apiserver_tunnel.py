"""Logs and upgraded streams through the API server to an agent that is a few lines of script."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop
from http_answer import parse, refusal
from rest_front import RestFront, running
from scripted_server import NONSENSE, ScriptedServer, echoed

from wherry.api.errors import (
    BadRequestError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    ServiceUnavailableError,
)
from wherry.pki.tls import server_context

pytestmark = pytest.mark.integration

PODS = "/api/v1/namespaces/a/pods"
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
EXEC = f"POST {PODS}/p/exec?command=x HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


class World(RestFront):
    """A front, and behind it whoever answers for the agent of n1."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.verbs.objects["pods", "a", "p"] = pod("c")
        self.agent = ScriptedServer()

    async def refused(self, target: str, headers: str) -> tuple[int, str]:
        """Return what an upgrade is answered, after which the connection ends."""
        answer = parse(await self.exchange(f"GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
        assert answer[1]["connection"] == "close"
        return refusal(answer)


def pod(*containers: str, node: str = "n1", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "a", **metadata},
        "spec": {"nodeName": node, "containers": [{"name": c} for c in containers]},
    }


def in_world(
    directory: Path,
    story: Callable[[World], Awaitable[None]],
    agent_user: str = "system:node:n1",
) -> None:
    async def main() -> None:
        world = World(directory)
        tls = server_context(world.pki.files(agent_user, server=True))
        async with world.agent.listening(tls), running(world.http):
            world.register(world.agent.port)
            await story(world)

    uvloop.run(main())


def test_logs_are_passed_on(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"6\r\nline1\n\r\n6\r\nline2\n\r\n0\r\n\r\n"
        )
        target = f"{PODS}/p/log?follow=True&tailLines=2&previous=false"
        status, headers, body = await w.ask(target)
        assert (status, body) == (200, b"line1\nline2\n")
        assert headers["transfer-encoding"] == "chunked"
        assert w.agent.heads[0].startswith(
            "GET /containerLogs/a/p/c?follow=true&tailLines=2 HTTP/1.1\r\n"
        )
        assert "authorization" not in w.agent.heads[0].lower()

    in_world(tmp_path, story)


def test_a_log_that_breaks_off_is_not_a_complete_one(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nline1\n\r\n"
        assert not (await w.until_cut(f"{PODS}/p/log")).endswith(b"0\r\n\r\n")

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
        status, told = await w.message(f"{PODS}/p/log{query}")
        assert status == code
        assert message in told
        assert w.agent.heads == []

    in_world(tmp_path, story)


def test_the_container_that_an_annotation_names(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        annotations = {"kubectl.kubernetes.io/default-container": "d"}
        w.verbs.objects["pods", "a", "p"] = pod("c", "d", annotations=annotations)
        w.agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert (await w.ask(f"{PODS}/p/log"))[0] == 200
        assert w.agent.heads[0].startswith("GET /containerLogs/a/p/d HTTP")

    in_world(tmp_path, story)


TEXT = 'container "c" in pod "p" is waiting to start: ContainerCreating'
GONE = NotFoundError("no such container", name="c").to_status()


@pytest.mark.parametrize(
    ("code", "body", "status"),
    [
        (400, f"{TEXT}\n".encode(), BadRequestError(TEXT).to_status()),
        (404, orjson.dumps(GONE), GONE),
        (503, b"[1]", ServiceUnavailableError("[1]").to_status()),
        (403, b"", ForbiddenError("the agent answered 403").to_status()),
        (204, b"", {**InternalError("the agent answered 204").to_status(), "code": 502}),
    ],
)
def test_an_agents_refusal_becomes_a_status(
    tmp_path: Path, code: int, body: bytes, status: dict[str, Any]
) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body)
        told, _, said = await w.ask(f"{PODS}/p/log")
        assert (told, orjson.loads(said)) == (status["code"], status)

    in_world(tmp_path, story)


def test_exec_is_a_pipe(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer, w.agent.echo = SWITCH + b"greeting ", True
        target = f"{PODS}/p/exec?command=sh&command=-c&command=a+b&stdin=true&stdout=true&tty=false"
        reader, writer = await w.send(f"POST {target} HTTP/1.1\r\nHost: a\r\n{SPDY}\r\nearly ")
        assert await reader.readexactly(len(SWITCH)) == SWITCH
        assert await reader.readexactly(15) == b"greeting EARLY "
        big = b"x" * 3_000_000
        assert await echoed(reader, writer, big) == big.upper()
        head = w.agent.heads[0]
        assert head.startswith(
            "POST /exec/a/p/c?command=sh&command=-c&command=a+b&input=1&output=1 HTTP/1.1\r\n"
        )
        assert head.lower().count("x-stream-protocol-version: ") == 2
        writer.close()
        await w.agent.abandoned()

    in_world(tmp_path, story)


def test_the_client_learns_that_the_agent_is_gone(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer, w.agent.echo = SWITCH + b"bye", False
        attach = f"POST {PODS}/p/attach?stdout=1 HTTP/1.1\r\nHost: a\r\n{SPDY}\r\n"
        assert await w.exchange(attach) == SWITCH + b"bye"

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
            assert (code, w.agent.heads) == (400, [])
            assert "Upgrade request required" in message
            return
        reader, writer = await w.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}{offer}\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        head = w.agent.heads[0]
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
        got = await w.exchange(
            f"{EXEC}GET /containerLogs/kube-system/secret/c HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert got.startswith(b"HTTP/1.1 403 ")
        assert got.count(b"HTTP/1.1") == 1
        assert len(w.agent.heads) == 1

    in_world(tmp_path, story)


@pytest.mark.parametrize(
    ("said", "code"), [(200, 502), (100, 502), (302, 502), (999, 502), (99, 502), (503, 503)]
)
def test_what_is_no_upgrade_is_an_error_with_one_code(tmp_path: Path, said: int, code: int) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 %03d X\r\nContent-Length: 2\r\n\r\nno" % said
        assert refusal(parse(await w.exchange(EXEC)))[0] == code

    in_world(tmp_path, story)


def test_one_process_is_many_hollow_nodes(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"
        assert (await w.ask(f"{PODS}/p/log"))[::2] == (200, b"hi\n")

    in_world(tmp_path, story, agent_user="system:hollow-nodes")


def test_somebody_else_at_the_nodes_address(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        code, message = await w.message(f"{PODS}/p/log")
        assert code == 502
        assert "is 'system:node:n2', not node n1" in message
        assert w.agent.heads == []

    in_world(tmp_path, story, "system:node:n2")


def test_a_node_that_is_down(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.register(1)
        code, message = await w.message(f"{PODS}/p/log")
        assert code == 502
        assert message.startswith("error dialing backend: dial tcp 127.0.0.1:1: ")

    in_world(tmp_path, story)


def test_who_asks_a_silent_agent_shuts_nobody_else_out(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.agent.echo = True  # it reads, and answers nothing
        log = f"GET {PODS}/p/log?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n"
        async with w.waiting([log, EXEC] * 4):
            await w.agent.asked(8)
            assert (await w.ask(f"{PODS}/p"))[0] == 200

    in_world(tmp_path, story)


def test_an_agent_that_talks_nonsense(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        for nonsense in NONSENSE:
            w.agent.answer = nonsense
            assert (await w.ask(f"{PODS}/p/log"))[0] == 502

    in_world(tmp_path, story)
