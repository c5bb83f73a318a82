"""Namespace controller: delete everything in a namespace, then let the namespace go.

A Namespace that is deleted stays, Terminating, because its *spec* has the finalizer
`kubernetes`. What it contains is listed from the server itself, never from a cache: the
finalizer may go only when nothing is left that anybody could have acknowledged.
Source: kubernetes `pkg/controller/namespace/deletion/namespaced_resources_deleter.go`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wherry.api.kinds import EVENT, KINDS, NAMESPACE, Kind
from wherry.api.objects import Condition, Meta
from wherry.controllers.conditions import condition, find, to_json, with_condition
from wherry.controllers.framework import (
    Action,
    Caches,
    Delete,
    Environment,
    Finalize,
    Index,
    Patch,
    Result,
    Source,
    own_key,
)
from wherry.controllers.views import Namespace

FINALIZER: Final = "kubernetes"
AGAIN_S: Final = 5.0
"""When to look again at content that goes in its own time; a deletion wakes it sooner."""
_WAKE_S: Final = 0.05


def reconcile(
    namespace: Namespace, content: Mapping[Kind, Sequence[Meta]], *, now: float
) -> Result:
    """Decide for a namespace that is being deleted.

    Args:
        namespace: It has a deletionTimestamp.
        content: All objects in it by kind, as the server has them.
        now: The date.

    Returns:
        Deletions of what is not going yet, conditions that say what remains, and the
        finalizer's removal when nothing does.
    """
    meta = namespace.metadata
    remaining = {kind: objects for kind, objects in content.items() if objects}
    actions: list[Action] = [
        Delete(kind, meta.name, o.metadata.name, o.metadata.uid, propagation="Background")
        for kind, objects in remaining.items()
        for o in objects
        if not o.metadata.deleting
    ]
    conditions = _conditions(namespace, remaining, now)
    if conditions != namespace.status.conditions or namespace.status.phase != "Terminating":
        status = {"phase": "Terminating", "conditions": [to_json(c) for c in conditions]}
        actions.append(
            Patch(NAMESPACE, "", meta.name, {"status": status}, subresource="status", uid=meta.uid)
        )
    if remaining:
        return Result(actions, AGAIN_S)
    if FINALIZER in namespace.spec.finalizers:
        actions.append(Finalize(meta.name, meta.uid))
    return Result(actions)


def _conditions(
    namespace: Namespace, remaining: Mapping[Kind, Sequence[Meta]], now: float
) -> list[Condition]:
    conditions = list(namespace.status.conditions)
    counts = [
        f"{kind.plural}.{kind.group} has {len(objects)} resource instances"
        for kind, objects in sorted(remaining.items(), key=lambda item: item[0].plural)
    ]
    finalizers: dict[str, int] = {}
    for objects in remaining.values():
        for o in objects:
            for finalizer in o.metadata.finalizers:
                finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
    held = [f"{name} in {n} resource instances" for name, n in sorted(finalizers.items())]
    for type_, some, none, details in (
        (
            "NamespaceContentRemaining",
            ("SomeResourcesRemain", "Some resources are remaining: "),
            ("ContentRemoved", "All content successfully removed"),
            counts,
        ),
        (
            "NamespaceFinalizersRemaining",
            ("SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            held,
        ),
    ):
        if details:
            new = condition(type_, "True", some[0], some[1] + ", ".join(details), now)
        elif find(conditions, type_) is not None:
            new = condition(type_, "False", *none, now)
        else:
            continue
        conditions = with_condition(conditions, new)
    return conditions


def _emptied(caches: Caches, old: Any, new: Any) -> Sequence[str]:
    """Wake a terminating namespace when something in it is gone."""
    if new is not None:
        return ()
    namespace = caches[NAMESPACE].get(old.metadata.namespace)
    deleting = namespace is not None and namespace.metadata.deleting
    return (old.metadata.namespace,) if deleting else ()


class NamespaceController:
    """Empties and finalizes namespaces."""

    name = "namespace-controller"
    indices: tuple[Index, ...] = ()

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self._kinds = [kind for kind in kinds if kind.namespaced]
        watched = (kind for kind in self._kinds if kind != EVENT)
        self.sources = (
            Source(NAMESPACE, own_key),
            *(Source(kind, _emptied, _WAKE_S) for kind in watched),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        namespace: Namespace | None = env.caches[NAMESPACE].get(key)
        if namespace is None or not namespace.metadata.deleting:
            return Result()
        content = {kind: await env.fetch_all(kind, key) for kind in self._kinds}
        return reconcile(namespace, content, now=env.now)
