"""A REST front, the agent of its node n1, and a backend behind the pods."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop
from rest_front import RestFront, running
from scripted_server import ScriptedServer

from wherry.agent.http1 import Answer, HttpsServer, Reply, Takeover
from wherry.agent.http1 import Request as AgentRequest
from wherry.agent.streaming import dial
from wherry.api.errors import StatusError
from wherry.apiserver.tunnel.agent import AgentAddress, AgentConnection, TcpDialer
from wherry.pki.tls import server_context

NAMESPACE = "/api/v1/namespaces/a"
POD = f"{NAMESPACE}/pods/p/proxy"
POD_IP = "10.9.9.9"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Direct:
    """Connects where the backend is, whatever is asked for."""

    backend: ScriptedServer
    asked: list[AgentAddress] = field(default_factory=list)

    async def dial(self, address: AgentAddress) -> AgentConnection:
        self.asked.append(address)
        return await TcpDialer().dial(AgentAddress("", "127.0.0.1", self.backend.port))


class ProxyWorld(RestFront):
    """See the module; pod p is there from the beginning."""

    def __init__(self, directory: Path) -> None:
        self.backend = ScriptedServer(HELLO)
        self.direct = Direct(self.backend)
        super().__init__(directory, direct=self.direct)
        self.dialled: list[str] = []
        """What the agent was asked for, path and query."""
        self.closed_port = False
        """Whether nobody listens at the pod's port."""
        self.verbs.objects["pods", "a", "p"] = pod()

    async def agent(self, request: AgentRequest) -> Answer:
        """Answer as the agent of n1."""
        self.dialled.append(request.head.decode().split(" ")[1])
        if not request.path.startswith("/dial/"):
            return Reply(200, request.head)
        try:
            return Takeover(await dial("127.0.0.1", 1 if self.closed_port else self.backend.port))
        except StatusError as error:
            return Reply(error.code, orjson.dumps(error.to_status()), "application/json")


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


def in_proxy_world(
    directory: Path,
    story: Callable[[ProxyWorld], Awaitable[None]],
    backend_tls: ssl.SSLContext | None = None,
) -> None:
    """Tell a story with door, agent and backend running."""

    async def main() -> None:
        world = ProxyWorld(directory)
        tls = server_context(world.pki.files("system:node:n1", server=True))
        agent = HttpsServer("127.0.0.1", 0, tls, world.agent)
        async with world.backend.listening(backend_tls), running(world.http, agent):
            world.register(agent.port)
            await story(world)

    uvloop.run(main())
