"""Builders of API objects for the controllers' tests: dicts for the API, views for decisions."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from virtual_loop import EPOCH_S

from wherry.api.objects import Pod, View
from wherry.api.times import format_time

V = TypeVar("V", bound=View)
Json = dict[str, Any]
NOW = EPOCH_S + 3600


def view(type_: type[V], obj: Mapping[str, Any]) -> V:
    """Read a dict as a view."""
    return msgspec.convert(obj, type_)


def template(image: str = "nginx:1") -> Json:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }


def meta(name: str, **fields: Any) -> Json:
    created = format_time(NOW - 60)
    base = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1}
    return {**base, "resourceVersion": "1", "creationTimestamp": created, **fields}


def owner(kind: str, name: str, uid: str = "") -> Json:
    return {
        "apiVersion": "v1" if kind == "ReplicationController" else "apps/v1",
        "kind": kind,
        "name": name,
        "uid": uid or f"uid-{name}",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod(
    name: str,
    *,
    owner_name: str = "rs",
    phase: str = "Running",
    node: str = "n1",
    ready: bool = True,
    ready_for_s: float = 50.0,
    labels: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> Pod:
    owners = [owner("ReplicaSet", owner_name)] if owner_name else []
    condition = {
        "type": "Ready",
        "status": str(ready),
        "lastTransitionTime": format_time(NOW - ready_for_s),
    }
    return view(
        Pod,
        {
            "metadata": meta(
                name,
                labels=dict(labels or {"app": "web"}),
                **{"ownerReferences": owners, **metadata},
            ),
            "spec": {"nodeName": node, "containers": [{"name": "web"}]},
            "status": {"phase": phase, "conditions": [condition], **(status or {})},
        },
    )
