"""The cluster as the scheduler believes it to be: nodes, their pods, and pods assumed there.

A pod is *assumed* on its node from the decision on, while the binding is under way, so that
the next decision does not give the same room away twice. The watch confirms it; a binding
that fails is forgotten. Decisions run between two changes, never during one, so what they
see is one consistent snapshot without a copy.
"""

from collections import Counter
from collections.abc import Sequence

from wherry.api.objects import Node, Pod, Service
from wherry.scheduler.framework import ClusterEvent
from wherry.scheduler.node_info import Group, NodeInfo, PodInfo


class Cache:
    """Implements `framework.Cluster`."""

    def __init__(self) -> None:
        self._infos: dict[str, NodeInfo] = {}
        self._nodes: list[NodeInfo] = []
        self._where: dict[str, str] = {}
        self._groups: dict[str, Counter[Group]] = {}
        self._services: dict[str, dict[str, Service]] = {}

    # -- reading ------------------------------------------------------------------

    @property
    def nodes(self) -> Sequence[NodeInfo]:
        """Every node that exists."""
        return self._nodes

    def groups(self, namespace: str) -> Counter[Group]:
        """Return how many pods of each group are bound or assumed in a namespace."""
        return self._groups.get(namespace, Counter())

    def services(self, pod: Pod) -> Sequence[Service]:
        """Return the Services that select the pod."""
        labels = pod.metadata.labels.items()
        return [
            service
            for service in self._services.get(pod.metadata.namespace, {}).values()
            if service.spec.selector and service.spec.selector.items() <= labels
        ]

    def node_of(self, uid: str) -> str:
        """Return the node that a pod is bound to or assumed on, "" for none."""
        return self._where.get(uid, "")

    # -- nodes and services ---------------------------------------------------------

    def set_node(self, node: Node) -> ClusterEvent:
        """Take over a Node; return what changed that may matter to a pod."""
        name = node.metadata.name
        info = self._infos.setdefault(name, NodeInfo(name))
        old = info.node
        info.set_node(node)
        if old is None:
            self._nodes.append(info)
            return ClusterEvent.NODE_ADDED
        event = ClusterEvent(0)
        if old.metadata.labels != node.metadata.labels:
            event |= ClusterEvent.NODE_LABEL
        if (old.spec.taints, old.spec.unschedulable) != (node.spec.taints, node.spec.unschedulable):
            event |= ClusterEvent.NODE_TAINT
        if old.status.allocatable != node.status.allocatable:
            event |= ClusterEvent.NODE_ALLOCATABLE
        return event

    def remove_node(self, name: str) -> None:
        """Forget a node; pods that are bound to it are remembered in case it comes back."""
        info = self._infos.get(name)
        if info is None or info.node is None:
            return
        info.set_node(None)
        self._nodes.remove(info)
        self._drop_if_empty(info)

    def set_service(self, service: Service) -> None:
        """Take over a Service."""
        meta = service.metadata
        self._services.setdefault(meta.namespace, {})[meta.name] = service

    def remove_service(self, service: Service) -> None:
        """Forget a Service."""
        meta = service.metadata
        self._services.get(meta.namespace, {}).pop(meta.name, None)

    # -- pods -----------------------------------------------------------------------

    def set_pod(self, pod: PodInfo, node: str) -> None:
        """Put a pod on a node: assumed by us, or bound as the watch says, whoever did it."""
        self.remove_pod(pod.uid)
        self._where[pod.uid] = node
        self._infos.setdefault(node, NodeInfo(node)).add(pod)
        if not pod.pod.metadata.deleting:
            self._groups.setdefault(pod.group.namespace, Counter())[pod.group] += 1

    def remove_pod(self, uid: str) -> bool:
        """Take a pod off its node; tell whether it was on one."""
        name = self._where.pop(uid, "")
        if not name:
            return False
        info = self._infos[name]
        pod = info.pods[uid]
        info.remove(uid)
        self._drop_if_empty(info)
        if not pod.pod.metadata.deleting:
            groups = self._groups[pod.group.namespace]
            groups[pod.group] -= 1
            if not groups[pod.group]:
                del groups[pod.group]
            if not groups:
                del self._groups[pod.group.namespace]
        return True

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            del self._infos[info.name]

    def check_invariants(self) -> None:
        """Compare every sum with a recount."""
        groups: Counter[Group] = Counter()
        for info in self._infos.values():
            info.check_invariants()
            groups.update(info.groups)
        have = Counter({g: n for counter in self._groups.values() for g, n in counter.items()})
        if have != groups:
            raise AssertionError(f"groups are {have}, recounted {groups}")
        listed = {info.name for info in self._nodes}
        if listed != {i.name for i in self._infos.values() if i.node is not None}:
            raise AssertionError(f"node list is {listed}")
