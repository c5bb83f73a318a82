"""What a node and its pods use, in the two forms of the kubelet: a summary, and metrics as text. Pure.

Source: kubelet `stats/v1alpha1` (`/stats/summary`) and `/metrics/resource`.
"""

from collections.abc import Iterator
from typing import Any

from wherry.agent.machine import MachineInfo, Pressure
from wherry.agent.runtime import ContainerStats
from wherry.agent.usage import Usage
from wherry.api.times import format_time

Object = dict[str, Any]


def summary(node: str, used: Usage, info: MachineInfo, pressure: Pressure) -> Object:
    """Return the summary; rates are over `windowSeconds`, a field of ours."""
    now = format_time(used.at)
    pods: dict[str, list[ContainerStats]] = {}
    for container in used.containers:
        pods.setdefault(container.pod.uid, []).append(container)
    return {
        "node": {
            "nodeName": node,
            "windowSeconds": round(used.window_s, 3),
            "cpu": {
                "time": now,
                "usageNanoCores": used.machine_nanocores,
                "usageCoreNanoSeconds": used.machine_ns,
            },
            "memory": {
                "time": now,
                "availableBytes": pressure.memory_available_bytes,
                "workingSetBytes": working_set(used, info, pressure),
            },
            "fs": {
                "time": now,
                "capacityBytes": info.disk_bytes,
                "usedBytes": int(info.disk_bytes * pressure.disk_used_share),
            },
        },
        "pods": [_pod(containers, used) for containers in pods.values()],
    }


def working_set(used: Usage, info: MachineInfo, pressure: Pressure) -> int:
    """Return what is taken of the node's memory: at least what its containers have."""
    of_containers = sum(c.memory_working_set_bytes for c in used.containers)
    return max(info.memory_bytes - pressure.memory_available_bytes, of_containers)


def _pod(containers: list[ContainerStats], used: Usage) -> Object:
    pod = containers[0].pod
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "containers": [_container(c, used) for c in containers],
        "cpu": {
            "time": format_time(used.at),
            "usageNanoCores": sum(used.nanocores.get(c.id, 0) for c in containers),
            "usageCoreNanoSeconds": sum(c.cpu_usage_ns for c in containers),
        },
        "memory": {
            "time": format_time(used.at),
            "workingSetBytes": sum(c.memory_working_set_bytes for c in containers),
        },
    }


def _container(stats: ContainerStats, used: Usage) -> Object:
    at = format_time(stats.at)
    rate = used.nanocores.get(stats.id)
    return {
        "name": stats.name,
        "cpu": {
            "time": at,
            **({} if rate is None else {"usageNanoCores": rate}),
            "usageCoreNanoSeconds": stats.cpu_usage_ns,
        },
        "memory": {"time": at, "workingSetBytes": stats.memory_working_set_bytes},
        "rootfs": {"time": at, "usedBytes": stats.rootfs_used_bytes},
    }


def resource_metrics(used: Usage, info: MachineInfo, pressure: Pressure) -> str:
    """Return `/metrics/resource` in Prometheus' text format."""
    return "".join(f"{line}\n" for line in _lines(used, info, pressure))


def _lines(used: Usage, info: MachineInfo, pressure: Pressure) -> Iterator[str]:
    yield "# TYPE node_cpu_usage_seconds_total counter"
    yield f"node_cpu_usage_seconds_total {used.machine_ns / 1e9:.6f}"
    yield "# TYPE node_memory_working_set_bytes gauge"
    yield f"node_memory_working_set_bytes {working_set(used, info, pressure)}"
    yield "# TYPE container_cpu_usage_seconds_total counter"
    for stats in used.containers:
        yield f"container_cpu_usage_seconds_total{_labels(stats)} {stats.cpu_usage_ns / 1e9:.6f}"
    yield "# TYPE container_memory_working_set_bytes gauge"
    for stats in used.containers:
        bytes_ = stats.memory_working_set_bytes
        yield f"container_memory_working_set_bytes{_labels(stats)} {bytes_}"


def _labels(stats: ContainerStats) -> str:
    pod = stats.pod
    return f'{{container="{stats.name}",namespace="{pod.namespace}",pod="{pod.name}"}}'
