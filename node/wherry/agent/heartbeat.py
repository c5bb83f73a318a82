"""Telling the API server that nodes live: the Node object, its status, its Lease.

One `Heartbeats` serves every node of a process, each on its own ticks: every 10 s the Lease is
renewed and the status looked at, and written if it means something new or is 5 minutes old.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec
import orjson

from wherry.agent.node_object import (
    LEASE_NAMESPACE,
    NodeIdentity,
    NodeState,
    lease_renewal,
    meaning,
    new_lease,
    new_node,
    node_labels,
    node_status,
    same_conditions,
)
from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    StatusError,
    UnavailableError,
)
from wherry.api.kinds import LEASE, NODE
from wherry.api.objects import Node
from wherry.client.api import Api
from wherry.client.workqueue import WorkQueue

log = logging.getLogger(__name__)
TICK_S: Final = 10.0
REPORT_S: Final = 300.0
RETRY_S: Final = 2.0
WORKERS: Final = 8

Observe = Callable[[], Awaitable[NodeState]]
Json = dict[str, Any]


class Heartbeat:
    """One node's registration and heartbeat.

    Args:
        identity: Who.
        api: The API server.
        clock: Dates.
        observe: Looks at the node.
        event: Records an event about the node: (type, reason, message).
        current: The Node as the watch last had it.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        api: Api,
        clock: Clock,
        observe: Observe,
        event: Callable[[str, str, str], None],
        current: Callable[[], Node | None],
    ) -> None:
        self.identity = identity
        self._api = api
        self._clock = clock
        self._observe = observe
        self._event = event
        self._current = current
        self._node: Node | None = None
        self._written: Json = {}
        self._written_at = 0.0
        self._leased = False
        self._was_ready = False
        self.registered = asyncio.Event()

    async def beat(self) -> None:
        """Register if need be, renew the Lease, report the status if it is due."""
        state = await self._observe()
        if self._node is None:
            await self._register(state)
        try:
            await self._report(state)
            await self._renew()
        except NotFoundError:
            self._node = None  # somebody deleted the Node: register anew
            self._leased = False
            raise

    async def _register(self, state: NodeState) -> None:
        name = self.identity.name
        now = self._clock.now()
        try:
            raw = await self._api.create(NODE, orjson.dumps(new_node(self.identity, state, now)))
            log.info("registered node %s", name)
        except AlreadyExistsError:
            labels = {"metadata": {"labels": node_labels(self.identity, state.info)}}
            raw = await self._api.patch(NODE, name, orjson.dumps(labels))
        self._node = msgspec.json.decode(raw, type=Node)
        self._event("Normal", "Starting", "Starting kubelet.")
        self.registered.set()

    async def _report(self, state: NodeState) -> None:
        now = self._clock.now()
        node = _newer(self._current(), self._node)
        before = node.status.conditions if node is not None else []
        status = node_status(self.identity, state, before, now)
        changed = meaning(status) != self._written
        overruled = not same_conditions(status["conditions"], before)
        if not (changed or overruled) and now - self._written_at < REPORT_S:
            return
        patch: Json = {"status": status}
        if node is not None:  # conditions of others are in the list too: never overwrite newer ones
            patch["metadata"] = {"resourceVersion": node.metadata.resource_version}
        raw = await self._api.patch(
            NODE, self.identity.name, orjson.dumps(patch), subresource="status"
        )
        self._node = msgspec.json.decode(raw, type=Node)
        self._written, self._written_at = meaning(status), now
        if _ready(self._node) != self._was_ready:
            self._was_ready = _ready(self._node)
            reason = "NodeReady" if self._was_ready else "NodeNotReady"
            self._event("Normal", reason, f"Node {self.identity.name} status is now: {reason}")

    async def _renew(self) -> None:
        now, name = self._clock.now(), self.identity.name
        if self._leased:
            body = orjson.dumps({"spec": lease_renewal(now)})
            await self._api.patch(LEASE, name, body, LEASE_NAMESPACE)
            return
        uid = self._node.metadata.uid if self._node is not None else ""
        fresh = new_lease(self.identity, uid, now)
        try:
            await self._api.create(LEASE, orjson.dumps(fresh), LEASE_NAMESPACE)
        except AlreadyExistsError:
            del fresh["metadata"]["namespace"]
            await self._api.patch(LEASE, name, orjson.dumps(fresh), LEASE_NAMESPACE)
        self._leased = True


def _newer(one: Node | None, other: Node | None) -> Node | None:
    """Return the node that was read later; resourceVersions of one object grow."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda n: int(n.metadata.resource_version or 0))


def _ready(node: Node | None) -> bool:
    conditions = node.status.conditions if node is not None else []
    return any(c.type == "Ready" and c.status == "True" for c in conditions)


class Heartbeats:
    """Ticks for many nodes, spread over the interval."""

    def __init__(self, nodes: Sequence[Heartbeat], rng: Random) -> None:
        self._nodes = {n.identity.name: n for n in nodes}
        self._rng = rng
        self._queue = WorkQueue(rng)

    async def run(self) -> None:
        """Beat until cancelled."""
        for name in self._nodes:
            self._queue.add(name)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(WORKERS, len(self._nodes))):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            delay_s = TICK_S * (0.95 + 0.1 * self._rng.random())
            try:
                await self._nodes[name].beat()
            except (UnavailableError, ConflictError, StatusError) as error:
                log.warning("heartbeat of node %s: %s", name, error)
                delay_s = RETRY_S * (1 + self._rng.random())
            finally:
                self._queue.done(name)
            self._queue.add_after(name, delay_s)
