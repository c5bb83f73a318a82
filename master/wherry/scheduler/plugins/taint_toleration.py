"""TaintToleration: keep pods off nodes whose taints they do not tolerate."""

from collections.abc import Sequence
from dataclasses import dataclass

from wherry.api.objects import Taint, Toleration
from wherry.scheduler.framework import Cluster, ClusterEvent, NodeFilter, Rejection
from wherry.scheduler.node_info import NodeInfo, PodInfo
from wherry.scheduler.plugins.normalize import scaled


@dataclass(frozen=True, slots=True)
class TaintToleration:
    """Filter on hard taints, score on soft ones."""

    name: str = "TaintToleration"
    wakes: ClusterEvent = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_TAINT

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject a node with a hard taint that `pod` does not tolerate."""
        tolerations = pod.pod.spec.tolerations

        def fits(info: NodeInfo) -> Rejection | None:
            for taint in info.hard_taints:
                if not _tolerated(tolerations, taint):
                    reason = f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
                    return Rejection(self.name, (reason,), resolvable=False)
            return None

        return fits

    def score(
        self,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        cluster: Cluster,  # noqa: ARG002
    ) -> Sequence[int] | None:
        """Count the soft taints that `pod` does not tolerate; fewer is better."""
        if not any(info.soft_taints for info in nodes):
            return None
        tolerations = [t for t in pod.pod.spec.tolerations if t.effect in ("", "PreferNoSchedule")]
        counts = [
            sum(not _tolerated(tolerations, taint) for taint in info.soft_taints) for info in nodes
        ]
        return scaled(counts, reverse=True)


def _tolerated(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    return any(toleration.tolerates(taint) for toleration in tolerations)
