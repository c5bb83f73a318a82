"""An API server's REST door on loopback, the agent of node n1, and a backend behind its pods."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop
from apiserver_pki import TestPki
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs

from wherry.agent.http1 import Answer, HttpsServer, Reply, Takeover
from wherry.agent.http1 import Request as AgentRequest
from wherry.agent.streaming import dial
from wherry.api.errors import StatusError
from wherry.apiserver.discovery import get_discovery
from wherry.apiserver.http import HttpServer, Limits
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.rest.documents import Documents
from wherry.apiserver.rest.door import RestDoor
from wherry.apiserver.rest.longrunning import is_long_running
from wherry.apiserver.tunnel.agent import AgentAddress, AgentConnection, TcpDialer, TlsDialer
from wherry.pki.tls import client_context, server_context
from wherry.process.clock import SystemClock

POD_IP = "10.9.9.9"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Backend:
    """Answers each connection with `answer`, and then echoes in capitals if it is to."""

    answer: bytes = HELLO
    echo: bool = False
    rude: bool = False
    """Whether it answers before anything was asked, and goes."""
    silent: asyncio.Event | None = None
    """Until when nothing is answered."""
    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    open: int = 0
    flood: bool = False
    """Whether it sends without end after its answer; `sent` tells how much."""
    sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.rude:
                writer.write(self.answer)
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            length = self.header("content-length") or "0"
            self.bodies.append(await reader.readexactly(int(length)))
            if self.silent is not None:
                await self.silent.wait()
            writer.write(self.answer)
            await writer.drain()
            while self.flood:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()
                self.sent += 65536
            while self.echo and (data := await reader.read(65536)):
                writer.write(data.upper())
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            with suppress(OSError):
                writer.close()

    def header(self, name: str) -> str | None:
        """Return a header of the last request, None where it had none."""
        lines = self.heads[-1].split("\r\n")[1:]
        found = [
            line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name}:")
        ]
        return ", ".join(found) if found else None

    @property
    def target(self) -> str:
        return self.heads[-1].split(" ")[1]


@dataclass
class Direct:
    """Connects where the backend is, whatever is asked for."""

    backend: Backend
    asked: list[AgentAddress] = field(default_factory=list)

    async def dial(self, address: AgentAddress) -> AgentConnection:
        self.asked.append(address)
        return await TcpDialer().dial(AgentAddress("", "127.0.0.1", self.backend.port))


@dataclass
class ProxyWorld:
    verbs: StubVerbs
    gate: OpenGate
    backend: Backend
    direct: Direct
    pki: TestPki
    port: int = 0
    dialled: list[str] = field(default_factory=list)
    """What the agent was asked for, path and query."""
    closed_port: bool = False
    """Whether nobody listens at the pod's port."""

    async def agent(self, request: AgentRequest) -> Answer:
        """Answer as the agent of n1."""
        self.dialled.append(request.head.decode().split(" ")[1])
        if not request.path.startswith("/dial/"):
            return Reply(200, request.head)
        try:
            return Takeover(await dial("127.0.0.1", 1 if self.closed_port else self.backend.port))
        except StatusError as error:
            return Reply(error.code, orjson.dumps(error.to_status()), "application/json")

    async def send(self, text: str | bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection as the administrator and send a request."""
        context = client_context(self.pki.admin())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        writer.write(text.encode() if isinstance(text, str) else text)
        return reader, writer

    async def ask(
        self, target: str, *headers: str, method: str = "GET", body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body of an answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: api:6443", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        reader, writer = await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        first, *named = head.decode().split("\r\n")
        answered: dict[str, str] = {}
        for line in named:
            name, _, value = line.partition(": ")
            old = answered.get(name.lower())
            answered[name.lower()] = f"{old}, {value}" if old else value
        if answered.get("transfer-encoding") == "chunked" and method != "HEAD":
            rest = unchunked(rest)
        return int(first.split(" ")[1]), answered, rest

    async def message(self, target: str, *headers: str, **given: Any) -> tuple[int, str]:
        """Return code and message of a Status."""
        status, _, body = await self.ask(target, *headers, **given)
        said = orjson.loads(body)
        assert (said["kind"], said["code"]) == ("Status", status)
        return status, said["message"]


def unchunked(data: bytes) -> bytes:
    """Return the body of a chunked answer, which must be complete."""
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert data == b"\r\n"
            return out
        out += data[:length]
        data = data[length + 2 :]


def pod(name: str = "p", ip: str = POD_IP, **spec: Any) -> dict[str, Any]:
    """Return a pod on n1 whose container listens on `web`, 8080."""
    container = {"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}
    return {
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"nodeName": "n1", "containers": [container], **spec},
        "status": {"podIP": ip, "podIPs": [{"ip": ip}]},
    }


def service(name: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a"}, "spec": {"ports": list(ports)}}


def endpoint(address: str = POD_IP, target: str = "p", **more: Any) -> dict[str, Any]:
    """Return an endpoint of a slice; `target` "" is no pod."""
    ref = {"kind": "Pod", "namespace": "a", "name": target}
    return {"addresses": [address], **({"targetRef": ref} if target else {}), **more}


def endpoint_slice(ports: list[dict[str, Any]], *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "ports": ports, "endpoints": list(endpoints)}


@asynccontextmanager
async def proxy_world(
    directory: Path, backend_tls: ssl.SSLContext | None = None
) -> AsyncIterator[ProxyWorld]:
    """Run door, agent and backend until the block ends."""
    pki = TestPki(directory)
    verbs, gate, backend = StubVerbs(), OpenGate(), Backend()
    world = ProxyWorld(verbs, gate, backend, Direct(backend), pki)
    listener = await asyncio.start_server(backend.serve, "127.0.0.1", 0, ssl=backend_tls)
    backend.port = listener.sockets[0].getsockname()[1]
    agent = HttpsServer(
        "127.0.0.1", 0, server_context(pki.files("system:node:n1", server=True)), world.agent
    )
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    documents = Documents(get_discovery(), get_openapi(), clock=clock, checks=dict)
    us = pki.files("system:apiserver", ("system:masters",))
    door = RestDoor(
        verbs,
        gate,
        documents,
        dialer=TlsDialer(lambda: client_context(us, check_hostname=False)),
        clock=clock,
        metrics=metrics,
        direct=world.direct,
        rng=random.Random(1),
    )
    http = HttpServer(
        door,
        host="127.0.0.1",
        port=0,
        clock=clock,
        tls=server_context(pki.files("kube-apiserver", server=True), require_client=False),
        limits=Limits(drain_s=1, in_flight=2, mutating_in_flight=2),
        is_long_running=is_long_running,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(http.run()), tasks.create_task(agent.run())]
        await http.listening.wait()
        await agent.listening.wait()
        world.port = http.port
        verbs.objects["nodes", "", "n1"] = {
            "metadata": {"name": "n1"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port}},
            },
        }
        verbs.objects["pods", "a", "p"] = pod()
        try:
            async with asyncio.timeout(90):
                yield world
        finally:
            listener.close()
            for task in running:
                task.cancel()


def in_proxy_world(
    directory: Path,
    story: Callable[[ProxyWorld], Awaitable[None]],
    backend_tls: ssl.SSLContext | None = None,
) -> None:
    """Run a story."""

    async def main() -> None:
        async with proxy_world(directory, backend_tls) as world:
            await story(world)

    uvloop.run(main())
