"""The Node object and its Lease, as values. Source: the kubelet's `nodestatus` setters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wherry.agent.machine import MachineInfo, Pressure
from wherry.agent.runtime import Image, RuntimeHealth, RuntimeVersion
from wherry.api import version
from wherry.api.objects import Condition
from wherry.api.times import format_micro_time, format_time

Json = dict[str, Any]

MEMORY_PRESSURE_BYTES: Final = 100 << 20
DISK_PRESSURE_SHARE: Final = 0.95
PID_PRESSURE: Final = 100
MOST_IMAGES: Final = 50
LEASE_S: Final = 40
LEASE_NAMESPACE: Final = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What the user says about the node."""

    name: str
    ip: str
    port: int = 10250
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    reserved_memory_bytes: int = 100 << 20


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node status is rendered from; `messages` say what is not ready."""

    info: MachineInfo
    pressure: Pressure
    version: RuntimeVersion
    health: RuntimeHealth
    images: Sequence[Image] = ()


def node_labels(identity: NodeIdentity, info: MachineInfo) -> dict[str, str]:
    """Return the labels that the agent owns."""
    return {
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": info.operating_system,
        "kubernetes.io/arch": info.architecture,
        **identity.labels,
    }


def new_node(identity: NodeIdentity, state: NodeState, now: float) -> Json:
    """Return the Node to register."""
    node: Json = {
        "metadata": {"name": identity.name, "labels": node_labels(identity, state.info)},
        "spec": {},
        "status": node_status(identity, state, (), now),
    }
    if identity.taints:
        node["spec"]["taints"] = [dict(t) for t in identity.taints]
    return node


def node_status(
    identity: NodeIdentity, state: NodeState, before: Iterable[Condition], now: float
) -> Json:
    """Return the Node's status; times of conditions are kept while they do not change."""
    info = state.info
    memory = max(info.memory_bytes - identity.reserved_memory_bytes, 0)
    return {
        "capacity": _amounts(identity, info, info.memory_bytes),
        "allocatable": _amounts(identity, info, memory),
        "conditions": node_conditions(state, before, now),
        "addresses": [
            {"type": "InternalIP", "address": identity.ip},
            {"type": "Hostname", "address": identity.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": identity.port}},
        "nodeInfo": {
            "machineID": info.machine_id,
            "systemUUID": info.system_uuid,
            "bootID": info.boot_id,
            "kernelVersion": info.kernel_version,
            "osImage": info.os_image,
            "containerRuntimeVersion": f"{state.version.name}://{state.version.version}",
            "kubeletVersion": version.KUBERNETES,
            "kubeProxyVersion": version.KUBERNETES,
            "operatingSystem": info.operating_system,
            "architecture": info.architecture,
        },
        "images": _images(state.images),
    }


def _amounts(identity: NodeIdentity, info: MachineInfo, memory: int) -> dict[str, str]:
    whole_cpus = info.cpu_millicores % 1000 == 0
    return {
        "cpu": str(info.cpu_millicores // 1000) if whole_cpus else f"{info.cpu_millicores}m",
        "memory": f"{memory // 1024}Ki",
        "pods": str(identity.max_pods),
        "ephemeral-storage": f"{info.disk_bytes // 1024}Ki",
    }


def _images(images: Sequence[Image]) -> list[Json]:
    largest = sorted(images, key=lambda i: (-i.size_bytes, i.id))[:MOST_IMAGES]
    return [
        {"names": [*i.digests, *i.tags], "sizeBytes": i.size_bytes}
        for i in largest
        if i.digests or i.tags
    ]


def node_conditions(state: NodeState, before: Iterable[Condition], now: float) -> list[Json]:
    """Return the node's four conditions."""
    pressure = state.pressure
    pressures = (
        (
            "MemoryPressure",
            pressure.memory_available_bytes < MEMORY_PRESSURE_BYTES,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        (
            "DiskPressure",
            pressure.disk_used_share > DISK_PRESSURE_SHARE,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        (
            "PIDPressure",
            pressure.pids_available < PID_PRESSURE,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
    )
    known = {c.type: c for c in before}
    conditions = [
        _condition(kind, bad, *(yes if bad else no), known=known, now=now)
        for kind, bad, yes, no in pressures
    ]
    trouble = not_ready(state.health)
    words = (
        ("KubeletNotReady", trouble)
        if trouble
        else ("KubeletReady", "kubelet is posting ready status")
    )
    conditions.append(_condition("Ready", not trouble, *words, known=known, now=now))
    ours = {c["type"] for c in conditions}
    return conditions + [_foreign(c) for c in known.values() if c.type not in ours]


def _foreign(condition: Condition) -> Json:
    """Pass on a condition of somebody else (NetworkUnavailable) as it is."""
    fields = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastHeartbeatTime": condition.last_heartbeat_time,
        "lastTransitionTime": condition.last_transition_time,
    }
    return {k: v for k, v in fields.items() if v}


def same_conditions(rendered: Iterable[Json], known: Iterable[Condition]) -> bool:
    """Tell whether the server's conditions say what ours do (another may have set Unknown)."""
    theirs = {c.type: (c.status, c.reason, c.message) for c in known}
    return theirs == {
        c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in rendered
    }


def not_ready(health: RuntimeHealth) -> str:
    """Return what keeps the node from being ready, "" if nothing does."""
    parts = []
    if health.runtime_message:
        parts.append(
            f"container runtime status check may not have completed yet: {health.runtime_message}"
        )
    if health.network_message:
        parts.append(f"container runtime network not ready: {health.network_message}")
    return ", ".join(parts)


def _condition(
    kind: str,
    holds: bool,  # noqa: FBT001
    reason: str,
    message: str,
    *,
    known: Mapping[str, Condition],
    now: float,
) -> Json:
    status = "True" if holds else "False"
    old = known.get(kind)
    since = old.last_transition_time if old is not None and old.status == status else None
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": format_time(now),
        "lastTransitionTime": since or format_time(now),
        "reason": reason,
        "message": message,
    }


def meaning(status: Json) -> Json:
    """Return a status without its heartbeats: if this changes, it is worth writing at once."""
    conditions = [
        {k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status["conditions"]
    ]
    return {**status, "conditions": conditions}


def new_lease(identity: NodeIdentity, node_uid: str, now: float) -> Json:
    """Return the Lease that says that the node lives."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": identity.name, "uid": node_uid}
    return {
        "metadata": {
            "name": identity.name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [owner],
        },
        "spec": {
            **lease_renewal(now),
            "holderIdentity": identity.name,
            "leaseDurationSeconds": LEASE_S,
        },
    }


def lease_renewal(now: float) -> Json:
    """Return what a heartbeat changes."""
    return {"renewTime": format_micro_time(now)}
