"""NodeResourcesFit and NodeResourcesBalancedAllocation: is there room, and where is most of it?"""

from collections.abc import Sequence
from dataclasses import dataclass

from wherry.scheduler.framework import (
    MAX_NODE_SCORE,
    Cluster,
    ClusterEvent,
    NodeFilter,
    Rejection,
)
from wherry.scheduler.node_info import NodeInfo, PodInfo
from wherry.scheduler.resource import CPU, EPHEMERAL, MEMORY


@dataclass(frozen=True, slots=True)
class NodeResourcesFit:
    """Filter on what pods request; score the least allocated nodes highest."""

    name: str = "NodeResourcesFit"
    wakes: ClusterEvent = (
        ClusterEvent.NODE_ADDED | ClusterEvent.NODE_ALLOCATABLE | ClusterEvent.POD_GONE
    )

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject a node that lacks any of what the pod requests, naming all that it lacks."""
        asked = pod.requests
        cpu, memory = asked.cpu_millicores, asked.memory_bytes

        def fits(info: NodeInfo) -> Rejection | None:
            have = info.allocatable
            if (
                len(info.pods) < have.pods
                and not (cpu and info.cpu_millicores + cpu > have.cpu_millicores)
                and not (memory and info.memory_bytes + memory > have.memory_bytes)
                and not asked.ephemeral_bytes
                and not asked.extended
            ):
                return None
            lacks = _lacking(pod, info)
            return Rejection(self.name, lacks) if lacks else None

        return fits

    def score(
        self,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        cluster: Cluster,  # noqa: ARG002
    ) -> Sequence[int] | None:
        """Average the free shares of cpu and memory after the pod has come."""
        return [_least_allocated(pod, info) for info in nodes]


def _lacking(pod: PodInfo, info: NodeInfo) -> tuple[str, ...]:
    asked, have = pod.requests, info.allocatable
    lacks = ["Too many pods"] if len(info.pods) + 1 > have.pods else []
    amounts = [
        (CPU, asked.cpu_millicores, info.cpu_millicores, have.cpu_millicores),
        (MEMORY, asked.memory_bytes, info.memory_bytes, have.memory_bytes),
        (EPHEMERAL, asked.ephemeral_bytes, info.ephemeral_bytes, have.ephemeral_bytes),
        *(
            (name, value, info.extended[name], have.extended.get(name, 0))
            for name, value in asked.extended.items()
        ),
    ]
    lacks += [
        f"Insufficient {name}" for name, want, used, all_ in amounts if want and want > all_ - used
    ]
    return tuple(lacks)


def _least_allocated(pod: PodInfo, info: NodeInfo) -> int:
    have = info.allocatable
    cpu = _free_share(have.cpu_millicores, info.scored_millicores + pod.scored_millicores)
    memory = _free_share(have.memory_bytes, info.scored_bytes + pod.scored_bytes)
    return (cpu + memory) // 2


def _free_share(capacity: int, used: int) -> int:
    if used >= capacity:
        return 0
    return (capacity - used) * MAX_NODE_SCORE // capacity


@dataclass(frozen=True, slots=True)
class NodeResourcesBalancedAllocation:
    """Score nodes highest where cpu and memory would be used to equal shares."""

    name: str = "NodeResourcesBalancedAllocation"

    def score(
        self,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        cluster: Cluster,  # noqa: ARG002
    ) -> Sequence[int] | None:
        """Return 100 minus the standard deviation of the used shares, in percent."""
        if pod.requests.empty:
            return None
        return [_balance(pod, info) for info in nodes]


def _balance(pod: PodInfo, info: NodeInfo) -> int:
    have, asked = info.allocatable, pod.requests
    shares = [
        min(1.0, used / capacity)
        for used, capacity in (
            (info.cpu_millicores + asked.cpu_millicores, have.cpu_millicores),
            (info.memory_bytes + asked.memory_bytes, have.memory_bytes),
        )
        if capacity
    ]
    if len(shares) < 2:
        return MAX_NODE_SCORE
    deviation = abs(shares[0] - shares[1]) / 2  # of two values
    return int((1 - deviation) * MAX_NODE_SCORE)
