"""Pod garbage: pods that nobody will ever finish deleting, and too many that have ended.

A pod is taken off the API by the agent of its node. Where there is no such agent, somebody
else must do it: the node does not exist (any more), the pod was never bound, or the node
was declared out of service by an administrator.
Source: kubernetes `pkg/controller/podgc/gc_controller.go`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from wherry.api.kinds import NODE, POD
from wherry.api.objects import Node, Pod
from wherry.controllers.framework import (
    Action,
    Caches,
    Delete,
    Environment,
    Index,
    Result,
    Source,
)
from wherry.controllers.node_lifecycle import NODE_INDEX, node_name_index, node_ready

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
QUARANTINE_S: Final = 40.0
"""How long a node must have been missing before its pods are given up."""
PERIOD_S: Final = 20.0
_KEY: Final = "all"


def reconcile(
    pods: Iterable[Pod],
    gone: frozenset[str],
    out_of_service: frozenset[str],
    *,
    terminated_threshold: int,
) -> list[Action]:
    """Decide which pods to remove at once.

    Args:
        pods: All pods.
        gone: Names of nodes that surely do not exist.
        out_of_service: Names of nodes that are not ready and declared out of service.
        terminated_threshold: How many ended pods may stay for people to look at; 0 for any number.
    """
    actions: list[Action] = []
    ended: list[Pod] = []
    for pod in pods:
        node = pod.spec.node_name
        if node in gone or (pod.metadata.deleting and (not node or node in out_of_service)):
            actions.append(_remove(pod))
        elif pod.finished and not pod.metadata.deleting:
            ended.append(pod)
    if terminated_threshold:
        ended.sort(key=lambda p: (p.metadata.creation_timestamp or "", p.metadata.name))
        surplus = max(0, len(ended) - terminated_threshold)
        actions += [_remove(pod) for pod in ended[:surplus]]
    return actions


def _remove(pod: Pod) -> Delete:
    meta = pod.metadata
    return Delete(POD, meta.namespace, meta.name, meta.uid, grace_s=0)


def _node_keys(_caches: Caches, old: Node | None, new: Node | None) -> Sequence[str]:
    return (_KEY,) if old is None or new is None else ()


def _pod_keys(_caches: Caches, old: Pod | None, new: Pod | None) -> Sequence[str]:
    first = old is None and new is not None
    dying = new is not None and new.metadata.deleting and not new.spec.node_name
    return (_KEY,) if first or dying else ()


class PodGC:
    """Runs `reconcile` over all pods from time to time.

    Args:
        terminated_threshold: `--terminated-pod-gc-threshold`.
    """

    name = "pod-garbage-collector-controller"

    def __init__(self, *, terminated_threshold: int) -> None:
        self._threshold = terminated_threshold
        self._missing: dict[str, float] = {}
        self.sources = (Source(NODE, _node_keys), Source(POD, _pod_keys, 1.0))
        self.indices = (Index(POD, NODE_INDEX, node_name_index),)

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module; there is one key for all."""
        if key != _KEY or not env.current:
            return Result()
        pods: Sequence[Pod] = env.caches[POD].values()
        nodes = env.caches[NODE]
        bound = {p.spec.node_name for p in pods if p.spec.node_name}
        missing = {name for name in bound if nodes.get(name) is None}
        self._missing = {name: self._missing.get(name, env.now) for name in missing}
        gone = set()
        for name, since in self._missing.items():
            if env.now - since >= QUARANTINE_S and await env.fetch(NODE, name) is None:
                gone.add(name)
        out = {
            n.metadata.name
            for n in nodes.values()
            if not node_ready(n) and any(t.key == OUT_OF_SERVICE for t in n.spec.taints)
        }
        actions = reconcile(
            pods, frozenset(gone), frozenset(out), terminated_threshold=self._threshold
        )
        return Result(actions, PERIOD_S)
