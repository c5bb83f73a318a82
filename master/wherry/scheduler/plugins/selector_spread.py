"""SelectorSpread: pods of one owner or one Service go to different nodes and zones.

Pods are counted by group (`node_info.Group`), not one by one: which groups belong together
is found out once a pod, then a node's count is a sum over a handful of numbers.
Source: kubernetes' SelectorSpread; PodTopologySpread's default constraints ask the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wherry.scheduler.framework import MAX_NODE_SCORE, Cluster
from wherry.scheduler.node_info import Group, NodeInfo, PodInfo


@dataclass(frozen=True, slots=True)
class SelectorSpread:
    """Score nodes highest that have the fewest pods of the same kind."""

    name: str = "SelectorSpread"

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cluster: Cluster
    ) -> Sequence[int] | None:
        """Return 100 for no such pod, 0 for as many as the fullest node has."""
        alike = _alike(pod, cluster)
        if not alike:
            return None
        counts = [sum(info.groups.get(group, 0) for group in alike) for info in nodes]
        most = max(counts)
        scores = [_score(count, most) for count in counts]
        zones: Counter[str] = Counter()
        for info, count in zip(nodes, counts, strict=True):
            if info.zone:
                zones[info.zone] += count
        if not zones:
            return scores
        most_in_zone = max(zones.values())
        return [
            _weighted(score, _score(zones[info.zone], most_in_zone)) if info.zone else score
            for info, score in zip(nodes, scores, strict=True)
        ]


def _alike(pod: PodInfo, cluster: Cluster) -> list[Group]:
    """Return the groups of pods that have the pod's controller, or a Service of its."""
    uid = pod.group.controller_uid
    selectors = [(s.spec.selector or {}).items() for s in cluster.services(pod.pod)]
    if not uid and not selectors:
        return []
    return [
        group
        for group in cluster.groups(pod.group.namespace)
        if (uid and group.controller_uid == uid)
        or any(selector <= group.labels for selector in selectors)
    ]


def _score(count: int, most: int) -> int:
    return (most - count) * MAX_NODE_SCORE // most if most else MAX_NODE_SCORE


def _weighted(by_node: int, by_zone: int) -> int:
    """Where nodes have zones, two thirds are decided by the zone."""
    return (by_node + 2 * by_zone) // 3
