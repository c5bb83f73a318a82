"""NodeAffinity: nodeSelector, required and preferred node affinity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wherry.api.objects import LabelSelectorRequirement, Node, NodeSelectorTerm
from wherry.api.selectors import LabelSelector, selector_from
from wherry.scheduler.framework import Cluster, ClusterEvent, NodeFilter, Rejection
from wherry.scheduler.node_info import NodeInfo, PodInfo
from wherry.scheduler.plugins.normalize import scaled

REASON = "node(s) didn't match Pod's node affinity/selector"


@dataclass(frozen=True, slots=True)
class NodeAffinity:
    """Filter on what is required, score on what is preferred."""

    name: str = "NodeAffinity"
    wakes: ClusterEvent = ClusterEvent.NODE_ADDED | ClusterEvent.NODE_LABEL

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject a node that misses a label of nodeSelector, or meets none of the required terms."""
        spec = pod.pod.spec
        affinity = spec.affinity.node_affinity if spec.affinity is not None else None
        required = affinity.required if affinity is not None else None
        if not spec.node_selector and required is None:
            return None
        labels = spec.node_selector.items()
        terms = None if required is None else [_term(t) for t in required.node_selector_terms]
        rejection = Rejection(self.name, (REASON,), resolvable=False)

        def fits(info: NodeInfo) -> Rejection | None:
            node = info.node
            if node is None or not labels <= node.metadata.labels.items():
                return rejection
            if terms is not None and not any(matches(node) for matches in terms):
                return rejection
            return None

        return fits

    def score(
        self,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        cluster: Cluster,  # noqa: ARG002
    ) -> Sequence[int] | None:
        """Add the weights of the preferred terms that a node meets."""
        spec = pod.pod.spec
        affinity = spec.affinity.node_affinity if spec.affinity is not None else None
        if affinity is None or not affinity.preferred:
            return None
        terms = [(_term(wish.preference), wish.weight) for wish in affinity.preferred]
        return scaled(
            [
                sum(weight for matches, weight in terms if info.node and matches(info.node))
                for info in nodes
            ]
        )


def _term(term: NodeSelectorTerm) -> Callable[[Node], bool]:
    """Compile one term; a term without conditions matches no node."""
    labels = _selector(term.match_expressions)
    fields = _selector(term.match_fields)

    def matches(node: Node) -> bool:
        if not labels and not fields:
            return False
        meta = node.metadata
        return labels.matches(meta.labels) and fields.matches({"metadata.name": meta.name})

    return matches


def _selector(requirements: Sequence[LabelSelectorRequirement]) -> LabelSelector:
    return selector_from({}, ((r.key, r.operator, r.values) for r in requirements))
