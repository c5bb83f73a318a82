"""Hollow nodes, many in one process: they share informers, writers and the server.

    one pods informer -> by nodeName -> the node's Agent -> its HollowRuntime
    one nodes informer (pod subnets), one heartbeat scheduler, one status writer

The runtimes are given from outside where they shall outlive the agents, as containerd would.
"""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from wherry.agent.agent import Agent, AgentConfig, AgentParts
from wherry.agent.checkpoint import NoCheckpoint
from wherry.agent.configure import PodSettings
from wherry.agent.container_actions import Event
from wherry.agent.heartbeat import Heartbeats
from wherry.agent.hollow import HollowRuntime
from wherry.agent.http1 import HttpsServer
from wherry.agent.machine import HollowMachine
from wherry.agent.node_object import NodeIdentity
from wherry.agent.pod_host import HollowPodHost
from wherry.agent.probe_runner import HollowProbeRunner
from wherry.agent.server import AgentServer
from wherry.agent.status_writer import StatusWriter
from wherry.agent.views import Pod
from wherry.api.clock import Clock
from wherry.api.kinds import NODE, POD
from wherry.api.objects import Node
from wherry.client.api import Api
from wherry.client.events import EventRecorder
from wherry.client.informer import Informer


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """Settings of hollow nodes.

    `quiet` writes no events of pods' containers (warnings always are); `tls` None: no server.
    `gather_s`: how long a status waits for a newer one before it is written.
    """

    nodes: tuple[NodeIdentity, ...]
    quiet: bool = True
    gather_s: float = 0.1
    host: str = "127.0.0.1"
    port: int = 10250
    tls: ssl.SSLContext | None = None


class HollowFleet:
    """Everything of `wherry agent --runtime hollow`.

    Args:
        config: The nodes.
        api: The API server.
        clock: Time.
        rng: Chance.
        runtimes: Runtimes by node name that exist already; the others are made.
    """

    def __init__(
        self,
        config: FleetConfig,
        api: Api,
        clock: Clock,
        rng: Random,
        runtimes: Mapping[str, HollowRuntime] | None = None,
    ) -> None:
        names = [n.name for n in config.nodes]
        only = names[0] if len(names) == 1 else ""
        self._pods = Informer(
            api, POD, Pod, fields=f"spec.nodeName={only}" if only else "spec.nodeName!=", rng=rng
        )
        self._nodes = Informer(
            api, NODE, Node, fields=f"metadata.name={only}" if only else "", rng=rng
        )
        self._statuses = StatusWriter(api, rng, gather_s=config.gather_s)
        self._recorder = EventRecorder(api, clock, "kubelet", only or "hollow", rng=rng)
        self.runtimes = dict(runtimes or {})
        self.agents: dict[str, Agent] = {}
        machine = HollowMachine()
        settings = PodSettings(
            log_root="/var/log/pods",
            node_memory_bytes=machine.info().memory_bytes,
            node_cpu_millicores=machine.info().cpu_millicores,
        )
        for number, identity in enumerate(config.nodes):
            runtime = self.runtimes.setdefault(
                identity.name,
                HollowRuntime(clock, name=identity.name, pod_cidr=_cidr(names[0], number)),
            )
            parts = AgentParts(
                runtime=runtime,
                host=HollowPodHost(),
                probes=HollowProbeRunner(clock),
                machine=machine,
                checkpoint=NoCheckpoint(),
                statuses=self._statuses,
                event=_filtered(self._recorder.event) if config.quiet else self._recorder.event,
            )
            agent_config = AgentConfig(identity, settings)
            view = _PodsOfNode(self._pods, identity.name)
            self.agents[identity.name] = Agent(
                agent_config, api, clock, rng, parts, view, self._nodes
            )
        self._pods.add_index("node", lambda p: (p.spec.node_name,))
        self._pods.add_listener(self._pod_changed)
        self._nodes.add_listener(self._node_changed)
        self._heartbeats = Heartbeats([a.heartbeat for a in self.agents.values()], rng)
        agents = list(self.agents.values())
        self.server = (
            HttpsServer(config.host, config.port, config.tls, AgentServer(agents, clock).handle)
            if config.tls is not None
            else None
        )

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        agent = self.agents.get(pod.spec.node_name) if pod is not None else None
        if agent is not None:
            agent.pod_changed(old, new)

    def _node_changed(self, _old: Node | None, new: Node | None) -> None:
        if new is not None and new.spec.pod_cidr and new.metadata.name in self.runtimes:
            self.runtimes[new.metadata.name].use_pod_cidr(new.spec.pod_cidr)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            shared = (
                self._pods,
                self._nodes,
                self._statuses,
                self._recorder,
                self._heartbeats,
            )
            components: list[_Component] = [*shared, *self.agents.values()]
            for component in components:
                tasks.create_task(component.run(), name=type(component).__name__)
            if self.server is not None:
                tasks.create_task(self.server.run(), name="server")


class _Component(Protocol):
    async def run(self) -> None: ...


class _PodsOfNode:
    """The part of a shared informer that one agent looks at."""

    def __init__(self, pods: Informer[Pod], node: str) -> None:
        self._pods = pods
        self._node = node

    @property
    def synced(self) -> asyncio.Event:
        """Return the shared event."""
        return self._pods.synced

    def values(self) -> list[Pod]:
        """Return the node's pods."""
        return self._pods.by_index("node", self._node)


def _cidr(first: str, number: int) -> str:
    """Return an address range for a node that has no podCIDR yet.

    Fleets in processes of their own count from different places, which the name of their
    first node decides, so that pods of several hollow hosts rarely share an address.
    """
    block = (zlib.crc32(first.encode()) + number // 256) % 64
    return f"10.{128 + block}.{number % 256}.0/24"


def _filtered(record: Event) -> Event:
    def event(ref: dict[str, Any], type_: str, reason: str, message: str) -> None:
        if type_ == "Warning" or ref.get("kind") == "Node":
            record(ref, type_, reason, message)

    return event
