"""What the worker does to single containers: start with hooks, stop with hooks, and say so.

These are effects only; which container, which attempt and how much grace was decided in `sync`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from wherry.agent.checkpoint import Checkpoint
from wherry.agent.configure import PodSettings, container_config, sandbox_config
from wherry.agent.hooks import run_hook
from wherry.agent.images import ImagePuller
from wherry.agent.plan import KillContainer, StartContainer
from wherry.agent.pod_host import PodHost
from wherry.agent.probe_runner import ProbeRunner
from wherry.agent.resize import NodeSize
from wherry.agent.resources import container_resources
from wherry.agent.runtime import Runtime, RuntimeRefusedError, Sandbox
from wherry.agent.runtime_config import ContainerConfig, PodRef
from wherry.agent.status_writer import StatusWriter
from wherry.agent.views import Container, LifecycleHandler, Pod
from wherry.api.clock import Clock
from wherry.api.errors import WherryError

Event = Callable[[dict[str, Any], str, str, str], None]


@dataclass(frozen=True, slots=True)
class NodeServices:
    """What the workers of a node share."""

    runtime: Runtime
    runtime_name: str
    host: PodHost
    host_ip: str
    settings: PodSettings
    images: ImagePuller
    probes: ProbeRunner
    statuses: StatusWriter
    checkpoint: Checkpoint
    event: Event
    slots: asyncio.Semaphore
    clock: Clock
    rng: Random
    others: Callable[[str], NodeSize]
    """What the pods of the node but one (its uid) were promised."""


class StartError(WherryError):
    """The runtime would not create or start a container; `retry_at` 0 backs off."""

    def __init__(self, reason: str, message: str, retry_at: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_at = retry_at


class PodEvents:
    """Events about one pod and its containers."""

    def __init__(self, ref: PodRef, record: Event) -> None:
        self._ref = ref
        self._record = record

    def pod(self, type_: str, reason: str, message: str, path: str = "") -> None:
        """Record an event; `path` names the part of the pod that it is about."""
        ref = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": self._ref.namespace,
            "name": self._ref.name,
            "uid": self._ref.uid,
            **({"fieldPath": path} if path else {}),
        }
        self._record(ref, type_, reason, message)

    def container(
        self, pod: Pod, container: Container, type_: str, reason: str, message: str
    ) -> None:
        """Record an event about a container."""
        self.pod(type_, reason, message, f"spec.{_field(pod, container)}{{{container.name}}}")


def _field(pod: Pod, container: Container) -> str:
    """Return the list of the pod's spec that the container stands in."""
    if any(c.name == container.name for c in pod.spec.init_containers):
        return "initContainers"
    ephemeral = any(c.name == container.name for c in pod.spec.ephemeral_containers)
    return "ephemeralContainers" if ephemeral else "containers"


class ContainerActions:
    """Starts and stops the containers of one pod."""

    def __init__(self, node: NodeServices, events: PodEvents) -> None:
        self._node = node
        self._events = events
        self._pre_stopped: set[str] = set()

    async def start(
        self,
        pod: Pod,
        sandbox: Sandbox,
        container: Container,
        action: StartContainer,
        pod_ip: str,
    ) -> None:
        """Pull the image if needed, create, start, run postStart.

        Raises:
            ImageError: the image is not to be had.
            ContainerConfigError: something that the container names is missing.
            MountError: a mount is not possible.
            StartError: the runtime refused.
        """
        node = self._node
        auths = await node.host.image_auths(pod, container.image)
        image = await node.images.ensure(
            pod.metadata.uid,
            container,
            auths,
            lambda kind, reason, text: self._events.container(pod, container, kind, reason, text),
        )
        given = await node.host.container(pod, container, action.attempt, pod_ip)
        config = container_config(
            pod, container, action, image, given.env, given.mounts, node.settings
        )
        if action.target_id:
            config = replace(config, target_id=action.target_id)
        async with node.slots:
            container_id = await self._create_and_start(pod, sandbox, container, config)
        hook = container.lifecycle.post_start
        if hook is not None:
            await self._post_start(pod, container, hook, container_id, pod_ip)

    async def _create_and_start(
        self, pod: Pod, sandbox: Sandbox, container: Container, config: ContainerConfig
    ) -> str:
        node, name = self._node, container.name
        outer = sandbox_config(pod, sandbox.attempt, node.settings)
        try:
            container_id = await node.runtime.create_container(sandbox.id, config, outer)
        except RuntimeRefusedError as error:
            raise StartError("CreateContainerError", str(error), 0.0) from error
        self._events.container(pod, container, "Normal", "Created", f"Created container {name}")
        try:
            await node.runtime.start_container(container_id)
        except RuntimeRefusedError as error:
            # The attempt stands in the runtime as EXITED 128: its back-off decides from here.
            raise StartError("RunContainerError", str(error), node.clock.now()) from error
        self._events.container(pod, container, "Normal", "Started", f"Started container {name}")
        return container_id

    async def _post_start(
        self, pod: Pod, container: Container, hook: LifecycleHandler, container_id: str, pod_ip: str
    ) -> None:
        failure = await run_hook(self._node.runtime, hook, container, container_id, pod_ip)
        if failure:
            self._events.container(
                pod, container, "Warning", "FailedPostStartHook", "PostStartHook failed"
            )
            self._events.container(pod, container, "Normal", "Killing", "FailedPostStartHook")
            await self._node.runtime.stop_container(
                container_id, pod.spec.termination_grace_period_seconds
            )

    async def resize(self, pod: Pod, container: Container, container_id: str) -> None:
        """Give a running container the resources that it should have now.

        Raises:
            RuntimeRefusedError: the runtime would not.
            UnavailableError: it does not answer.
        """
        node = self._node
        resources = container_resources(pod, container, node.settings.node_memory_bytes)
        await node.runtime.update_resources(container_id, resources)
        text = f"Container {container.name} was resized"
        self._events.container(pod, container, "Normal", "Resized", text)

    async def kill(self, pod: Pod | None, action: KillContainer, pod_ip: str) -> None:
        """Run preStop and stop the container, both within the grace period; None: without hooks.

        Raises:
            RuntimeRefusedError: the runtime would not.
            UnavailableError: it does not answer.
        """
        container = pod.container(action.name) if pod is not None else None
        began = self._node.clock.monotonic()
        grace_s = action.grace_s
        if pod is not None and container is not None:
            self._events.container(pod, container, "Normal", "Killing", action.message)
            hook = container.lifecycle.pre_stop
            if hook is not None and action.id not in self._pre_stopped and grace_s > 0:
                self._pre_stopped.add(action.id)  # once, also if the grace period is cut short
                await self._pre_stop(pod, container, hook, action, pod_ip)
                grace_s = max(grace_s - (self._node.clock.monotonic() - began), 2.0)
        await self._node.runtime.stop_container(action.id, grace_s)

    async def _pre_stop(
        self,
        pod: Pod,
        container: Container,
        hook: LifecycleHandler,
        action: KillContainer,
        pod_ip: str,
    ) -> None:
        try:
            async with asyncio.timeout(action.grace_s):
                failure = await run_hook(self._node.runtime, hook, container, action.id, pod_ip)
        except TimeoutError:
            failure = "preStop hook did not end within the grace period"
        if failure:
            self._events.container(
                pod, container, "Warning", "FailedPreStopHook", "PreStopHook failed"
            )
