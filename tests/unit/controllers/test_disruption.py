"""Disruption budgets: what is expected, what is healthy, and what may be evicted now."""

from typing import Any

import pytest
from workload_objects import NOW, Json, meta, owner, pod, view

from wherry.api.objects import Pod
from wherry.api.times import format_time
from wherry.controllers.disruption import DELETION_TIMEOUT_S, Scale, reconcile
from wherry.controllers.framework import Emit, Patch, Result
from wherry.controllers.views import DisruptionBudget

SELECTOR = {"matchLabels": {"app": "web"}}
SCALES = {"uid-rs": Scale("uid-d", 4), "uid-old": Scale("uid-d", 4), "uid-rc": Scale("uid-rc", 3)}


def budget(status: Json | None = None, **spec: Any) -> DisruptionBudget:
    obj = {"metadata": meta("b"), "spec": {"selector": SELECTOR, **spec}, "status": status or {}}
    return view(DisruptionBudget, obj)


def pods(ready: int, broken: int = 0, *, owner_name: str = "rs") -> list[Pod]:
    return [pod(f"r{n}", owner_name=owner_name) for n in range(ready)] + [
        pod(f"b{n}", owner_name=owner_name, ready=False) for n in range(broken)
    ]


def patch_of(result: Result) -> Json:
    (found,) = [a for a in result.actions if isinstance(a, Patch)]
    assert found.subresource == "status"
    assert found.revision == "1"
    status: Json = found.body["status"]
    return status


@pytest.mark.parametrize(
    ("spec", "given", "want"),
    [  # want: expected, desired, healthy, allowed
        ({"minAvailable": 2}, pods(3), (3, 2, 3, 1)),
        ({"minAvailable": 2}, pods(2, 2), (4, 2, 2, 0)),
        ({"minAvailable": 0}, pods(3), (3, 0, 3, 3)),
        ({"minAvailable": 5}, pods(3), (3, 5, 3, 0)),
        ({"minAvailable": "50%"}, pods(4), (4, 2, 4, 2)),
        ({"minAvailable": "26%"}, pods(4), (4, 2, 4, 2)),
        ({"minAvailable": "100%"}, pods(4), (4, 4, 4, 0)),
        ({"maxUnavailable": 1}, pods(4), (4, 3, 4, 1)),
        ({"maxUnavailable": 1}, pods(3), (4, 3, 3, 0)),
        ({"maxUnavailable": "26%"}, pods(4), (4, 2, 4, 2)),
        ({"maxUnavailable": 9}, pods(4), (4, 0, 4, 4)),
        ({"maxUnavailable": 1}, [], (0, 0, 0, 0)),
        ({"minAvailable": 1}, [], (0, 1, 0, 0)),
        ({"maxUnavailable": 1}, pods(2, owner_name=""), (0, 0, 2, 0)),
        ({}, pods(2), (0, 0, 2, 0)),
    ],
)
def test_counts(spec: Json, given: list[Pod], want: tuple[int, ...]) -> None:
    status = patch_of(reconcile(budget(**spec), given, SCALES, NOW))
    counts = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    assert tuple(status[c] for c in counts) == want
    assert status["observedGeneration"] == 1
    (condition,) = status["conditions"]
    allowed = want[-1] > 0
    assert condition["status"] == str(allowed)
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


def test_the_sets_of_one_deployment_share_its_scale() -> None:
    given = [
        *(pod(f"new{n}") for n in range(2)),
        *(pod(f"old{n}", owner_name="old") for n in range(3)),
        *(pod(f"rc{n}", ownerReferences=[owner("ReplicationController", "rc")]) for n in range(3)),
    ]
    status = patch_of(reconcile(budget(maxUnavailable=1), given, SCALES, NOW))
    assert (status["expectedPods"], status["desiredHealthy"]) == (7, 6)


def test_what_was_evicted_is_not_healthy_until_it_is_overdue() -> None:
    dates = {"r0": format_time(NOW - 10), "r1": format_time(NOW - DELETION_TIMEOUT_S - 1)}
    given = [*pods(3), pod("r3", deletionTimestamp=format_time(NOW))]
    was = {"disruptedPods": {**dates, "r3": format_time(NOW), "gone": format_time(NOW)}}
    result = reconcile(budget(was, minAvailable=1), given, SCALES, NOW)
    status = patch_of(result)
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1)
    assert status["disruptedPods"] == {"r0": dates["r0"], "r1": None, "r3": None, "gone": None}
    assert result.again_s == DELETION_TIMEOUT_S - 10
    (told,) = [a for a in result.actions if isinstance(a, Emit)]
    assert (told.reason, told.ref["name"]) == ("NotDeleted", "r1")


def test_a_controller_that_nobody_knows_allows_nothing() -> None:
    result = reconcile(budget({"disruptionsAllowed": 2}, maxUnavailable=1), pods(2), {}, NOW)
    status = patch_of(result)
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"
    assert [a.reason for a in result.actions if isinstance(a, Emit)] == [
        "CalculateExpectedPodCountFailed"
    ]
    settled = budget(status, maxUnavailable=1)
    assert not reconcile(settled, pods(2), {}, NOW).actions


@pytest.mark.parametrize(
    ("api_version", "kind", "why"),
    [
        ("apps/v1", "StatefulSet", 'found no controllers for pod "r0"'),
        ("batch/v1", "Job", "jobs.batch does not implement the scale subresource"),
        ("apps/v1", "DaemonSet", "daemonsets.apps does not implement the scale subresource"),
        ("acme.io/v1", "Fleet", 'no matches for kind "Fleet" in version "acme.io/v1"'),
    ],
)
def test_why_a_share_cannot_be_counted(api_version: str, kind: str, why: str) -> None:
    ref = {**owner(kind, "x"), "apiVersion": api_version}
    given = [pod("r0", ownerReferences=[ref])]
    status = patch_of(reconcile(budget(minAvailable="50%"), given, SCALES, NOW))
    [condition] = status["conditions"]
    assert (condition["reason"], condition["message"]) == ("SyncFailed", why)
    counted = patch_of(reconcile(budget(minAvailable=1), given, SCALES, NOW))
    assert counted["expectedPods"] == 1, "a number needs no scale"


@pytest.mark.parametrize("count", range(4))
def test_a_status_that_is_right_is_not_written(count: int) -> None:
    status = patch_of(reconcile(budget(minAvailable=2), pods(count), SCALES, NOW))
    again = reconcile(budget(status, minAvailable=2), pods(count), SCALES, NOW + 60)
    assert again.actions == []
