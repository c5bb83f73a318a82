"""May this pod run here? What the scheduler should have seen, asked again by the node. Pure.

Source of the words: the kubelet's `lifecycle` package. A pod that is refused becomes Failed.
"""

from collections.abc import Sequence

from wherry.agent.node_object import NodeIdentity
from wherry.agent.plan import Rejection
from wherry.agent.views import Pod
from wherry.api.objects import Node


def admit(
    pod: Pod, others: Sequence[Pod], identity: NodeIdentity, node: Node | None
) -> Rejection | None:
    """Return why the pod is refused, None if it is not."""
    active = [p for p in others if p.status.phase not in ("Succeeded", "Failed")]
    if len(active) >= identity.max_pods:
        return Rejection(
            "OutOfpods",
            "Pod was rejected: Node didn't have enough resource: pods, requested: 1, "
            f"used: {len(active)}, capacity: {identity.max_pods}",
        )
    taken = {port for other in active for port in _host_ports(other)}
    if taken & _host_ports(pod):
        return Rejection(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for "
            "the requested pod ports",
        )
    wanted = pod.spec.node_selector
    labels = node.metadata.labels if node is not None else wanted
    if any(labels.get(key) != value for key, value in wanted.items()):
        return Rejection(
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node "
            "affinity/selector",
        )
    return None


def _host_ports(pod: Pod) -> set[tuple[str, int]]:
    return {
        (p.protocol, p.host_port or (p.container_port if pod.spec.host_network else 0))
        for c in pod.spec.containers
        for p in c.ports
        if p.host_port or pod.spec.host_network
    }
