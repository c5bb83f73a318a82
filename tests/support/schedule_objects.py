"""Builders of pods and nodes for the scheduler's tests: dicts for the API, views for decisions."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wherry.api.objects import Node, Pod, Service
from wherry.scheduler.cache import Cache
from wherry.scheduler.node_info import PodInfo

Json = dict[str, Any]


def node_object(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: int = 110,
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Json] = (),
    unschedulable: bool = False,
    **allocatable: str,
) -> Json:
    extra = {key.replace("_", "-"): value for key, value in allocatable.items()}
    return {
        "metadata": {"name": name, "uid": f"node-{name}", "labels": dict(labels or {})},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": str(pods), **extra}},
    }


def pod_object(
    name: str,
    *,
    cpu: str = "",
    memory: str = "",
    labels: Mapping[str, str] | None = None,
    owner: str = "",
    host_port: int = 0,
    requests: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    asked = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v} | dict(requests or {})
    ports = [{"containerPort": host_port, "hostPort": host_port}] if host_port else []
    container = {"name": "c", "resources": {"requests": asked}, "ports": ports}
    owners = [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": owner,
            "uid": owner,
            "controller": True,
        }
    ]
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"pod-{name}",
            "labels": dict(labels or {}),
            "ownerReferences": owners if owner else [],
        },
        "spec": {"containers": [container], **spec},
    }


def node(name: str, **fields: Any) -> Node:
    return msgspec.convert(node_object(name, **fields), Node)


def pod(name: str, **fields: Any) -> PodInfo:
    return PodInfo.of(msgspec.convert(pod_object(name, **fields), Pod))


def service(name: str, selector: Mapping[str, str]) -> Service:
    obj = {"metadata": {"name": name, "namespace": "default"}, "spec": {"selector": dict(selector)}}
    return msgspec.convert(obj, Service)


def cluster(nodes: Iterable[Node], pods: Mapping[str, Iterable[PodInfo]] | None = None) -> Cache:
    """Build a cluster: nodes, and pods by the node that they are bound to."""
    cache = Cache()
    for item in nodes:
        cache.set_node(item)
    for name, bound in (pods or {}).items():
        for info in bound:
            cache.set_pod(info, name)
    return cache
