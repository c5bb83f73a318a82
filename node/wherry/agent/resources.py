"""From requests and limits to QoS class, cgroup values and cgroup paths.

Source of the figures: the kubelet's `cm` and `qos` packages (MilliCPUToShares,
MilliCPUToQuota, GetContainerOOMScoreAdjust).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from wherry.agent.runtime_config import Resources
from wherry.agent.views import Container, Pod
from wherry.agent.volume_views import Quantity
from wherry.api.quantity import cpu_millicores, whole

Qos = Literal["Guaranteed", "Burstable", "BestEffort"]

MIN_SHARES: Final = 2
MAX_SHARES: Final = 262_144
MIN_QUOTA_US: Final = 1_000
PERIOD_US: Final = 100_000
GUARANTEED_OOM_SCORE: Final = -997
BEST_EFFORT_OOM_SCORE: Final = 1000


def millicores(amounts: dict[str, Quantity]) -> int:
    """Return the cpu of a resource list, 0 where it is not named."""
    return cpu_millicores(str(amounts.get("cpu", "0")))


def memory_bytes(amounts: dict[str, Quantity]) -> int:
    """Return the memory of a resource list, 0 where it is not named."""
    return whole(str(amounts.get("memory", "0")))


def requested(container: Container) -> dict[str, Quantity]:
    """Return the requests, defaulted from the limits as the API server does."""
    return {**container.resources.limits, **container.resources.requests}


def qos_class(pod: Pod) -> Qos:
    """Return the pod's quality of service.

    Guaranteed: every container has limits for cpu and memory and requests no less;
    BestEffort: no container names either; Burstable: the rest.
    """
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    amounts = [(requested(c), c.resources.limits) for c in containers]
    if not any(_named(r) or _named(li) for r, li in amounts):
        return "BestEffort"
    guaranteed = all(
        millicores(r) == millicores(li) > 0 and memory_bytes(r) == memory_bytes(li) > 0
        for r, li in amounts
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _named(amounts: dict[str, Quantity]) -> bool:
    return millicores(amounts) > 0 or memory_bytes(amounts) > 0


def cpu_shares(request_millicores: int) -> int:
    """Return cpu.shares of a request: 1024 a core, at least 2."""
    return max(MIN_SHARES, min(request_millicores * 1024 // 1000, MAX_SHARES))


def cpu_quota_us(limit_millicores: int) -> int:
    """Return the quota per 100 ms of a limit, 0 for none."""
    if not limit_millicores:
        return 0
    return max(MIN_QUOTA_US, limit_millicores * PERIOD_US // 1000)


def container_resources(pod: Pod, container: Container, node_memory_bytes: int) -> Resources:
    """Return the cgroup values of one container."""
    limits = container.resources.limits
    return Resources(
        cpu_shares=cpu_shares(millicores(requested(container))),
        cpu_quota_us=cpu_quota_us(millicores(limits)),
        cpu_period_us=PERIOD_US,
        memory_limit_bytes=memory_bytes(limits),
        oom_score_adj=oom_score_adj(pod, container, node_memory_bytes),
    )


def oom_score_adj(pod: Pod, container: Container, node_memory_bytes: int) -> int:
    """Return who dies first when memory ends: the less was asked for, the higher."""
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return GUARANTEED_OOM_SCORE
    if qos == "BestEffort":
        return BEST_EFFORT_OOM_SCORE
    share = 1000 * memory_bytes(requested(container)) // max(node_memory_bytes, 1)
    return min(max(1000 - share, 1000 + GUARANTEED_OOM_SCORE), BEST_EFFORT_OOM_SCORE - 1)


@dataclass(frozen=True, slots=True)
class PodCgroup:
    """A pod's cgroup: its path below the hierarchy's root, and its own bounds (0: none)."""

    path: str
    cpu_shares: int
    cpu_quota_us: int
    memory_limit_bytes: int


def pod_cgroup(pod: Pod, root: str) -> PodCgroup:
    """Return the cgroup above the pod's containers: `<root>/kubepods/<qos>/pod<uid>`.

    Limits bind the pod only when every container has one; init containers run one at a
    time, so the larger of theirs and the sum of the others counts.
    """
    apps, inits = pod.spec.containers, pod.spec.init_containers
    cpu_limits = [millicores(c.resources.limits) for c in (*apps, *inits)]
    memory_limits = [memory_bytes(c.resources.limits) for c in (*apps, *inits)]
    return PodCgroup(
        path=f"{cgroup_of_class(qos_class(pod), root)}/pod{pod.metadata.uid}",
        cpu_shares=cpu_shares(_most(apps, inits, lambda c: millicores(requested(c)))),
        cpu_quota_us=(
            cpu_quota_us(_most(apps, inits, lambda c: millicores(c.resources.limits)))
            if all(cpu_limits)
            else 0
        ),
        memory_limit_bytes=(
            _most(apps, inits, lambda c: memory_bytes(c.resources.limits))
            if all(memory_limits)
            else 0
        ),
    )


def pod_cgroups(uid: str, root: str) -> list[str]:
    """Return where a pod's cgroup may be, for a pod of which only the uid is known."""
    classes: tuple[Qos, ...] = ("Guaranteed", "Burstable", "BestEffort")
    return [f"{cgroup_of_class(qos, root)}/pod{uid}" for qos in classes]


def cgroup_of_class(qos: Qos, root: str) -> str:
    """Return `<root>/kubepods`, `.../burstable` or `.../besteffort`."""
    base = f"{root.rstrip('/')}/kubepods"
    return base if qos == "Guaranteed" else f"{base}/{qos.lower()}"


def _most(
    apps: Iterable[Container], inits: Iterable[Container], amount: Callable[[Container], int]
) -> int:
    sidecars = 0
    peak = 0
    for container in inits:
        if container.sidecar:
            sidecars += amount(container)
        else:
            peak = max(peak, sidecars + amount(container))
    return max(peak, sidecars + sum(amount(c) for c in apps))
