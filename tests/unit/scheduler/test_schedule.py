"""The scheduling decision."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedule_objects import cluster, node, pod

from wherry.api.objects import Node
from wherry.scheduler.cache import Cache
from wherry.scheduler.core import Bind, Unschedulable, feasible_enough, schedule
from wherry.scheduler.framework import ClusterEvent, Profile
from wherry.scheduler.node_info import PodInfo
from wherry.scheduler.plugins.default import DEFAULT_PROFILE
from wherry.scheduler.plugins.node_resources import NodeResourcesFit

FIT = NodeResourcesFit()
ROOM_ONLY = Profile(filters=[FIT], scores=[(FIT, 1)])

nodes = st.lists(
    st.builds(
        node,
        st.text("abcdef", min_size=1, max_size=2),
        cpu=st.sampled_from(["1", "2", "4"]),
        pods=st.integers(0, 3),
        unschedulable=st.booleans(),
        labels=st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2),
    ),
    unique_by=lambda n: n.metadata.name,
    max_size=6,
)
wanted = st.builds(
    pod,
    st.just("p"),
    cpu=st.sampled_from(["", "500m", "3"]),
    owner=st.sampled_from(["", "rs"]),
    nodeSelector=st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=1),
)


def fitting(cache: Cache, info: PodInfo, profile: Profile) -> set[str]:
    prepared = [f for p in profile.filters if (f := p.pre_filter(info, cache)) is not None]
    return {n.name for n in cache.nodes if all(f(n) is None for f in prepared)}


@given(given_nodes=nodes, info=wanted, pick=st.integers(0, 99))
def test_a_bound_node_fits_and_no_node_is_rejected_that_fits(
    given_nodes: list[Node], info: PodInfo, pick: int
) -> None:
    cache = cluster(given_nodes)
    match schedule(info, cache, DEFAULT_PROFILE, pick=pick):
        case Bind(node=name):
            assert name in fitting(cache, info, DEFAULT_PROFILE)
        case Unschedulable(rejections=rejections):
            assert not fitting(cache, info, DEFAULT_PROFILE)
            assert rejections.keys() == {n.metadata.name for n in given_nodes}


@given(given_nodes=nodes, info=wanted, pick=st.integers(0, 99))
def test_no_fitting_node_is_better(given_nodes: list[Node], info: PodInfo, pick: int) -> None:
    cache = cluster(given_nodes)
    decision = schedule(info, cache, ROOM_ONLY, pick=pick)
    names = fitting(cache, info, ROOM_ONLY)
    if isinstance(decision, Bind):
        candidates = [n for n in cache.nodes if n.name in names]
        scores = dict(
            zip([n.name for n in candidates], FIT.score(info, candidates, cache) or (), strict=True)
        )
        assert scores[decision.node] == max(scores.values())


@given(given_nodes=nodes, info=wanted, pick=st.integers(0, 99))
def test_the_same_input_gives_the_same_decision_in_any_order(
    given_nodes: list[Node], info: PodInfo, pick: int
) -> None:
    forwards = schedule(info, cluster(given_nodes), DEFAULT_PROFILE, pick=pick)
    backwards = schedule(info, cluster(given_nodes[::-1]), DEFAULT_PROFILE, pick=pick)
    assert forwards == backwards


TAINT = {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}


@pytest.mark.parametrize(
    ("given_nodes", "want"),
    [
        pytest.param([], "no nodes available to schedule pods", id="none"),
        pytest.param(
            [{"cpu": "1"}, TAINT],
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.",
            id="one reason each",
        ),
        pytest.param(
            [{"cpu": "1", "memory": "1Gi"}] * 3,
            "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory.",
            id="two reasons on each",
        ),
        pytest.param(
            [{"cpu": "1", "unschedulable": True, **TAINT}],
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            id="the first plugin speaks",
        ),
    ],
)
def test_the_message_says_why_each_node_does_not_fit(
    given_nodes: list[dict[str, Any]], want: str
) -> None:
    cache = cluster([node(str(n), **fields) for n, fields in enumerate(given_nodes)])
    decision = schedule(pod("p", cpu="2", memory="2Gi"), cache, DEFAULT_PROFILE)
    assert isinstance(decision, Unschedulable)
    assert decision.message == want


def test_two_replicas_on_two_nodes_end_one_on_each_whatever_else_runs_there() -> None:
    for busy in range(8):
        others = [pod(f"o{n}", cpu="400m", memory="900Mi") for n in range(busy)]
        cache = cluster([node("a"), node("b")], {"a": others})
        placed = []
        for n in range(2):
            info = pod(f"web-{n}", owner="rs", cpu="100m")
            decision = schedule(info, cache, DEFAULT_PROFILE, pick=n)
            assert isinstance(decision, Bind)
            cache.set_pod(info, decision.node)
            placed.append(decision.node)
        assert sorted(placed) == ["a", "b"]


@pytest.mark.parametrize(
    ("count", "want"), [(0, 0), (1, 1), (100, 100), (101, 100), (1000, 420), (5000, 500)]
)
def test_large_clusters_are_sampled(count: int, want: int) -> None:
    assert feasible_enough(count) == want


def test_the_search_goes_on_where_the_last_one_ended() -> None:
    cache = cluster(node(f"n{n:03}") for n in range(300))
    enough = feasible_enough(300)
    seen = set()
    start = 0
    for n in range(30):
        decision = schedule(pod(f"p{n}"), cache, DEFAULT_PROFILE, start=start, pick=n)
        assert isinstance(decision, Bind)
        assert decision.examined == enough
        seen.add(decision.node)
        start += decision.examined
        cache.set_pod(pod(f"p{n}"), decision.node)
    assert len(seen) == 30


def test_events_wake_what_the_rejecting_plugins_wait_for() -> None:
    assert DEFAULT_PROFILE.wakes(frozenset(("NodeResourcesFit",))) & ClusterEvent.POD_GONE
    assert not DEFAULT_PROFILE.wakes(frozenset(("NodeAffinity",))) & ClusterEvent.POD_GONE
    assert DEFAULT_PROFILE.wakes(frozenset(("NodeAffinity",))) & ClusterEvent.NODE_LABEL


steps = st.lists(
    st.tuples(
        st.sampled_from(["node", "no node", "pod", "no pod"]),
        st.sampled_from("abc"),
        st.sampled_from("pqrs"),
        st.sampled_from(["", "rs"]),
    ),
    max_size=30,
)


@given(steps)
def test_sums_stay_true_whatever_comes_and_goes(story: list[tuple[str, str, str, str]]) -> None:
    cache = Cache()
    for what, where, name, owner in story:
        match what:
            case "node":
                cache.set_node(node(where))
            case "no node":
                cache.remove_node(where)
            case "pod":
                cache.set_pod(pod(name, cpu="1", owner=owner, host_port=80), where)
            case _:
                cache.remove_pod(f"pod-{name}")
        cache.check_invariants()
