"""metrics.k8s.io/v1beta1: what nodes and pods use now, asked of their agents.

    kubectl top -> apiserver -> GET /stats/summary of each agent, over mTLS -> NodeMetrics, PodMetrics

Nothing is stored and nothing runs while nobody asks. A node that does not answer is left out,
as one is that a metrics server could not scrape.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from wherry.api import kinds
from wherry.api.errors import MethodNotAllowedError, NotFoundError, StatusError
from wherry.apiserver.gate import Attributes, Gate, authorize
from wherry.apiserver.metrics_kinds import GROUP, VERSION, node_metrics, pod_metrics
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.rest.query import Query, list_options
from wherry.apiserver.tunnel.agent import AgentAddress, Dialer, request
from wherry.apiserver.tunnel.pod import StreamNode, decode_node
from wherry.apiserver.verbs import Context, User, Verbs

Object = dict[str, Any]
_NODE, _POD = BY_KIND[kinds.NODE], BY_KIND[kinds.POD]
_AT_ONCE = 16
_ANSWER_S = 10.0
_MOST_BYTES = 16 << 20


class NodeUsage:
    """Answers requests below `/apis/metrics.k8s.io/v1beta1`."""

    def __init__(self, verbs: Verbs, gate: Gate, dialer: Dialer) -> None:
        self._verbs = verbs
        self._gate = gate
        self._dialer = dialer

    async def answer(self, parts: Sequence[str], method: str, query: Query, user: User) -> bytes:
        """Return a list, or one object.

        Args:
            parts: The path after the version: `nodes`, `namespaces/NS/pods/NAME`, ...
            method: Only GET and HEAD are served.
            query: Selectors are those of the nodes and pods themselves.
            user: Who asks; authorized here.

        Raises:
            NotFoundError: no such path, object, or no figures of it yet.
        """
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(
                "the server does not allow this method on the requested resource"
            )
        match list(parts):
            case ["nodes"]:
                found = await self._nodes(query, user)
                return _list("NodeMetricsList", found)
            case ["nodes", name]:
                self._authorize(user, "nodes", "", name)
                node = decode_node(await self._verbs.get(Context(user), _NODE, "", name))
                return orjson.dumps(_one(await self._of_nodes([node]), "nodes", name))
            case ["pods"]:
                return _list("PodMetricsList", await self._pods("", query, user))
            case ["namespaces", namespace, "pods"]:
                return _list("PodMetricsList", await self._pods(namespace, query, user))
            case ["namespaces", namespace, "pods", name]:
                self._authorize(user, "pods", namespace, name)
                raw = await self._verbs.get(Context(user), _POD, namespace, name)
                found = await self._of_pods([orjson.loads(raw)])
                return orjson.dumps(_one(found, "pods", f"{namespace}/{name}"))
            case _:
                raise NotFoundError("the server could not find the requested resource")

    def _authorize(self, user: User, resource: str, namespace: str, name: str = "") -> None:
        verb = "get" if name else "list"
        asked = Attributes(verb, GROUP, VERSION, resource, namespace=namespace, name=name)
        authorize(self._gate, user, asked)

    async def _nodes(self, query: Query, user: User) -> list[Object]:
        self._authorize(user, "nodes", "")
        page = await self._verbs.list(Context(user), _NODE, "", list_options(query))
        return await self._of_nodes([decode_node(raw) for raw in page.items])

    async def _pods(self, namespace: str, query: Query, user: User) -> list[Object]:
        self._authorize(user, "pods", namespace)
        page = await self._verbs.list(Context(user), _POD, namespace, list_options(query))
        return await self._of_pods([orjson.loads(raw) for raw in page.items])

    async def _of_nodes(self, nodes: Sequence[StreamNode]) -> list[Object]:
        summaries = await self._ask(nodes)
        return [
            node_metrics(node.metadata, summaries[node.metadata.name])
            for node in nodes
            if node.metadata.name in summaries
        ]

    async def _of_pods(self, pods: Sequence[Object]) -> list[Object]:
        names = {pod.get("spec", {}).get("nodeName", "") for pod in pods} - {""}
        nodes = []
        for name in sorted(names):
            try:
                nodes.append(decode_node(await self._verbs.get(Context(_SELF), _NODE, "", name)))
            except NotFoundError:
                continue  # its pods are about to go
        return pod_metrics(pods, (await self._ask(nodes)).values())

    async def _ask(self, nodes: Sequence[StreamNode]) -> dict[str, Object]:
        """Return the summaries of the nodes that answer."""
        found: dict[str, Object] = {}
        todo = iter(nodes)

        async def work() -> None:
            for node in todo:
                summary = await self._summary(node)
                if summary is not None:
                    found[node.metadata.name] = summary

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(_AT_ONCE, len(nodes))):
                tasks.create_task(work())
        return found

    async def _summary(self, node: StreamNode) -> Object | None:
        host, port = node.address
        if not host:
            return None
        name = node.metadata.name
        address, target = AgentAddress(name, host, port), f"/stats/summary?node={quote(name)}"
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await request(
                    self._dialer, address, "GET", target, [("Connection", "close")]
                )
                body = bytearray()
                async for piece in answer.body():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        return None
            if answer.status != 200:
                return None
            summary: Object = orjson.loads(body)
        except (StatusError, TimeoutError, orjson.JSONDecodeError):
            return None
        return summary


_SELF = User("system:apiserver", ("system:masters",))


def _list(kind: str, items: list[Object]) -> bytes:
    return orjson.dumps(
        {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}
    )


def _one(found: Sequence[Object], plural: str, name: str) -> Object:
    if found:
        return found[0]
    what = "nodemetrics" if plural == "nodes" else "podmetrics"
    raise NotFoundError(f'{what}.{GROUP} "{name}" not found', name=name, kind=what, group=GROUP)
