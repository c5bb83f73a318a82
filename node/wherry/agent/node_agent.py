"""A real node: an `Agent` with containerd, files, cgroups, and all that runs beside it."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from wherry.agent.agent import Agent, AgentConfig, AgentParts
from wherry.agent.cgroups import Cgroups, LinuxCgroups
from wherry.agent.checkpoint import DiskCheckpoint
from wherry.agent.configure import PodSettings
from wherry.agent.environment import NodeFacts
from wherry.agent.garbage import GarbageCollector, LogRotator
from wherry.agent.heartbeat import Heartbeats
from wherry.agent.http1 import HttpsServer
from wherry.agent.machine import LinuxMachine, Machine
from wherry.agent.mounts import LinuxMounter, Mounter
from wherry.agent.node_object import NodeIdentity
from wherry.agent.pod_host import LinuxPodHost
from wherry.agent.probe_runner import LinuxProbeRunner
from wherry.agent.references import ReferenceCache
from wherry.agent.runtime import Runtime
from wherry.agent.server import AgentServer
from wherry.agent.status_writer import StatusWriter
from wherry.agent.tokens import TokenSource
from wherry.agent.views import Pod
from wherry.agent.volumes import Volumes
from wherry.api.clock import Clock
from wherry.api.kinds import NODE, POD, SERVICE
from wherry.api.objects import Node, Service
from wherry.client.api import Api
from wherry.client.events import EventRecorder
from wherry.client.informer import Informer

GATHER_S: Final = 0.05
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the API server connects from other hosts, by mTLS


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of a real node.

    `tls` None starts no server (tests); `host` is the address that it listens on.
    """

    identity: NodeIdentity
    root: Path
    log_root: Path
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    cgroup_root: str = ""
    seccomp_default: str = "RuntimeDefault"
    host: str = ANY_ADDRESS
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class NodeAdapters:
    """What touches the machine; tests may give others."""

    machine: Machine
    mounter: Mounter = field(default_factory=LinuxMounter)
    cgroups: Cgroups = field(default_factory=LinuxCgroups)


class NodeAgent:
    """Everything of `wherry agent --runtime cri`.

    Args:
        config: The node's settings.
        api: The API server.
        runtime: containerd; opened and closed by the caller.
        clock: Time.
        rng: Chance.
        adapters: The machine; default: this one.
    """

    def __init__(
        self,
        config: NodeConfig,
        api: Api,
        runtime: Runtime,
        clock: Clock,
        rng: Random,
        adapters: NodeAdapters | None = None,
    ) -> None:
        adapters = adapters or NodeAdapters(LinuxMachine(config.root))
        identity, machine = config.identity, adapters.machine
        info = machine.info()
        self._pods = Informer(api, POD, Pod, fields=f"spec.nodeName={identity.name}", rng=rng)
        self._nodes = Informer(api, NODE, Node, fields=f"metadata.name={identity.name}", rng=rng)
        self._services = Informer(api, SERVICE, Service, rng=rng)
        self._recorder = EventRecorder(api, clock, "kubelet", identity.name, rng=rng)
        self._statuses = StatusWriter(api, rng, gather_s=GATHER_S)
        checkpoint = DiskCheckpoint(config.root, adapters.mounter)
        volumes = Volumes(config.root, adapters.mounter)
        self._references = ReferenceCache(
            api, checkpoint, rng, self._references_changed, self._services.values
        )
        settings = PodSettings(
            log_root=str(config.log_root),
            cluster_dns=config.cluster_dns,
            cluster_domain=config.cluster_domain,
            host_dns=machine.dns(),
            cgroup_root=config.cgroup_root,
            node_memory_bytes=info.memory_bytes,
            node_cpu_millicores=info.cpu_millicores,
            seccomp_default=config.seccomp_default,
        )
        facts = NodeFacts(identity.name, identity.ip, info.cpu_millicores, info.memory_bytes)
        tokens = TokenSource(api, clock)
        host = LinuxPodHost(volumes, adapters.cgroups, self._references, tokens, settings, facts)
        parts = AgentParts(
            runtime=runtime,
            host=host,
            probes=LinuxProbeRunner(runtime),
            machine=machine,
            checkpoint=checkpoint,
            statuses=self._statuses,
            event=self._recorder.event,
        )
        agent_config = AgentConfig(identity, settings)
        self.agent = Agent(agent_config, api, clock, rng, parts, self._pods, self._nodes)
        self._pods.add_listener(self.agent.pod_changed)
        self._heartbeats = Heartbeats([self.agent.heartbeat], rng)
        self._garbage = GarbageCollector(
            runtime, machine, volumes, self._alive, self._pods.synced.is_set, clock
        )
        self._rotator = LogRotator(runtime, str(config.log_root), clock)
        self.server = (
            HttpsServer(
                config.host, identity.port, config.tls, AgentServer([self.agent], clock).handle
            )
            if config.tls is not None
            else None
        )

    def _references_changed(self, uid: str) -> None:
        self.agent.references_changed(uid)

    def _alive(self) -> list[str]:
        return [p.metadata.uid for p in (*self._pods.values(), *self.agent.pods())]

    def unready(self) -> str | None:
        """Return why the process is not ready yet; a master that is dead later is no reason."""
        return None if self._pods.synced.is_set() else "the node's pods have not been listed yet"

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for component in (
                self._references,
                self._pods,
                self._nodes,
                self._services,
                self._recorder,
                self._statuses,
                self._heartbeats,
                self._garbage,
                self._rotator,
                self.agent,
            ):
                tasks.create_task(component.run(), name=type(component).__name__)
            if self.server is not None:
                tasks.create_task(self.server.run(), name="server")
