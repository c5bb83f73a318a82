"""Deployments, ReplicaSets, ReplicationControllers."""

from typing import Any

from wherry.apiserver.tables.cells import (
    Obj,
    containers_and_images,
    created,
    labels_text,
    name_of,
    selector_text,
)


def deployment(obj: Obj, now: float) -> list[Any]:
    """Return a Deployment's cells."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        *containers_and_images(spec),
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
        *containers_and_images(spec),
        labels_text(selector) if plain else selector_text(selector),
    ]
