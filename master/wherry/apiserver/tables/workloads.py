"""Deployments, ReplicaSets, ReplicationControllers."""

from typing import Any

from wherry.apiserver.tables.cells import Obj, created, labels_text, name_of, selector_text


def _template(spec: Obj) -> list[str]:
    """Return the wide cells: names and images of the template's containers."""
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or ()
    return [
        ",".join(c.get("name", "") for c in containers),
        ",".join(c.get("image", "") for c in containers),
    ]


def deployment(obj: Obj, now: float) -> list[Any]:
    """Return a Deployment's cells."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def replica_set(obj: Obj, now: float) -> list[Any]:
    """Return the cells of a ReplicaSet or a ReplicationController (whose selector is a map)."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    selector = spec.get("selector")
    plain = obj.get("kind") == "ReplicationController"
    return [
        name_of(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        *_template(spec),
        labels_text(selector) if plain else selector_text(selector),
    ]
