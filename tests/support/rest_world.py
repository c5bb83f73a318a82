"""A REST door over stub verbs, asked without HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs

from wherry.apiserver.discovery import get_discovery
from wherry.apiserver.http.message import Peer, Reply, Request, Response
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.openapi import get_openapi
from wherry.apiserver.rest.documents import Documents
from wherry.apiserver.rest.door import RestDoor
from wherry.apiserver.tokens import TokenIssuer
from wherry.apiserver.tunnel.agent import AgentAddress, AgentConnection
from wherry.apiserver.verbs import User

TOKEN = "t"
NOW = 1_790_000_000.0
POD = {
    "metadata": {"resourceVersion": "7", "name": "p", "namespace": "a", "uid": "u1"},
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {"containers": [{"name": "c"}]},
    "status": {"phase": "Running"},
}
MAP = {
    "metadata": {"resourceVersion": "8", "name": "m", "namespace": "a", "uid": "u2"},
    "apiVersion": "v1",
    "kind": "ConfigMap",
}


class StoppedClock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class NoAgents:
    async def dial(self, address: AgentAddress) -> AgentConnection:
        raise AssertionError("nobody is to be called")


class World:
    """A door, and what stands behind it; bob shows `TOKEN`."""

    def __init__(self, issuer: TokenIssuer | None = None) -> None:
        self.verbs = StubVerbs()
        self.verbs.objects["pods", "a", "p"] = POD
        self.verbs.objects["configmaps", "a", "m"] = MAP
        self.gate = OpenGate()
        self.gate.tokens["t"] = User("bob", ("devs",))
        self.broken: dict[str, str] = {"store": ""}
        clock, registry = StoppedClock(), CollectorRegistry()
        self.registry = registry
        documents = Documents(
            get_discovery(),
            get_openapi(),
            clock=clock,
            checks=lambda: self.broken,
            issuer=issuer,
            address="10.0.0.1:6443",
        )
        self.door = RestDoor(
            self.verbs,
            self.gate,
            documents,
            dialer=NoAgents(),
            clock=clock,
            metrics=Metrics(registry),
            watch_s=lambda: 1234.5,
        )

    async def ask(
        self, method: str, target: str, body: Any = b"", *, token: str = TOKEN, **headers: str
    ) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.door(Request(method, target, sent, list(sent.items()), raw, Peer()))

    async def get(self, target: str, **headers: str) -> Response:
        return answer(await self.ask("GET", target, **headers))


def answer(reply: Reply) -> Response:
    assert isinstance(reply, Response)
    return reply


def content(reply: Reply) -> Any:
    return orjson.loads(bytes(answer(reply).body))


def in_world(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(World())

    asyncio.run(main())
