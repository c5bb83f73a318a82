"""Each plugin: which nodes it rejects, in which words, and how it ranks the rest."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_objects import cluster, node, pod, service

from wherry.scheduler.framework import MAX_NODE_SCORE, FilterPlugin, ScorePlugin
from wherry.scheduler.node_info import PodInfo
from wherry.scheduler.plugins.node_affinity import NodeAffinity
from wherry.scheduler.plugins.node_name import NodeName, NodeUnschedulable
from wherry.scheduler.plugins.node_ports import NodePorts
from wherry.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from wherry.scheduler.plugins.normalize import scaled
from wherry.scheduler.plugins.selector_spread import SelectorSpread
from wherry.scheduler.plugins.taint_toleration import TaintToleration

FIT, TAINTS, AFFINITY, PORTS = NodeResourcesFit(), TaintToleration(), NodeAffinity(), NodePorts()


def reasons(plugin: FilterPlugin, info: PodInfo, bound: list[PodInfo], **fields: Any) -> list[str]:
    """Return why the plugin rejects a node with these pods on it, [] if it does not."""
    cache = cluster([node("n1", **fields)], {"n1": bound})
    fits = plugin.pre_filter(info, cache)
    rejection = fits(cache.nodes[0]) if fits is not None else None
    return list(rejection.reasons) if rejection is not None else []


@dataclass(frozen=True)
class Case:
    id: str
    plugin: FilterPlugin
    pod: PodInfo
    want: list[str]
    node: dict[str, Any] = field(default_factory=dict)
    bound: list[PodInfo] = field(default_factory=list)


GPU = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
TAINTED = ["node(s) had untolerated taint {gpu: yes}"]
MISMATCH = ["node(s) didn't match Pod's node affinity/selector"]
TAKEN = ["node(s) didn't have free ports for the requested pod ports"]


def tolerating(**toleration: str) -> PodInfo:
    return pod("p", tolerations=[toleration])


def requiring(*terms: dict[str, Any]) -> PodInfo:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return pod("p", affinity={"nodeAffinity": required})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


SSD = {"labels": {"disk": "ssd", "cores": "8"}}

CASES = [
    Case("room", FIT, pod("p", cpu="1", memory="1Gi"), []),
    Case("exactly enough", FIT, pod("p", cpu="4", memory="8Gi"), []),
    Case("no cpu", FIT, pod("p", cpu="3"), ["Insufficient cpu"], bound=[pod("q", cpu="1500m")]),
    Case(
        "neither",
        FIT,
        pod("p", cpu="5", memory="9Gi"),
        ["Insufficient cpu", "Insufficient memory"],
    ),
    Case("full of pods", FIT, pod("p"), ["Too many pods"], {"pods": 1}, [pod("q")]),
    Case(
        "a pod that asks for nothing fits an overcommitted node",
        FIT,
        pod("p"),
        [],
        {"cpu": "1"},
        [pod("q", cpu="2")],
    ),
    Case(
        "ephemeral storage",
        FIT,
        pod("p", requests={"ephemeral-storage": "2Gi"}),
        ["Insufficient ephemeral-storage"],
        {"ephemeral_storage": "1Gi"},
    ),
    Case(
        "extended",
        FIT,
        pod("p", requests={"example.com/gpu": "1"}),
        ["Insufficient example.com/gpu"],
    ),
    Case(
        "init containers peak",
        FIT,
        pod(
            "p",
            cpu="1",
            initContainers=[{"name": "i", "resources": {"requests": {"cpu": "5"}}}],
        ),
        ["Insufficient cpu"],
    ),
    Case(
        "sidecars add up",
        FIT,
        pod(
            "p",
            cpu="2",
            initContainers=[
                {
                    "name": "s",
                    "restartPolicy": "Always",
                    "resources": {"requests": {"cpu": "2500m"}},
                }
            ],
        ),
        ["Insufficient cpu"],
    ),
    Case(
        "a limit is a request",
        FIT,
        pod("p", containers=[{"name": "c", "resources": {"limits": {"cpu": "5"}}}]),
        ["Insufficient cpu"],
    ),
    Case("tainted", TAINTS, pod("p"), TAINTED, {"taints": [GPU]}),
    Case("equal", TAINTS, tolerating(key="gpu", value="yes"), [], {"taints": [GPU]}),
    Case("other value", TAINTS, tolerating(key="gpu", value="no"), TAINTED, {"taints": [GPU]}),
    Case("exists", TAINTS, tolerating(key="gpu", operator="Exists"), [], {"taints": [GPU]}),
    Case("everything", TAINTS, tolerating(operator="Exists"), [], {"taints": [GPU]}),
    Case(
        "other effect",
        TAINTS,
        tolerating(key="gpu", operator="Exists", effect="NoExecute"),
        TAINTED,
        {"taints": [GPU]},
    ),
    Case("soft", TAINTS, pod("p"), [], {"taints": [{**GPU, "effect": "PreferNoSchedule"}]}),
    Case("selected", AFFINITY, pod("p", nodeSelector={"disk": "ssd"}), [], SSD),
    Case("not selected", AFFINITY, pod("p", nodeSelector={"disk": "hdd"}), MISMATCH, SSD),
    Case("in", AFFINITY, requiring(expression("disk", "In", "ssd", "nvme")), [], SSD),
    Case("not in", AFFINITY, requiring(expression("disk", "NotIn", "ssd")), MISMATCH, SSD),
    Case("more than", AFFINITY, requiring(expression("cores", "Gt", "4")), [], SSD),
    Case("not more than", AFFINITY, requiring(expression("cores", "Gt", "8")), MISMATCH, SSD),
    Case("less than", AFFINITY, requiring(expression("cores", "Lt", "9")), [], SSD),
    Case("no number", AFFINITY, requiring(expression("disk", "Lt", "9")), MISMATCH, SSD),
    Case(
        "one of the terms",
        AFFINITY,
        requiring(expression("none", "Exists"), expression("none", "DoesNotExist")),
        [],
        SSD,
    ),
    Case("no term", AFFINITY, requiring(), MISMATCH, SSD),
    Case("an empty term", AFFINITY, requiring({}), MISMATCH, SSD),
    Case(
        "by field",
        AFFINITY,
        requiring({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
        [],
    ),
    Case("port free", PORTS, pod("p", host_port=80), [], bound=[pod("q", host_port=81)]),
    Case("port taken", PORTS, pod("p", host_port=80), TAKEN, bound=[pod("q", host_port=80)]),
    Case(
        "host network takes its ports",
        PORTS,
        pod("p", host_port=80),
        TAKEN,
        bound=[
            pod(
                "q",
                hostNetwork=True,
                containers=[{"name": "c", "ports": [{"containerPort": 80}]}],
            )
        ],
    ),
    Case(
        "cordoned",
        NodeUnschedulable(),
        pod("p"),
        ["node(s) were unschedulable"],
        {"unschedulable": True},
    ),
    Case(
        "cordoned, tolerated",
        NodeUnschedulable(),
        tolerating(key="node.kubernetes.io/unschedulable", operator="Exists"),
        [],
        {"unschedulable": True},
    ),
    Case(
        "another node",
        NodeName(),
        pod("p", nodeName="n2"),
        ["node(s) didn't match the requested node name"],
    ),
    Case("this node", NodeName(), pod("p", nodeName="n1"), []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.plugin.name}: {c.id}")
def test_filter(case: Case) -> None:
    assert reasons(case.plugin, case.pod, case.bound, **case.node) == case.want


def ported(name: str, address: str) -> PodInfo:
    ports = [{"containerPort": 80, "hostPort": 80, "hostIP": address}]
    return pod(name, containers=[{"name": "c", "ports": ports}])


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("", "", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("0.0.0.0", "10.0.0.2", True),  # noqa: S104  # compared, not bound
        ("10.0.0.1", "", True),
    ],
)
def test_a_host_port_is_taken_at_its_address(one: str, other: str, conflict: bool) -> None:
    assert bool(reasons(PORTS, ported("p", one), [ported("q", other)])) is conflict


def scores(
    plugin: ScorePlugin, info: PodInfo, nodes: dict[str, dict[str, Any]], **bound: list[PodInfo]
) -> dict[str, int] | None:
    cache = cluster([node(name, **fields) for name, fields in nodes.items()], bound)
    cache.set_service(service("web", {"app": "web"}))
    found = plugin.score(info, cache.nodes, cache)
    return None if found is None else dict(zip(nodes, found, strict=True))


def test_the_emptier_node_scores_higher() -> None:
    got = scores(FIT, pod("p", cpu="1", memory="2Gi"), {"a": {}, "b": {}}, a=[pod("q", cpu="2")])
    # a: cpu 1000 of 4000 free, memory 8192 - 2048 - 200 of 8192; b: 3000 and 6144
    assert got == {"a": (25 + 72) // 2, "b": 75}


def test_pods_without_requests_count_for_the_score() -> None:
    got = scores(FIT, pod("p"), {"a": {}, "b": {}}, a=[pod("q")])
    assert got is not None
    assert got["a"] < got["b"]


def test_equal_shares_score_highest() -> None:
    plugin = NodeResourcesBalancedAllocation()
    got = scores(plugin, pod("p", cpu="2", memory="4Gi"), {"a": {}, "b": {"memory": "80Gi"}})
    assert got == {"a": 100, "b": int(100 * (1 - (0.5 - 0.05) / 2))}
    assert scores(plugin, pod("p"), {"a": {}}) is None


def test_soft_taints_are_scored_not_filtered() -> None:
    soft = [{"key": k, "effect": "PreferNoSchedule"} for k in ("x", "y")]
    got = scores(TAINTS, pod("p"), {"a": {"taints": soft}, "b": {"taints": soft[:1]}, "c": {}})
    assert got == {"a": 0, "b": 50, "c": 100}
    assert scores(TAINTS, pod("p"), {"a": {}}) is None


def test_preferred_terms_add_up() -> None:
    wishes = [
        {"weight": 30, "preference": expression("disk", "In", "ssd")},
        {"weight": 10, "preference": expression("zone", "Exists")},
    ]
    wish = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wishes}}
    nodes = {"a": {"labels": {"disk": "ssd"}}, "b": {"labels": {"zone": "z"}}, "c": {}}
    got = scores(AFFINITY, pod("p", affinity=wish), nodes)
    assert got == {"a": 100, "b": 33, "c": 0}


def test_pods_of_one_owner_spread() -> None:
    mine = [pod(str(n), owner="rs") for n in range(3)]
    got = scores(
        SelectorSpread(),
        pod("p", owner="rs"),
        {"a": {}, "b": {}, "c": {}},
        a=mine[:2],
        b=mine[2:],
        c=[pod("other", owner="rs-2")],
    )
    assert got == {"a": 0, "b": 50, "c": 100}


def test_pods_of_one_service_spread_whoever_owns_them() -> None:
    web = {"app": "web"}
    got = scores(
        SelectorSpread(),
        pod("p", owner="rs", labels=web),
        {"a": {}, "b": {}},
        a=[pod("q", owner="rs-2", labels={**web, "v": "2"})],
    )
    assert got == {"a": 0, "b": 100}


def test_the_zone_counts_twice() -> None:
    zones = {
        name: {"labels": {"topology.kubernetes.io/zone": name[0]}} for name in ("x1", "x2", "y1")
    }
    got = scores(SelectorSpread(), pod("p", owner="rs"), zones, x1=[pod("q", owner="rs")])
    assert got == {"x1": 0, "x2": 33, "y1": 100}


def test_who_has_no_owner_and_no_service_is_not_spread() -> None:
    assert scores(SelectorSpread(), pod("p"), {"a": {}}, a=[pod("q")]) is None


def test_a_pod_that_is_going_does_not_count() -> None:
    going = pod("q", owner="rs")
    meta = msgspec.structs.replace(going.pod.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    info = PodInfo.of(msgspec.structs.replace(going.pod, metadata=meta))
    assert scores(SelectorSpread(), pod("p", owner="rs"), {"a": {}}, a=[info]) is None


@given(st.lists(st.integers(0, 50), max_size=6), st.booleans())
def test_scaling_keeps_order_and_stays_in_range(raw: list[int], reverse: bool) -> None:
    got = scaled(raw, reverse=reverse)
    assert all(0 <= s <= MAX_NODE_SCORE for s in got)
    for a, x in zip(raw, got, strict=True):
        for b, y in zip(raw, got, strict=True):
            if a < b:
                assert (x >= y) if reverse else (x <= y)
