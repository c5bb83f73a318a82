"""The agent of one node: one worker a pod, and what they share.

    pods informer (or, before it has synced, the checkpoint) -> workers by uid
    runtime events -> the worker of the container's pod
    slow relist    -> workers of pods that changed unseen; orphans, once the API has been heard
    heartbeats, garbage, log rotation, the HTTPS server

`Agent` wires and routes; it decides nothing. It may be killed at any await: the next one finds
everything again (tests/integration/test_agent_*.py kill it).
"""

import asyncio
import logging
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from wherry.agent.admission import admit
from wherry.agent.checkpoint import Checkpoint
from wherry.agent.configure import PodSettings, pod_ref
from wherry.agent.container_actions import Event, NodeServices
from wherry.agent.heartbeat import Heartbeat
from wherry.agent.images import ImagePuller
from wherry.agent.machine import Machine
from wherry.agent.node_object import NodeIdentity, NodeState
from wherry.agent.plan import Rejection
from wherry.agent.pod_host import PodHost
from wherry.agent.pod_worker import PodWorker
from wherry.agent.probe_runner import ProbeRunner
from wherry.agent.resize import NodeSize
from wherry.agent.runtime import (
    ContainerState,
    Runtime,
    RuntimeEvent,
    RuntimeEventKind,
    RuntimeHealth,
    RuntimePod,
    RuntimeRefusedError,
    RuntimeVersion,
)
from wherry.agent.runtime_config import PodRef
from wherry.agent.status_writer import StatusWriter
from wherry.agent.views import Pod
from wherry.api.clock import Clock
from wherry.api.errors import UnavailableError
from wherry.api.objects import Node
from wherry.client.api import Api
from wherry.client.informer import Informer

log = logging.getLogger(__name__)
RELIST_S: Final = 15.0
RECONNECT_S: Final = 1.0
START_SLOTS: Final = 8
"""Sandboxes and containers made at a time; more makes each slower (see notes of the data plane)."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A node's settings."""

    identity: NodeIdentity
    settings: PodSettings
    runtime_events: bool = True


@dataclass(frozen=True, slots=True)
class AgentParts:
    """The adapters of one node; a hollow node has hollow ones."""

    runtime: Runtime
    host: PodHost
    probes: ProbeRunner
    machine: Machine
    checkpoint: Checkpoint
    statuses: StatusWriter
    event: Event


class PodSource(Protocol):
    """The node's pods: an informer, or a node's part of one."""

    @property
    def synced(self) -> asyncio.Event:
        """Set once the API has been heard."""
        ...

    def values(self) -> list[Pod]:
        """Return the pods bound to this node."""
        ...


class Agent:
    """The kubelet of one node.

    Args:
        config: The node's settings.
        api: The API server.
        clock: Time.
        rng: Chance.
        parts: The node's adapters.
        pods: The node's pods; run by who made it, with `pod_changed` as listener.
        nodes: An informer whose items include the node; run by who made it.
    """

    def __init__(
        self,
        config: AgentConfig,
        api: Api,
        clock: Clock,
        rng: Random,
        parts: AgentParts,
        pods: PodSource,
        nodes: Informer[Node],
    ) -> None:
        self._config = config
        self._clock = clock
        self._rng = rng
        self._parts = parts
        self._pods = pods
        self._nodes = nodes
        self._workers: dict[str, PodWorker] = {}
        self._homes: dict[str, PodRef] = {}
        self._prints: dict[str, tuple[object, ...]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._relist = asyncio.Event()
        self._node_state: NodeState | None = None
        self.heartbeat = Heartbeat(
            config.identity, api, clock, self._observe, self._node_event, self._node
        )

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self._config.identity.name

    @property
    def ip(self) -> str:
        """Return the node's address."""
        return self._config.identity.ip

    @property
    def runtime(self) -> Runtime:
        """Return the node's runtime."""
        return self._parts.runtime

    @property
    def host(self) -> PodHost:
        """Return the node's side of pods."""
        return self._parts.host

    @property
    def machine(self) -> Machine:
        """Return the machine."""
        return self._parts.machine

    # -- what others ask --------------------------------------------------------------------

    def pods(self) -> list[Pod]:
        """Return the pods that are to run here."""
        return [w.pod for w in self._workers.values() if w.pod is not None]

    def references_changed(self, uid: str) -> None:
        """A ConfigMap or Secret that a pod uses has changed."""
        worker = self._workers.get(uid)
        if worker is not None:
            worker.references_changed()

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod by its name; of several, the youngest that is in the API."""
        named = [
            w for w in self._workers.values() if w.ref.namespace == namespace and w.ref.name == name
        ]
        return max(named, key=_youth, default=None)

    # -- running ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled."""
        saved = await self._parts.checkpoint.load_pods()
        version = await self._wait_for_runtime()
        self._services = NodeServices(
            runtime=self._parts.runtime,
            runtime_name=version.name,
            host=self._parts.host,
            host_ip=self._config.identity.ip,
            settings=self._config.settings,
            images=ImagePuller(self._parts.runtime, self._clock),
            probes=self._parts.probes,
            statuses=self._parts.statuses,
            checkpoint=self._parts.checkpoint,
            event=self._parts.event,
            slots=asyncio.Semaphore(START_SLOTS),
            clock=self._clock,
            rng=self._rng,
            others=self._promised_but,
        )
        async with asyncio.TaskGroup() as self._tasks:
            if not self._pods.synced.is_set():
                for pod in saved.values():
                    self._update(pod)
            for pod in self._pods.values():
                self.pod_changed(None, pod)
            self._tasks.create_task(self._forget_unbound())
            self._tasks.create_task(self._follow_events())
            self._tasks.create_task(self._relist_loop())

    async def _wait_for_runtime(self) -> RuntimeVersion:
        while True:
            try:
                return await self._parts.runtime.version()
            except UnavailableError as error:
                log.warning("%s; waiting for it", error)
                await asyncio.sleep(RECONNECT_S)

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Take a change of a pod that is, or was, bound to this node (an informer's listener)."""
        if self._tasks is None:
            return
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            worker = self._workers.get(old.metadata.uid)
            if worker is not None:
                worker.update(None)
        if new is not None:
            self._update(new)

    def _update(self, pod: Pod) -> None:
        worker = self._workers.get(pod.metadata.uid)
        rejection: Rejection | None = None
        if worker is None:
            if pod.status.phase in ("", "Pending"):
                rejection = admit(
                    pod, self.pods(), self._config.identity, self._nodes.get(self.name)
                )
            worker = self._new_worker(pod_ref(pod))
        elif worker.pod is None:
            return  # it was deleted; a late event does not bring it back
        worker.update(pod, rejection or worker.rejection)

    def _promised_but(self, uid: str) -> NodeSize:
        """Return what all pods of the node but one were promised."""
        others = (w.promised for known, w in self._workers.items() if known != uid)
        return sum(others, NodeSize())

    def _new_worker(self, ref: PodRef) -> PodWorker:
        if self._tasks is None:
            raise RuntimeError("Agent.run() is not running")
        worker = self._workers[ref.uid] = PodWorker(ref, self._services, self._seen)
        self._tasks.create_task(self._run_worker(worker), name=f"pod {ref.namespace}/{ref.name}")
        return worker

    async def _run_worker(self, worker: PodWorker) -> None:
        await worker.run()
        self._workers.pop(worker.ref.uid, None)
        self._prints.pop(worker.ref.uid, None)
        for known in [i for i, ref in self._homes.items() if ref.uid == worker.ref.uid]:
            del self._homes[known]

    async def _forget_unbound(self) -> None:
        """When the API is heard for the first time, pods of the checkpoint may be gone."""
        await self._pods.synced.wait()
        bound = {p.metadata.uid for p in self._pods.values()}
        for uid, worker in list(self._workers.items()):
            if uid not in bound:
                worker.update(None)
        self._relist.set()

    # -- the runtime --------------------------------------------------------------------------

    def _seen(self, runtime: RuntimePod) -> None:
        uid = runtime.pod.uid
        self._prints[uid] = _fingerprint(runtime)
        for sandbox in runtime.sandboxes:
            self._homes[sandbox.id] = runtime.pod
        for container in runtime.containers:
            self._homes[container.id] = runtime.pod

    async def _follow_events(self) -> None:
        if not self._config.runtime_events:
            return
        while True:
            try:
                async for event in self._parts.runtime.events():
                    self._route(event)
            except UnavailableError as error:
                log.warning("%s; again in %.0f s", error, RECONNECT_S)
            await asyncio.sleep(RECONNECT_S)

    def _route(self, event: RuntimeEvent) -> None:
        home = self._homes.get(event.id)
        worker = self._workers.get(home.uid) if home is not None else None
        if worker is None:
            if event.kind is not RuntimeEventKind.STARTED:
                self._relist.set()
            return
        worker.wake()

    async def _relist_loop(self) -> None:
        """The safety net: events may be lost, agents and containerd may die."""
        while True:
            try:
                async with asyncio.timeout(RELIST_S * (0.9 + 0.2 * self._rng.random())):
                    await self._relist.wait()
            except TimeoutError:
                pass
            self._relist.clear()
            try:
                await self._compare()
            except (UnavailableError, RuntimeRefusedError) as error:
                log.warning("relist: %s", error)
            await asyncio.sleep(RECONNECT_S / 10)

    async def _compare(self) -> None:
        actual = {p.pod.uid: p for p in await self._parts.runtime.list_pods()}
        for uid, worker in list(self._workers.items()):
            runtime = actual.pop(uid, RuntimePod(worker.ref))
            if _fingerprint(runtime) != self._prints.get(uid):
                worker.wake()
        if self._pods.synced.is_set():
            for orphan in actual.values():  # its pod is gone; nobody but us will stop it
                log.info("orphan %s/%s", orphan.pod.namespace, orphan.pod.name)
                self._new_worker(orphan.pod).update(None)

    # -- the node -----------------------------------------------------------------------------

    def _node(self) -> Node | None:
        return self._nodes.get(self.name)

    async def _observe(self) -> NodeState:
        """Look at the node; a runtime that does not answer is what the status will say."""
        runtime, machine = self._parts.runtime, self._parts.machine
        try:
            health, version = await runtime.health(), await runtime.version()
            images = await runtime.list_images()
        except (UnavailableError, RuntimeRefusedError) as error:
            health, version, images = RuntimeHealth(str(error)), RuntimeVersion("unknown", ""), []
            if self._node_state is not None:
                version, images = self._node_state.version, list(self._node_state.images)
        state = NodeState(machine.info(), machine.pressure(), version, health, images)
        self._node_state = state
        return state

    def _node_event(self, type_: str, reason: str, message: str) -> None:
        ref: dict[str, Any] = {"kind": "Node", "name": self.name, "uid": self.name}
        self._parts.event(ref, type_, reason, message)


def _youth(worker: PodWorker) -> tuple[bool, str]:
    meta = worker.pod.metadata if worker.pod is not None else None
    return meta is not None, (meta.creation_timestamp or "") if meta is not None else ""


def _fingerprint(runtime: RuntimePod) -> tuple[object, ...]:
    return (
        tuple((s.id, s.ready) for s in runtime.sandboxes),
        tuple((c.id, c.state) for c in runtime.containers if c.state is not ContainerState.CREATED),
    )
