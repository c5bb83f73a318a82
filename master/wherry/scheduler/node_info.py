"""A node with what is on it, summed up; and a pod with what it asks for, read once.

The sums are kept while pods come and go, so that a decision costs the same on a full
node as on an empty one.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, NamedTuple

from wherry.api.objects import Node, Pod, Taint
from wherry.scheduler.resource import Resources, requests_of, resources_of, scored_requests

ZONE: Final = "topology.kubernetes.io/zone"
_ANY_ADDRESS: Final = frozenset(("", "0.0.0.0", "::"))  # noqa: S104  # compared, not bound


class Group(NamedTuple):
    """Pods that are alike to any selector: same namespace, controller and labels."""

    namespace: str
    controller_uid: str
    labels: frozenset[tuple[str, str]]


class HostPort(NamedTuple):
    """A port taken on the node itself; address "" is every address."""

    address: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A pod, and everything that plugins read of it again and again."""

    pod: Pod
    uid: str
    key: str
    requests: Resources
    scored_millicores: int
    scored_bytes: int
    ports: tuple[HostPort, ...]
    group: Group

    @staticmethod
    def of(pod: Pod) -> "PodInfo":
        """Read a pod."""
        meta, spec = pod.metadata, pod.spec
        millicores, memory = scored_requests(spec)
        controller = meta.controller
        return PodInfo(
            pod=pod,
            uid=meta.uid,
            key=meta.key,
            requests=requests_of(spec),
            scored_millicores=millicores,
            scored_bytes=memory,
            ports=_host_ports(pod),
            group=Group(
                meta.namespace,
                controller.uid if controller is not None else "",
                frozenset(meta.labels.items()),
            ),
        )


def _host_ports(pod: Pod) -> tuple[HostPort, ...]:
    return tuple(
        HostPort(
            "" if port.host_ip in _ANY_ADDRESS else port.host_ip,
            port.protocol,
            port.host_port or port.container_port,
        )
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port or pod.spec.host_network
    )


class NodeInfo:
    """A node and its pods; `node` is None while only pods bound to that name are known.

    Only the cache changes it; to plugins it is a value.
    """

    __slots__ = (
        "allocatable",
        "cpu_millicores",
        "ephemeral_bytes",
        "extended",
        "groups",
        "hard_taints",
        "memory_bytes",
        "name",
        "node",
        "pods",
        "ports",
        "scored_bytes",
        "scored_millicores",
        "soft_taints",
        "zone",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None
        self.allocatable = Resources()
        self.hard_taints: tuple[Taint, ...] = ()
        self.soft_taints: tuple[Taint, ...] = ()
        self.zone = ""
        self.pods: dict[str, PodInfo] = {}
        self.ports: Counter[HostPort] = Counter()
        self.groups: Counter[Group] = Counter()
        self.cpu_millicores = 0
        self.memory_bytes = 0
        self.ephemeral_bytes = 0
        self.extended: Counter[str] = Counter()
        self.scored_millicores = 0
        self.scored_bytes = 0

    def set_node(self, node: Node | None) -> None:
        """Take over what the Node object says."""
        self.node = node
        taints = node.spec.taints if node is not None else []
        self.hard_taints = tuple(t for t in taints if t.effect in ("NoSchedule", "NoExecute"))
        self.soft_taints = tuple(t for t in taints if t.effect == "PreferNoSchedule")
        self.allocatable = resources_of(node.status.allocatable if node is not None else {})
        self.zone = node.metadata.labels.get(ZONE, "") if node is not None else ""

    def add(self, pod: PodInfo) -> None:
        """Count a pod in."""
        self.pods[pod.uid] = pod
        self._count(pod, 1)

    def remove(self, uid: str) -> None:
        """Count a pod out."""
        self._count(self.pods.pop(uid), -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        asked = pod.requests
        self.cpu_millicores += sign * asked.cpu_millicores
        self.memory_bytes += sign * asked.memory_bytes
        self.ephemeral_bytes += sign * asked.ephemeral_bytes
        self.scored_millicores += sign * pod.scored_millicores
        self.scored_bytes += sign * pod.scored_bytes
        for name, value in asked.extended.items():
            self.extended[name] += sign * value
        for port in pod.ports:
            _tally(self.ports, port, sign)
        if not pod.pod.metadata.deleting:  # one that is going does not count for spreading
            _tally(self.groups, pod.group, sign)

    def check_invariants(self) -> None:
        """Compare the sums with a recount."""
        fresh = NodeInfo(self.name)
        for pod in self.pods.values():
            fresh.add(pod)
        for name in ("cpu_millicores", "memory_bytes", "ephemeral_bytes", "ports", "groups"):
            have, want = getattr(self, name), getattr(fresh, name)
            if have != want:
                raise AssertionError(f"node {self.name}: {name} is {have}, recounted {want}")


def _tally(counter: Counter[HostPort] | Counter[Group], key: HostPort | Group, sign: int) -> None:
    """Count, and forget what is counted down to nothing."""
    counts: Counter[HostPort | Group] = counter  # type: ignore[assignment]  # keys stay of one type
    counts[key] += sign
    if not counts[key]:
        del counts[key]
