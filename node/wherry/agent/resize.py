"""Changing what a running container may use: a part of the decision for one pod. Pure.

    as asked for      -> nothing
    more than a node  -> PodResizePending, Infeasible; the container goes on as it was
    more than is left -> PodResizePending, Deferred; the same, until another pod leaves room
    else              -> PodResizeInProgress; the runtime is told, or the container is restarted
                         where its resizePolicy wants that for what changed

What a container has is what this agent told the runtime (`Applied`), else what its status says,
else what it was created with, which stands on it as an annotation: an agent that dies between
the runtime's change and the status tells the runtime once more.
Source: the kubelet's `allocation` and `kuberuntime` packages of 1.33.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from wherry.agent.resources import memory_bytes, millicores
from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod
from wherry.agent.views import Container, Pod
from wherry.api.objects import ResourceRequirements

RESOURCES_ANNOTATION: Final = "wherry.io/resources"
"""On a container: the requests and limits that it was created with, as JSON."""
_COMPUTE: Final = ("cpu", "memory")
_decode = msgspec.json.Decoder(ResourceRequirements).decode

Applied = Mapping[str, ResourceRequirements]
"""By container id."""


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What a node has for pods, or what pods of it were promised; 0 of a node is not known."""

    cpu_millicores: int = 0
    memory_bytes: int = 0

    def __add__(self, other: "NodeSize") -> "NodeSize":
        return NodeSize(
            self.cpu_millicores + other.cpu_millicores, self.memory_bytes + other.memory_bytes
        )

    def of(self, name: str) -> int:
        """Return the amount of `cpu` or `memory`."""
        return self.cpu_millicores if name == "cpu" else self.memory_bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A running container that should have other resources than it has."""

    record: ContainerRecord
    container: Container
    restart: bool


def written(container: Container) -> str:
    """Return the annotation of a container that is created now."""
    return msgspec.json.encode(_compute(container.resources)).decode()


def actual(pod: Pod, record: ContainerRecord, applied: Applied) -> ResourceRequirements | None:
    """Return what a container has; None where nobody knows (an older agent made it)."""
    if record.id in applied:
        return applied[record.id]
    said = pod.container_status(record.name)
    if said is not None and said.resources is not None and said.container_id.endswith(record.id):
        return said.resources
    text = record.annotations.get(RESOURCES_ANNOTATION)
    return _decode(text) if text else None


def wanted(pod: Pod, runtime: RuntimePod, applied: Applied) -> list[Wanted]:
    """Return the running containers whose resources are not those of the spec."""
    found = []
    for container in (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.sidecar)):
        record = next((r for r in runtime.containers if r.name == container.name), None)
        if record is None or record.state is not ContainerState.RUNNING:
            continue
        now = actual(pod, record, applied)
        if now is None or same(now, container.resources):
            continue
        found.append(Wanted(record, container, _restarts(container, now)))
    return found


def promised(pod: Pod, runtime: RuntimePod, applied: Applied) -> NodeSize:
    """Return what the pod counts on: what its containers have, and ask for where there are none yet."""
    records = {record.name: record for record in reversed(runtime.containers)}  # the newest counts
    total = NodeSize()
    for container in pod.spec.containers:
        record = records.get(container.name)
        has = actual(pod, record, applied) if record is not None else None
        total += _size(has or container.resources)
    return total


def pending(pod: Pod, has: NodeSize, size: NodeSize, others: NodeSize) -> tuple[str, str]:
    """Return why the node does not give what is asked for, and in words; ("", "") if it does.

    Args:
        pod: Which asks.
        has: What it was promised (`promised`): less is always given.
        size: What the node has.
        others: What its other pods were promised.
    """
    asked = sum((_size(c.resources) for c in pod.spec.containers), NodeSize())
    deferred = ""
    for name in ("cpu", "memory"):
        wants, most = asked.of(name), size.of(name)
        if most and wants > most:
            why = f"Node didn't have enough capacity: {name}, requested: {wants}, capacity: {most}"
            return "Infeasible", why
        used = others.of(name)
        if most and wants > has.of(name) and wants + used > most and not deferred:
            deferred = (
                f"Node didn't have enough resource: {name}, requested: {wants}, used: {used}, "
                f"capacity: {most}"
            )
    return ("Deferred", deferred) if deferred else ("", "")


def _size(resources: ResourceRequirements) -> NodeSize:
    amounts = {**resources.limits, **resources.requests}
    return NodeSize(millicores(amounts), memory_bytes(amounts))


def same(left: ResourceRequirements, right: ResourceRequirements) -> bool:
    """Tell whether both name the same amounts of cpu and memory, however they are written."""
    return _amounts(left) == _amounts(right)


def _amounts(resources: ResourceRequirements) -> tuple[int, ...]:
    requests = {**resources.limits, **resources.requests}
    return (
        millicores(requests),
        memory_bytes(requests),
        millicores(resources.limits),
        memory_bytes(resources.limits),
    )


def _restarts(container: Container, now: ResourceRequirements) -> bool:
    """Tell whether a resource changed for which the container wants to be restarted."""
    before, after = _amounts(now), _amounts(container.resources)
    changed = {"cpu": before[::2] != after[::2], "memory": before[1::2] != after[1::2]}
    return any(
        changed.get(policy.resource_name, False) and policy.restart_policy == "RestartContainer"
        for policy in container.resize_policy
    )


def _compute(resources: ResourceRequirements) -> ResourceRequirements:
    return ResourceRequirements(
        requests={k: v for k, v in resources.requests.items() if k in _COMPUTE},
        limits={k: v for k, v in resources.limits.items() if k in _COMPUTE},
    )
