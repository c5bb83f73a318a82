"""ReplicaSet and ReplicationController decisions: what one pass does, and that passes converge."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from workload_objects import NOW, meta, owner, pod, template, view

from wherry.api.kinds import POD, REPLICA_SET
from wherry.api.objects import Pod
from wherry.api.times import format_time
from wherry.controllers.framework import Action, Create, Delete, Patch
from wherry.controllers.ownership import claim
from wherry.controllers.replication import (
    BURST_REPLICAS,
    DELETION_COST,
    Replicator,
    from_replica_set,
    from_replication_controller,
    reconcile,
)
from wherry.controllers.views import ReplicaSet, ReplicationController


def replica_set(wanted: int, *, min_ready_s: int = 0, **status: Any) -> ReplicaSet:
    return view(
        ReplicaSet,
        {
            "metadata": meta("rs"),
            "spec": {
                "replicas": wanted,
                "minReadySeconds": min_ready_s,
                "selector": {"matchLabels": {"app": "web"}},
                "template": template(),
            },
            "status": {"observedGeneration": 1, **status},
        },
    )


def steady(n: int) -> dict[str, int]:
    return dict.fromkeys(
        ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"), n
    )


def brief(actions: list[Action]) -> list[object]:
    """Say what the actions do, without their bodies."""
    said: list[object] = []
    for action in actions:
        match action:
            case Create(count=count):
                said.append(("create", count))
            case Delete(name=name):
                said.append(("delete", name))
            case Patch(body=body):
                said.append({k: v for k, v in body["status"].items() if isinstance(v, int)})
            case _:
                said.append(action)
    return said


@dataclass(frozen=True)
class Case:
    id: str
    rs: ReplicaSet
    pods: tuple[Pod, ...]
    want: list[object]
    current: bool = True


CASES = [
    Case("steady", replica_set(1, **steady(1)), (pod("a"),), []),
    Case("scale up from nothing", replica_set(3), (), [("create", 3)]),
    Case("burst is bounded", replica_set(9999), (), [("create", BURST_REPLICAS)]),
    Case(
        "a stale cache decides status only",
        replica_set(3),
        (pod("a"),),
        [{**steady(1), "observedGeneration": 1}],
        current=False,
    ),
    Case(
        "a pod being deleted is already gone",
        replica_set(1, **steady(1)),
        (pod("a"), pod("b", deletionTimestamp=format_time(NOW))),
        [],
    ),
    Case(
        "a finished pod does not count",
        replica_set(1, **steady(1)),
        (pod("a"), pod("b", phase="Failed")),
        [],
    ),
    Case(
        "ready is not yet available, and labels count",
        replica_set(1, min_ready_s=60),
        (pod("a", labels={"other": "label"}),),
        [{"replicas": 1, "readyReplicas": 1, "observedGeneration": 1}],
    ),
    Case(
        "too many",
        replica_set(1, **steady(2)),
        (pod("a"), pod("b", ready=False)),
        [
            {**steady(2), "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1},
            ("delete", "b"),
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_reconcile(case: Case) -> None:
    result = reconcile(from_replica_set(case.rs), case.pods, now=NOW, current=case.current)
    assert brief(list(result.actions)) == case.want


def test_it_looks_again_when_a_pod_becomes_available() -> None:
    rs = from_replica_set(replica_set(1, min_ready_s=60))
    assert reconcile(rs, [pod("a", ready_for_s=50)], now=NOW).again_s == pytest.approx(10)


def test_a_pod_is_made_from_the_template_and_owned() -> None:
    [create] = reconcile(from_replica_set(replica_set(1)), [], now=NOW).actions
    assert isinstance(create, Create)
    assert create.body == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "rs-",
            "namespace": "default",
            "labels": {"app": "web"},
            "ownerReferences": [owner("ReplicaSet", "rs")],
        },
        "spec": template()["spec"],
    }
    assert create.telling is not None
    assert create.telling.success == ("SuccessfulCreate", "Created pod: {name}")


def test_a_refused_creation_shows_as_condition_until_it_succeeds() -> None:
    rs = replica_set(1)
    [status, _create] = reconcile(from_replica_set(rs), [], now=NOW, failure="no room").actions
    assert isinstance(status, Patch)
    [condition] = status.body["status"]["conditions"]
    assert (condition["type"], condition["reason"], condition["message"]) == (
        "ReplicaFailure",
        "FailedCreate",
        "no room",
    )
    failed = view(
        ReplicaSet,
        {
            "metadata": meta("rs"),
            "spec": {"replicas": 1, "template": template()},
            "status": {"conditions": [condition]},
        },
    )
    [status] = reconcile(from_replica_set(failed), [pod("a")], now=NOW).actions
    assert isinstance(status, Patch)
    assert status.body["status"]["conditions"] is None


def test_a_replication_controller_selects_its_template_labels() -> None:
    rc = view(ReplicationController, {"metadata": meta("rc"), "spec": {"template": template()}})
    read = from_replication_controller(rc)
    assert read.replicas == 1
    assert read.selector.matches({"app": "web"})
    assert not read.selector.matches({"app": "other"})


CHEAPEST_FIRST: list[dict[str, Any]] = [
    {"node": "", "phase": "Pending", "ready": False},
    {"phase": "Pending", "ready": False},
    {"ready": False},
    {"annotations": {DELETION_COST: "-1"}},
    {"node": "crowded"},
    {"ready_for_s": 3},
    {"status": {"containerStatuses": [{"name": "web", "restartCount": 3}]}},
    {"creationTimestamp": format_time(NOW - 5)},  # younger
    {},
]


@pytest.mark.parametrize(("cheap", "dear"), [*itertools.combinations(CHEAPEST_FIRST, 2)])
def test_the_cheapest_pod_is_deleted(cheap: dict[str, Any], dear: dict[str, Any]) -> None:
    world = [pod("a", **dear), pod("z", **cheap)]  # names would decide the other way
    result = reconcile(
        from_replica_set(replica_set(1)), world, now=NOW, related={"crowded": 3, "n1": 1}
    )
    assert ("delete", "z") in brief(list(result.actions))


def test_claim_adopts_releases_and_leaves_strangers() -> None:
    rs = replica_set(1)
    world = [
        pod("mine"),
        pod("orphan", owner_name=""),
        pod("dying orphan", owner_name="", deletionTimestamp=format_time(NOW)),
        pod("relabelled", labels={"app": "other"}),
        pod("other orphan", owner_name="", labels={"app": "other"}),
        pod("stranger", owner_name="rs-2"),
    ]
    mine, actions = claim(REPLICA_SET, rs.metadata, rs.spec.selector.compiled(), POD, world)
    assert [p.metadata.name for p in mine] == ["mine"]
    owners = {
        a.name: a.body["metadata"]["ownerReferences"] for a in actions if isinstance(a, Patch)
    }
    assert owners == {"orphan": [owner("ReplicaSet", "rs")], "relabelled": None}


def test_an_owner_of_the_same_name_but_another_uid_owns_nothing() -> None:
    rs = replica_set(1)
    reborn = replace(rs.metadata, uid="uid-new")
    assert claim(REPLICA_SET, reborn, rs.spec.selector.compiled(), POD, [pod("a")]) == ([], [])


worlds = st.lists(
    st.builds(
        pod,
        st.text("abcdef", min_size=1, max_size=3),
        phase=st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
        ready=st.booleans(),
        deletionTimestamp=st.sampled_from([None, format_time(NOW)]),
    ),
    unique_by=lambda p: p.metadata.name,
    max_size=12,
)


@given(world=worlds, replicas=st.integers(0, 8))
def test_it_converges(world: list[Pod], replicas: int) -> None:
    rs = from_replica_set(replica_set(replicas))
    for step in range(3):
        actions = reconcile(rs, world, now=NOW).actions
        if not actions:
            break
        rs, world = perform(rs, world, list(actions), step)
    assert reconcile(rs, world, now=NOW).actions == []
    assert rs.status.replicas == replicas == sum(p.active for p in world)


def perform(
    rs: Replicator, world: list[Pod], actions: list[Action], step: int
) -> tuple[Replicator, list[Pod]]:
    """Be the driver and the API server."""

    for action in actions:
        match action:
            case Create(count=count):
                world = world + [pod(f"new-{step}-{n}") for n in range(count)]
            case Delete(uid=uid):
                world = [p for p in world if p.metadata.uid != uid]
            case Patch(body=body):
                status = {k: v for k, v in body["status"].items() if v is not None}
                whole = view(ReplicaSet, {"metadata": meta("rs"), "status": status})
                rs = dataclasses.replace(rs, status=whole.status)
            case _:
                raise AssertionError(action)
    return rs, world
