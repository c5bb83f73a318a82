"""NodeName and NodeUnschedulable: the two plainest filters."""

from dataclasses import dataclass
from typing import Final

from wherry.api.objects import Taint
from wherry.scheduler.framework import Cluster, ClusterEvent, NodeFilter, Rejection
from wherry.scheduler.node_info import NodeInfo, PodInfo

_CORDONED: Final = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


@dataclass(frozen=True, slots=True)
class NodeName:
    """Filter on `spec.nodeName`, for pods that ask for one node and still are scheduled."""

    name: str = "NodeName"
    wakes: ClusterEvent = ClusterEvent.NODE_ADDED

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject every node but the one that is named."""
        wanted = pod.pod.spec.node_name
        if not wanted:
            return None
        reason = ("node(s) didn't match the requested node name",)
        rejection = Rejection(self.name, reason, resolvable=False)
        return lambda info: None if info.name == wanted else rejection


@dataclass(frozen=True, slots=True)
class NodeUnschedulable:
    """Filter on `kubectl cordon`; who tolerates its taint may come all the same."""

    name: str = "NodeUnschedulable"
    wakes: ClusterEvent = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_TAINT

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject nodes that are cordoned."""
        if any(t.tolerates(_CORDONED) for t in pod.pod.spec.tolerations):
            return None
        rejection = Rejection(self.name, ("node(s) were unschedulable",), resolvable=False)

        def fits(info: NodeInfo) -> Rejection | None:
            cordoned = info.node is not None and info.node.spec.unschedulable
            return rejection if cordoned else None

        return fits
