"""One scheduling decision, with no I/O: cluster in, decision out.

The loop in `wherry.scheduler.component` owns the queue, the watch and the binding. It
calls `schedule`, performs the answer, and turns every outcome into the next input.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wherry.scheduler.framework import Cluster, NodeFilter, Profile, Rejection
from wherry.scheduler.node_info import NodeInfo, PodInfo

FEW_NODES: Final = 100
"""Up to so many nodes all are looked at."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind the pod to this node; `examined` nodes were filtered to find it."""

    node: str
    examined: int


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node fits; `rejections` holds the first plugin's reasons of each node, by node name."""

    rejections: Mapping[str, Rejection]

    @property
    def plugins(self) -> frozenset[str]:
        """Return the names of the plugins that rejected a node."""
        return frozenset(r.plugin for r in self.rejections.values())

    @property
    def message(self) -> str:
        """Return the text of the FailedScheduling event, as upstream words it."""
        if not self.rejections:
            return "no nodes available to schedule pods"
        counts = Counter(reason for r in self.rejections.values() for reason in r.reasons)
        histogram = sorted(f"{count} {reason}" for reason, count in counts.items())
        total = len(self.rejections)
        return f"0/{total} nodes are available: {', '.join(histogram)}."


Decision = Bind | Unschedulable


def feasible_enough(nodes: int) -> int:
    """Return after how many fitting nodes the search ends: the larger the cluster, the smaller a share.

    Source: `percentageOfNodesToScore` left at its default.
    """
    if nodes <= FEW_NODES:
        return nodes
    percent = max(5, 50 - nodes // 125)
    return max(FEW_NODES, nodes * percent // 100)


def schedule(
    pod: PodInfo, cluster: Cluster, profile: Profile, *, start: int = 0, pick: int = 0
) -> Decision:
    """Choose a node for `pod`.

    Args:
        pod: The pod to place.
        cluster: The nodes, which do not change meanwhile.
        profile: The plugins to ask, in order.
        start: Index of the first node to look at; where not all are looked at, the caller
            goes on where the last search ended.
        pick: Any number; chooses among the best where there are several. The caller draws
            it from its own seeded generator, so that a decision can be replayed.
    """
    feasible, rejections = _filter(pod, cluster, profile, start)
    if not feasible:
        return Unschedulable(rejections)
    examined = len(feasible) + len(rejections)
    if len(feasible) == 1:
        return Bind(feasible[0].name, examined)
    totals = _score(pod, feasible, cluster, profile)
    best = max(totals)
    names = sorted(n.name for n, total in zip(feasible, totals, strict=True) if total == best)
    return Bind(names[pick % len(names)], examined)


def _filter(
    pod: PodInfo, cluster: Cluster, profile: Profile, start: int
) -> tuple[list[NodeInfo], dict[str, Rejection]]:
    prepared = (plugin.pre_filter(pod, cluster) for plugin in profile.filters)
    filters = [f for f in prepared if f is not None]
    nodes = cluster.nodes
    enough = feasible_enough(len(nodes))
    feasible: list[NodeInfo] = []
    rejections: dict[str, Rejection] = {}
    for node in _from(nodes, start):
        rejection = _first(filters, node)
        if rejection is not None:
            rejections[node.name] = rejection
        else:
            feasible.append(node)
            if len(feasible) >= enough:
                break
    return feasible, rejections


def _from(nodes: Sequence[NodeInfo], start: int) -> Iterable[NodeInfo]:
    at = start % len(nodes) if nodes else 0
    return [*nodes[at:], *nodes[:at]] if at else nodes


def _first(filters: Sequence[NodeFilter], node: NodeInfo) -> Rejection | None:
    for fits in filters:
        rejection = fits(node)
        if rejection is not None:
            return rejection
    return None


def _score(
    pod: PodInfo, feasible: Sequence[NodeInfo], cluster: Cluster, profile: Profile
) -> list[int]:
    totals = [0] * len(feasible)
    for plugin, weight in profile.scores:
        scores = plugin.score(pod, feasible, cluster)
        if scores is not None:
            totals = [t + weight * s for t, s in zip(totals, scores, strict=True)]
    return totals
