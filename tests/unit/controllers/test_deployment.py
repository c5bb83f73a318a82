"""Deployment decisions: single passes as tables, whole roll-outs as a simulation under promises."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from workload_objects import NOW, Json, meta, owner, pod, template, view

from wherry.api.objects import Pod
from wherry.api.times import format_time
from wherry.controllers import replication, rollout
from wherry.controllers.deployment import reconcile
from wherry.controllers.framework import Action, Create, Delete, Patch, Result
from wherry.controllers.revision import (
    DESIRED_REPLICAS,
    HASH_LABEL,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    find_new,
    normalized,
    template_hash,
)
from wherry.controllers.views import Deployment, ReplicaSet


def deployment(replicas: int = 10, image: str = "v1", **fields: Any) -> Deployment:
    status = fields.pop("status", {})
    metadata = fields.pop("metadata", {})
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(image),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {}},
        **fields,
    }
    return view(Deployment, {"metadata": meta("web", **metadata), "spec": spec, "status": status})


def rolling(surge: int | str, unavailable: int | str) -> Json:
    bounds = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": bounds}}


RECREATE: Json = {"strategy": {"type": "Recreate"}}


def replica_set(
    image: str,
    size: int,
    *,
    available: int | None = None,
    revision: int = 1,
    desired: int = 10,
    most: int = 13,
    age_s: int = 60,
    **status: Any,
) -> ReplicaSet:
    count = size if available is None else available
    annotations = {
        REVISION: str(revision),
        DESIRED_REPLICAS: str(desired),
        MAX_REPLICAS: str(most),
    }
    return view(
        ReplicaSet,
        {
            "metadata": meta(
                f"web-{image}",
                annotations=annotations,
                creationTimestamp=format_time(NOW - age_s),
                ownerReferences=[owner("Deployment", "web")],
            ),
            "spec": {"replicas": size, "template": template(image)},
            "status": {
                "replicas": size,
                "readyReplicas": count,
                "availableReplicas": count,
                "observedGeneration": 1,
                **status,
            },
        },
    )


def sizes(result: Result) -> dict[str, int]:
    """Return the new size of each ReplicaSet that is patched."""
    return {
        a.name: a.body["spec"]["replicas"]
        for a in result.actions
        if isinstance(a, Patch) and a.kind.kind == "ReplicaSet"
    }


def status_of(result: Result) -> Json:
    patches = [a.body for a in result.actions if isinstance(a, Patch)]
    [status] = [body["status"] for body in patches if "status" in body]
    return dict(status)


def condition(result: Result, type_: str = "Progressing") -> tuple[str, str]:
    [found] = [c for c in status_of(result)["conditions"] if c["type"] == type_]
    return found["status"], found["reason"]


# -- templates and revisions ------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {
            "metadata": {"labels": {"app": "web", HASH_LABEL: "xyz"}},
            "spec": {"a": [1, {"b": None}]},
        },
        {"spec": {"a": [1, {}]}, "metadata": {"labels": {"app": "web"}, "creationTimestamp": None}},
    ],
)
def test_equal_templates_have_equal_hashes(other: Json) -> None:
    base = {"metadata": {"labels": {"app": "web"}}, "spec": {"a": [1, {}]}}
    assert normalized(other) == normalized(base)
    assert template_hash(other) == template_hash(base)


def test_hashes_differ_by_template_and_by_collision_count() -> None:
    hashes = {template_hash(template(str(n)), count) for n in range(50) for count in range(3)}
    assert len(hashes) == 150
    assert all(set(h) <= set("bcdfghjklmnpqrstvwxz2456789") for h in hashes)


def test_the_new_set_is_found_by_its_template_the_oldest_first() -> None:
    sets = [replica_set("v1", 1, age_s=5), replica_set("v1", 1, age_s=50), replica_set("v2", 1)]
    assert find_new(deployment(), sets) is sets[1]
    assert find_new(deployment(image="v3"), sets) is None


def test_the_first_set_is_created_with_the_hash_everywhere() -> None:
    d = deployment(3, metadata={"annotations": {"kubernetes.io/change-cause": "first"}})
    result = reconcile(d, [], now=NOW)
    [create] = [a for a in result.actions if isinstance(a, Create)]
    text = template_hash(template("v1"))
    body = create.body
    assert body["metadata"]["name"] == f"web-{text}"
    assert body["metadata"]["labels"] == {"app": "web", HASH_LABEL: text}
    assert body["metadata"]["annotations"] == {
        "kubernetes.io/change-cause": "first",
        REVISION: "1",
        DESIRED_REPLICAS: "3",
        MAX_REPLICAS: "4",
    }
    assert body["spec"]["selector"] == {"matchLabels": {"app": "web", HASH_LABEL: text}}
    assert body["spec"]["template"]["metadata"]["labels"] == {"app": "web", HASH_LABEL: text}
    assert body["spec"]["replicas"] == 3
    assert condition(result) == ("True", "NewReplicaSetCreated")
    assert condition(result, "Available") == ("False", "MinimumReplicasUnavailable")


def test_a_taken_name_changes_the_hash() -> None:
    result = reconcile(deployment(), [], now=NOW, name_taken=True)
    assert not [a for a in result.actions if isinstance(a, Create)]
    assert status_of(result)["collisionCount"] == 1


def test_undo_raises_the_old_revision_above_all_others() -> None:
    sets = [replica_set("v1", 0, revision=1, age_s=90), replica_set("v2", 10, revision=2)]
    result = reconcile(deployment(image="v1"), sets, now=NOW)
    patches = [a for a in result.actions if isinstance(a, Patch)]
    annotations = {
        p.name: p.body["metadata"]["annotations"] for p in patches if "metadata" in p.body
    }
    assert annotations["web-v1"][REVISION] == "3"
    assert annotations["web-v1"][REVISION_HISTORY] == "1"
    assert annotations["web"] == {REVISION: "3"}


def test_old_sets_beyond_the_history_limit_go() -> None:
    sets = [replica_set(f"v{n}", 0, revision=n) for n in (1, 2, 3, 4)]
    sets.append(replica_set("v5", 10, revision=5))
    d = deployment(image="v5", revisionHistoryLimit=2)
    gone = [a.name for a in reconcile(d, sets, now=NOW).actions if isinstance(a, Delete)]
    assert gone == ["web-v1", "web-v2"]


# -- sizes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    id: str
    d: Deployment
    sets: Sequence[ReplicaSet]
    want: dict[str, int]
    old_pods: int = 0


CASES = [
    Case(
        "the new one grows to the surge",
        deployment(image="v2"),
        [replica_set("v1", 10), replica_set("v2", 0)],
        {"web-v2": 3},
    ),
    Case(
        "then the old one shrinks as far as enough are available",
        deployment(image="v2"),
        [replica_set("v1", 10), replica_set("v2", 3, available=0)],
        {"web-v1": 8},
    ),
    Case(
        "what is broken goes first",
        deployment(image="v3", **rolling(0, "20%")),
        [
            replica_set("v1", 8, age_s=90),
            replica_set("v2", 2, available=0, age_s=80),
            replica_set("v3", 0),
        ],
        {"web-v2": 0},
    ),
    Case(
        "status lags: pods that are about to go are not counted on",
        deployment(image="v2"),
        [replica_set("v1", 8, available=10, replicas=10), replica_set("v2", 3, available=1)],
        {"web-v1": 7},
    ),
    Case(
        "status lags: pods that still have to go take up room",
        deployment(image="v2"),
        [replica_set("v1", 8, replicas=10), replica_set("v2", 3, available=0)],
        {},
    ),
    Case(
        "a set has not counted since its last change: wait",
        deployment(image="v2"),
        [replica_set("v1", 10), replica_set("v2", 0, observedGeneration=0)],
        {},
    ),
    Case(
        "resized, one set follows",
        deployment(20),
        [replica_set("v1", 10)],
        {"web-v1": 20},
    ),
    Case(
        "resized in the middle of a roll-out, all share",
        deployment(20, image="v2", **rolling(3, 2)),
        [replica_set("v1", 8), replica_set("v2", 5, available=0)],
        {"web-v1": 14, "web-v2": 9},
    ),
    Case(
        "resized to nothing",
        deployment(0, image="v2"),
        [replica_set("v1", 8), replica_set("v2", 5)],
        {"web-v1": 0, "web-v2": 0},
    ),
    Case(
        "paused: nothing moves but a new size",
        deployment(image="v2", paused=True),
        [replica_set("v1", 10)],
        {},
    ),
    Case(
        "recreate: first all old ones go",
        deployment(image="v2", **RECREATE),
        [replica_set("v1", 10, most=10), replica_set("v2", 0, most=10)],
        {"web-v1": 0},
    ),
    Case(
        "recreate: it waits for the last old pod",
        deployment(image="v2", **RECREATE),
        [replica_set("v1", 0, most=10), replica_set("v2", 0, most=10)],
        {},
        old_pods=1,
    ),
    Case(
        "recreate: then the new ones come",
        deployment(image="v2", **RECREATE),
        [replica_set("v1", 0, most=10), replica_set("v2", 0, most=10)],
        {"web-v2": 10},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_sizes(case: Case) -> None:
    got = sizes(reconcile(case.d, case.sets, now=NOW, old_pods=case.old_pods))
    was = {rs.metadata.name: rs.replicas for rs in case.sets}
    assert {name: n for name, n in got.items() if n != was[name]} == case.want


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "want"),
    [
        ("25%", "25%", 10, (3, 2)),
        ("25%", "25%", 1, (1, 0)),
        (0, "10%", 5, (0, 1)),
        (0, 0, 5, (0, 1)),
        (2, 9, 5, (2, 5)),
        ("100%", 0, 3, (3, 0)),
    ],
)
def test_bounds(
    surge: int | str, unavailable: int | str, replicas: int, want: tuple[int, int]
) -> None:
    got = rollout.bounds_of(deployment(replicas, **rolling(surge, unavailable)))
    assert (got.max_surge, got.max_unavailable) == want


# -- status -----------------------------------------------------------------------------


def progressing(reason: str, *, status: str = "True", ago_s: float = 0) -> Json:
    date = format_time(NOW - ago_s)
    return {
        "conditions": [
            {
                "type": "Progressing",
                "status": status,
                "reason": reason,
                "lastUpdateTime": date,
                "lastTransitionTime": date,
            }
        ]
    }


@pytest.mark.parametrize(
    ("d", "sets", "want"),
    [
        pytest.param(
            deployment(2, status=progressing("ReplicaSetUpdated")),
            [replica_set("v1", 2, desired=2, most=3)],
            ("True", "NewReplicaSetAvailable"),
            id="complete",
        ),
        pytest.param(
            deployment(2, status=progressing("NewReplicaSetCreated")),
            [replica_set("v1", 2, available=1, desired=2, most=3)],
            ("True", "ReplicaSetUpdated"),
            id="moving",
        ),
        pytest.param(
            deployment(
                2,
                status={
                    **progressing("ReplicaSetUpdated", ago_s=601),
                    "replicas": 2,
                    "updatedReplicas": 2,
                },
            ),
            [replica_set("v1", 2, available=0, desired=2, most=3)],
            ("False", "ProgressDeadlineExceeded"),
            id="stuck",
        ),
        pytest.param(
            deployment(2, status={**progressing("NewReplicaSetAvailable", ago_s=6000)}),
            [replica_set("v1", 2, available=0, desired=2, most=3)],
            ("True", "NewReplicaSetAvailable"),
            id="a pod that dies after the roll-out is no failed roll-out",
        ),
        pytest.param(
            deployment(2, image="v2", paused=True, status=progressing("ReplicaSetUpdated")),
            [replica_set("v1", 2, desired=2, most=3)],
            ("Unknown", "DeploymentPaused"),
            id="paused",
        ),
        pytest.param(
            deployment(2, image="v2", status=progressing("DeploymentPaused", status="Unknown")),
            [replica_set("v1", 2, desired=2, most=3)],
            ("Unknown", "DeploymentResumed"),
            id="resumed",
        ),
        pytest.param(
            deployment(2),
            [replica_set("v1", 2, available=0, desired=2, most=3)],
            ("True", "FoundNewReplicaSet"),
            id="found",
        ),
    ],
)
def test_progress(d: Deployment, sets: list[ReplicaSet], want: tuple[str, str]) -> None:
    # what moved is judged against the last status, which a found set has none of
    if want[1] == "FoundNewReplicaSet":
        d = replace(d, status=replace(d.status, replicas=2, updated_replicas=2))
    if want[1] in ("DeploymentResumed",):
        result = reconcile(d, [*sets, replica_set("v2", 0, desired=2, most=3)], now=NOW)
    else:
        result = reconcile(d, sets, now=NOW)
    assert condition(result) == want


def test_it_looks_again_when_the_deadline_ends() -> None:
    d = deployment(2, status=progressing("ReplicaSetUpdated", ago_s=100))
    d = replace(d, status=replace(d.status, replicas=2, updated_replicas=2))
    sets = [replica_set("v1", 2, available=0, desired=2, most=3)]
    assert reconcile(d, sets, now=NOW).again_s == pytest.approx(501, abs=1)


def test_counters_and_a_sets_failure_show_in_the_status() -> None:
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "no",
    }
    sets = [
        replica_set("v1", 8, age_s=90),
        replica_set("v2", 3, available=1, readyReplicas=2, conditions=[failure]),
    ]
    result = reconcile(deployment(image="v2", metadata={"generation": 7}), sets, now=NOW)
    status = status_of(result)
    counters = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    assert [status[c] for c in counters] == [11, 3, 10, 9]
    assert status["observedGeneration"] == 7
    assert condition(result, "ReplicaFailure") == ("True", "FailedCreate")


# -- whole roll-outs --------------------------------------------------------------------


@dataclass
class World:
    """A Deployment, its ReplicaSets and their pods; both controllers, in any order."""

    d: Deployment
    sets: dict[str, ReplicaSet] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    serial: int = 0

    def deployment_pass(self) -> bool:
        result = reconcile(self.d, list(self.sets.values()), now=NOW)
        for action in result.actions:
            self._perform(action)
        return bool(result.actions)

    def replica_set_pass(self, name: str) -> bool:
        rs = self.sets[name]
        result = replication.reconcile(replication.from_replica_set(rs), self.pods[name], now=NOW)
        for action in result.actions:
            match action:
                case Create(count=count):
                    for _ in range(count):
                        self.serial += 1
                        self.pods[name].append(
                            pod(f"p{self.serial}", owner_name=name, phase="Pending", ready=False)
                        )
                case Delete(uid=uid):
                    self.pods[name] = [p for p in self.pods[name] if p.metadata.uid != uid]
                case _:
                    self._perform(action)
        return bool(result.actions)

    def _perform(self, action: Action) -> None:
        match action:
            case Create(body=body):
                self.serial += 1
                made = {
                    **body,
                    "metadata": {
                        **meta(body["metadata"]["name"]),
                        **body["metadata"],
                        "creationTimestamp": format_time(NOW - 10_000 + self.serial),
                    },
                }
                self.sets[made["metadata"]["name"]] = view(ReplicaSet, made)
                self.pods[made["metadata"]["name"]] = []
            case Delete(name=name):
                assert not self.pods[name]
                del self.sets[name]
            case Patch(name="web", body=body):
                self.d = self._merged(self.d, body)
            case Patch(name=name, body=body):
                self.sets[name] = self._merged(self.sets[name], body)
            case _:
                raise AssertionError(action)

    @staticmethod
    def _merged(old: Any, body: Json) -> Any:
        if "status" in body:
            kept = {k: v for k, v in body["status"].items() if v is not None}
            return replace(old, status=view(type(old), {"status": kept}).status)
        if "metadata" in body:
            annotations = body["metadata"]["annotations"]
            both = {**old.metadata.annotations, **annotations}
            old = replace(old, metadata=replace(old.metadata, annotations=both))
        if "spec" in body and old.spec.replicas != body["spec"]["replicas"]:
            metadata = replace(old.metadata, generation=old.metadata.generation + 1)
            spec = replace(old.spec, replicas=body["spec"]["replicas"])
            old = replace(old, metadata=metadata, spec=spec)
        return old

    def pod_becomes_ready(self, n: int) -> None:
        waiting = [
            (name, at)
            for name, pods in self.pods.items()
            for at, p in enumerate(pods)
            if not p.ready and "bad" not in str(self.sets[name].spec.template)
        ]
        if waiting:
            name, at = waiting[n % len(waiting)]
            old = self.pods[name][at].metadata.name
            self.pods[name][at] = pod(old, owner_name=name)

    def change_image(self, image: str) -> None:
        metadata = replace(self.d.metadata, generation=self.d.metadata.generation + 1)
        spec = replace(self.d.spec, template=template(image))
        self.d = replace(self.d, metadata=metadata, spec=spec)

    def settle(self, *, ready: bool = True) -> None:
        for _ in range(400):
            moved = self.deployment_pass()
            for name in list(self.sets):
                moved |= self.replica_set_pass(name)
            if ready and not moved and any(not p.ready for p in self.all_pods()):
                self.pod_becomes_ready(0)
                moved = "bad" not in str(self.d.spec.template)
            if not moved:
                return
        raise AssertionError("does not settle")

    def all_pods(self) -> list[Pod]:
        return [p for pods in self.pods.values() for p in pods]

    @property
    def available(self) -> int:
        return sum(p.ready for p in self.all_pods())


bounds = st.sampled_from([0, 1, 2, 3, "25%", "50%", "100%"])
moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["deployment", "set", "ready"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["deployment", "set", "set", "ready"]), st.integers(0, 9)),
        st.tuples(st.just("image"), st.integers(0, 3)),
    ),
    min_size=30,
    max_size=60,
)
IMAGES = ["v1", "v2", "bad", "v3"]


@settings(max_examples=150)
@given(replicas=st.integers(1, 12), surge=bounds, unavailable=bounds, story=moves)
def test_a_rolling_update_keeps_its_promises_at_every_step(
    replicas: int, surge: int | str, unavailable: int | str, story: list[tuple[str, int]]
) -> None:
    world = World(deployment(replicas, **rolling(surge, unavailable)))
    world.settle()
    limits = rollout.bounds_of(world.d)
    assert world.available == replicas
    for what, n in [("image", 1), *story]:
        match what:
            case "deployment":
                world.deployment_pass()
            case "set":
                world.replica_set_pass(list(world.sets)[n % len(world.sets)])
            case "ready":
                world.pod_becomes_ready(n)
            case _:
                world.change_image(IMAGES[n])
        assert world.available >= replicas - limits.max_unavailable
        assert len(world.all_pods()) <= replicas + limits.max_surge
    world.change_image("v4")
    world.settle()
    new = find_new(world.d, world.sets.values())
    assert new is not None
    assert world.available == replicas == len(world.pods[new.metadata.name])
    assert len(world.all_pods()) == replicas
    assert world.d.metadata.annotations[REVISION] == new.metadata.annotations[REVISION]
    revisions = [int(rs.metadata.annotations[REVISION]) for rs in world.sets.values()]
    assert max(revisions) == int(new.metadata.annotations[REVISION])
    assert len(set(revisions)) == len(revisions)
    [progress] = [c for c in world.d.status.conditions if c.type == "Progressing"]
    assert progress.reason == "NewReplicaSetAvailable"


@settings(max_examples=60)
@given(
    first=st.integers(0, 12),
    second=st.integers(0, 12),
    image=st.sampled_from(IMAGES),
    passes=st.integers(0, 6),
)
def test_a_resize_in_the_middle_of_a_rollout_converges(
    first: int, second: int, image: str, passes: int
) -> None:
    world = World(deployment(first))
    world.settle()
    world.change_image(image)
    for _ in range(passes):
        world.deployment_pass()
        for name in list(world.sets):
            world.replica_set_pass(name)
    world.d = replace(world.d, spec=replace(world.d.spec, replicas=second))
    world.settle()
    if image != "bad":
        assert world.available == second == len(world.all_pods())
