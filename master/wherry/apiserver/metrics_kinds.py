"""NodeMetrics and PodMetrics, the kinds of metrics.k8s.io/v1beta1: made of agents' summaries. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wherry.api.kinds import Kind
from wherry.api.objects import ObjectMeta
from wherry.api.times import format_time, parse_time
from wherry.apiserver.resources import Resource

Object = dict[str, Any]
GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"
_READ = ("get", "list")
NODE_METRICS = Resource(
    Kind(GROUP, VERSION, "NodeMetrics", "nodes", namespaced=False), "", "", verbs=_READ
)
POD_METRICS = Resource(Kind(GROUP, VERSION, "PodMetrics", "pods"), "", "", verbs=_READ)
ROWS: Final = (NODE_METRICS, POD_METRICS)
"""For discovery: nothing is stored under them."""


def node_metrics(meta: ObjectMeta, summary: Object) -> Object:
    """Return a NodeMetrics."""
    used = summary["node"]
    return {
        "kind": "NodeMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": _metadata(meta.name, "", meta.labels, used["cpu"]["time"]),
        "timestamp": _seconds(used["cpu"]["time"]),
        "window": _window(summary),
        "usage": _usage(used),
    }


def pod_metrics(pods: Iterable[Object], summaries: Iterable[Object]) -> list[Object]:
    """Return the PodMetrics of those of `pods` that have figures, in their order."""
    used = {pod["podRef"]["uid"]: (s, pod) for s in summaries for pod in s["pods"]}
    found = []
    for pod in pods:
        meta = pod["metadata"]
        if meta["uid"] not in used:
            continue
        summary, stats = used[meta["uid"]]
        containers = [c for c in stats["containers"] if "usageNanoCores" in c["cpu"]]
        if not containers:
            continue
        time = stats["cpu"]["time"]
        labels = meta.get("labels", {})
        found.append(
            {
                "kind": "PodMetrics",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": _metadata(meta["name"], meta["namespace"], labels, time),
                "timestamp": _seconds(time),
                "window": _window(summary),
                "containers": [{"name": c["name"], "usage": _usage(c)} for c in containers],
            }
        )
    return found


def _metadata(name: str, namespace: str, labels: Mapping[str, str], time: str) -> Object:
    meta: Object = {"name": name, "creationTimestamp": _seconds(time)}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = dict(labels)
    return meta


def _seconds(time: str) -> str:
    return format_time(math.floor(parse_time(time)))


def _window(summary: Object) -> str:
    """Return a Go duration, as metrics-server prints it: `1.002s`."""
    return f"{summary['node'].get('windowSeconds', 0):g}s"


def _usage(stats: Object) -> Object:
    return {
        "cpu": f"{stats['cpu'].get('usageNanoCores', 0)}n",
        "memory": f"{stats['memory'].get('workingSetBytes', 0) // 1024}Ki",
    }
