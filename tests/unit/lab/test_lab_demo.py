"""The demo's proof accepts a cluster that works, and names what is wrong with one that does not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import pytest

from lablib.demo import Pod, prove
from lablib.errors import LabError

PODS = [
    Pod("echo-a", "10.244.1.2", "node-1"),
    Pod("echo-b", "10.244.1.3", "node-1"),
    Pod("echo-c", "10.244.2.2", "node-2"),
    Pod("echo-d", "10.244.2.3", "node-2"),
]
VIP = "10.96.0.7"


@dataclass(frozen=True)
class Cluster:
    """A cluster as its pods see it."""

    pods: Sequence[Pod] = tuple(PODS)
    backends: Sequence[Pod] = tuple(PODS)
    peer: Callable[[Pod], str] = lambda pod: pod.address
    resolved: str = VIP

    def ask(self, pod: Pod, program: str, arguments: Sequence[str]) -> list[str]:
        if "gethostbyname" in program:
            return [self.resolved for _ in arguments]
        url, count = arguments
        there = self.backends if VIP in url else [p for p in PODS if f"{p.address}:" in url]
        backends = cycle(there)
        servers = [next(backends) for _ in range(int(count))]
        return [
            json.dumps({"pod": s.name, "node": s.node, "peer": self.peer(pod)}) for s in servers
        ]

    def prove(self) -> str:
        return "\n".join(prove(self.pods, VIP, 2, self.ask))


def test_a_working_cluster_is_proved() -> None:
    text = Cluster().prove()
    assert "10.244.1.3 (node-1) asked 10.244.2.3 (node-2), which saw peer 10.244.1.3" in text
    assert (
        f"Service {VIP} asked 24 times from node-1: echo-a 6, echo-b 6, echo-c 6, echo-d 6" in text
    )
    assert f"on node-2: {VIP}" in text


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Cluster(peer=lambda _: "172.30.7.101"), "NAT"),
        (Cluster(pods=PODS[:3]), "3 of 4 pods are ready"),
        (Cluster(pods=[replace(p, node="node-1") for p in PODS]), "run on 1 of 2 nodes"),
        (Cluster(backends=[PODS[0], PODS[2]]), None),
        (Cluster(backends=PODS[2:]), "answered only from"),
        (Cluster(resolved="10.96.0.99"), "resolves to 10.96.0.99"),
    ],
    ids=["masquerade", "a pod short", "not spread", "two backends will do", "one node", "dns"],
)
def test_a_broken_one_is_named(broken: Cluster, said: str | None) -> None:
    if said is None:
        broken.prove()
        return
    with pytest.raises(LabError, match=said):
        broken.prove()
