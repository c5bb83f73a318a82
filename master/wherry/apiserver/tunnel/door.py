"""Subresources of pods that are streams: find the agent, ask it, pass its answer on."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import orjson

from wherry.api import kinds
from wherry.api.errors import BadGatewayError, BadRequestError, NotFoundError
from wherry.apiserver.gate import Action
from wherry.apiserver.http.message import (
    NO_CACHE,
    Reply,
    Request,
    Response,
    Stream,
    Tunnel,
    Upgrade,
)
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.rest.query import Query
from wherry.apiserver.tunnel.agent import (
    AgentAddress,
    AgentConnection,
    AgentResponse,
    Dialer,
    request,
)
from wherry.apiserver.tunnel.pod import (
    StreamPod,
    agent_target,
    decode_node,
    decode_pod,
    node_of,
    websocket_protocols,
)
from wherry.apiserver.verbs import Context, User, Verbs

_POD = BY_KIND[kinds.POD]
_NODE = BY_KIND[kinds.NODE]
_CHUNK = 64 * 1024
_PASSED_ON = ("x-stream-protocol-version", "sec-websocket-key", "sec-websocket-version", "origin")
"""Headers of an upgrade request that the stream server needs; no credentials among them."""


class PodStreams:
    """log, exec, attach and portforward of pods."""

    def __init__(self, verbs: Verbs, dialer: Dialer, metrics: Metrics) -> None:
        self._verbs = verbs
        self._dialer = dialer
        self._metrics = metrics

    async def log(self, action: Action, query: Query, user: User) -> Reply:
        """Return a container's log as text, as the agent sends it."""
        pod = await self._pod(action, user)
        target = agent_target(pod, "log", query)
        address = await self._address(node_of(pod), user)
        answer = await request(self._dialer, address, "GET", target, [("Connection", "close")])
        if answer.status != 200:
            return await _failure(answer)
        return Stream(self._copy(action, answer), content_type="text/plain", headers=[NO_CACHE])

    async def connect(self, action: Action, req: Request, query: Query, user: User) -> Reply:
        """Upgrade to exec, attach or port-forward.

        Raises:
            BadRequestError: no upgrade, or to a protocol that is not spoken; kubectl then
                tries SPDY by itself.
        """
        pod = await self._pod(action, user)
        target = agent_target(pod, action.subresource, query)
        headers = _upgrade_headers(req)
        address = await self._address(node_of(pod), user)
        answer = await request(self._dialer, address, req.method, target, headers)
        if answer.status != 101:
            return await _failure(answer)

        async def run(tunnel: Tunnel) -> None:
            self._metrics.opened("rest", action.attributes)
            try:
                await tunnel.write(answer.head)
                await relay(tunnel, answer.connection)
            finally:
                answer.connection.writer.close()
                self._metrics.closed("rest", action.attributes)

        return Upgrade(run)

    async def _pod(self, action: Action, user: User) -> StreamPod:
        raw = await self._verbs.get(Context(user), _POD, action.namespace, action.name)
        return decode_pod(raw)

    async def _address(self, node_name: str, user: User) -> AgentAddress:
        try:
            raw = await self._verbs.get(Context(user), _NODE, "", node_name)
        except NotFoundError as error:
            raise BadGatewayError(f"error dialing backend: no such node {node_name}") from error
        host, port = decode_node(raw).address
        if not host:
            raise BadGatewayError(f"error dialing backend: node {node_name} has no address")
        return AgentAddress(node_name, host, port)

    async def _copy(self, action: Action, answer: AgentResponse) -> AsyncGenerator[bytes, None]:
        self._metrics.opened("rest", action.attributes)
        body = answer.body()
        try:
            async for piece in body:
                yield piece
        finally:
            await body.aclose()
            self._metrics.closed("rest", action.attributes)


def _upgrade_headers(req: Request) -> list[tuple[str, str]]:
    """Return the headers of the request to the agent."""
    protocol = req.headers.get("upgrade", "").lower()
    if not req.upgrade or protocol not in ("websocket", "spdy/3.1"):
        raise BadRequestError("Upgrade request required")
    headers = [("Connection", "Upgrade"), ("Upgrade", req.headers["upgrade"])]
    headers += [(name, value) for name, value in req.header_lines if name in _PASSED_ON]
    if protocol == "websocket":
        passed = websocket_protocols(req.headers.get("sec-websocket-protocol", ""))
        if passed is None:
            raise BadRequestError("Upgrade request required: none of the subprotocols is served")
        if passed:
            headers.append(("Sec-WebSocket-Protocol", passed))
    return headers


async def _failure(answer: AgentResponse) -> Response:
    """Pass an agent's refusal on."""
    # An upgrade or a log was asked for: any other success is no answer.
    code = answer.status if 400 <= answer.status < 600 else 502
    return Response(code, orjson.dumps({**await answer.refusal(), "code": code}))


async def relay(client: Tunnel, agent: AgentConnection) -> None:
    """Copy both ways until either side ends."""

    async def upwards() -> None:
        with suppress(OSError):
            while data := await client.read():
                agent.writer.write(data)
                await agent.writer.drain()
        agent.writer.close()  # the agent's side then ends, and with it the other direction

    async with asyncio.TaskGroup() as tasks:
        up = tasks.create_task(upwards())
        with suppress(OSError):
            while data := await agent.reader.read(_CHUNK):
                await client.write(data)
        up.cancel()
