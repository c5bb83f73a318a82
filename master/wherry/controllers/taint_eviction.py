"""Taint eviction: pods that do not tolerate a NoExecute taint of their node are deleted.

A toleration may last for `tolerationSeconds` only, counted from when the taint was added
(`timeAdded`; a taint without that date counts from when it was first seen here). So a
restart of this process neither forgets nor extends anybody's time.
Source: kubernetes `pkg/controller/tainteviction`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wherry.api.kinds import NODE, POD
from wherry.api.objects import Node, Pod, Taint
from wherry.api.times import parse_time
from wherry.controllers.framework import (
    Action,
    Caches,
    Delete,
    Emit,
    Environment,
    Index,
    Result,
    Source,
    reference,
)
from wherry.controllers.node_lifecycle import NODE_INDEX, node_name_index

NO_EXECUTE: Final = "NoExecute"
TaintId = tuple[str, str]


def evict_at(
    pod: Pod, taints: Sequence[Taint], first_seen: Mapping[TaintId, float]
) -> float | None:
    """Return the date at which the pod must go, None for never.

    Args:
        pod: The pod.
        taints: The NoExecute taints of its node.
        first_seen: When a taint without `timeAdded` was first seen, by (key, value).
    """
    dates: list[float] = []
    for taint in taints:
        added = parse_time(taint.time_added) if taint.time_added else first_seen[taint_id(taint)]
        matching = [t for t in pod.spec.tolerations if t.tolerates(taint)]
        if not matching:
            return added
        limits = [t.toleration_seconds for t in matching if t.toleration_seconds is not None]
        if limits:
            dates.append(added + max(0, min(limits)))
    return min(dates, default=None)


def taint_id(taint: Taint) -> TaintId:
    """Identify a taint on its node."""
    return taint.key, taint.value


def reconcile(
    pods: Iterable[Pod], taints: Sequence[Taint], first_seen: Mapping[TaintId, float], *, now: float
) -> Result:
    """Decide which pods of one node are deleted now, and when to look again.

    Args:
        pods: The pods bound to the node.
        taints: Its NoExecute taints.
        first_seen: See `evict_at`.
        now: The date.
    """
    actions: list[Action] = []
    next_s: float | None = None
    for pod in pods:
        if pod.metadata.deleting or pod.finished:
            continue
        date = evict_at(pod, taints, first_seen)
        if date is None:
            continue
        if date <= now:
            meta = pod.metadata
            message = f"Marking for deletion Pod {meta.key}"
            actions.append(Emit(reference(POD, meta), "Normal", "TaintManagerEviction", message))
            actions.append(Delete(POD, meta.namespace, meta.name, meta.uid))
        elif next_s is None or date - now < next_s:
            next_s = date - now
    return Result(actions, next_s)


def _no_execute(node: Node) -> list[Taint]:
    return [t for t in node.spec.taints if t.effect == NO_EXECUTE]


def _node_keys(_caches: Caches, old: Node | None, new: Node | None) -> Sequence[str]:
    before = _no_execute(old) if old is not None else []
    after = _no_execute(new) if new is not None else []
    node = new if new is not None else old
    return (node.metadata.name,) if node is not None and before != after else ()


def _pod_keys(caches: Caches, old: Pod | None, new: Pod | None) -> Sequence[str]:
    """Wake the node of a pod that was bound to it, or whose tolerations changed."""
    if new is None or not new.spec.node_name:
        return ()
    if old is not None and (old.spec.node_name, old.spec.tolerations) == (
        new.spec.node_name,
        new.spec.tolerations,
    ):
        return ()
    node = caches[NODE].get(new.spec.node_name)
    return (new.spec.node_name,) if node is not None and _no_execute(node) else ()


class TaintEvictionController:
    """Runs `reconcile` for every node with NoExecute taints."""

    name = "taint-eviction-controller"

    def __init__(self) -> None:
        self._first_seen: dict[str, dict[TaintId, float]] = {}
        self.sources = (Source(NODE, _node_keys), Source(POD, _pod_keys))
        self.indices = (Index(POD, NODE_INDEX, node_name_index),)

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        node: Node | None = env.caches[NODE].get(key)
        taints = _no_execute(node) if node is not None else []
        if not taints:
            self._first_seen.pop(key, None)
            return Result()
        before = self._first_seen.get(key, {})
        seen = {taint_id(t): before.get(taint_id(t), env.now) for t in taints}
        self._first_seen[key] = seen
        return reconcile(env.caches[POD].by_index(NODE_INDEX, key), taints, seen, now=env.now)
