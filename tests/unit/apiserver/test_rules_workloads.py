"""Deployment, ReplicaSet, ReplicationController, DaemonSet, StatefulSet: upstream's rules as cases."""

from typing import Any

import pytest
from strategy_cases import created, kind_of, refused, spec, status_refused, step_refused

from wherry.apiserver.strategy import strategy_for

LABELS = {"app": "x"}
POD = {"containers": [{"name": "c", "image": "i:1"}]}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
MANIFEST: dict[str, Any] = {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
D, RS, RC, DS, STS = (
    "apps/v1/Deployment",
    "apps/v1/ReplicaSet",
    "v1/ReplicationController",
    "apps/v1/DaemonSet",
    "apps/v1/StatefulSet",
)
LESS = "must be greater than or equal to 0"
MISMATCH = (
    'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match '
    "template `labels`"
)
DOTS = "must not contain dots"
PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
    "'93%', regex used for validation is '[0-9]+%')"
)


def manifest(address: str) -> dict[str, Any]:
    if address != RC:
        return MANIFEST
    return {"spec": {"selector": LABELS, "template": TEMPLATE}}


def rolling(**fields: Any) -> dict[str, Any]:
    return {"spec": {"strategy": {"rollingUpdate": fields}}}


def daemons(**fields: Any) -> dict[str, Any]:
    return {"spec": {"updateStrategy": {"rollingUpdate": fields}}}


def unreadable(detail: str) -> list[str]:
    shown = '{"matchLabels":{"app":"x"},"matchExpressions":[{"key":"a","operator":"Is"}]}'
    at = "spec.selector.matchExpressions[0].operator"
    return [
        f'{at}: Invalid value: "Is": not a valid selector operator',
        f"spec.selector: Invalid value: {shown}{detail}",
    ]


UNREADABLE = spec(selector={"matchExpressions": [{"key": "a", "operator": "Is"}]})


@pytest.mark.parametrize("address", [D, RS, RC, DS, STS])
def test_the_manifest_of_all_cases_is_accepted(address: str) -> None:
    assert refused(address, manifest(address)) == []


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        # A selector that is missing selects nothing; a DaemonSet is not even asked for it.
        (D, spec(selector=None), ["spec.selector: Required value", MISMATCH]),
        (RS, spec(selector=None), ["spec.selector: Required value", MISMATCH]),
        (STS, spec(selector=None), ["spec.selector: Required value", MISMATCH]),
        (DS, spec(selector=None), [MISMATCH]),
        # One that cannot be read is said twice, and then the template is left alone.
        (D, {"spec": UNREADABLE["spec"] | {"template": {"spec": {"containers": None}}}},
         unreadable(": invalid label selector")),
        (RS, UNREADABLE, unreadable(": invalid label selector")),
        (STS, UNREADABLE, unreadable("")),
        (DS, UNREADABLE, unreadable("")[:1]),
        # An empty one selects everything, which does not mismatch.
        (D, spec(selector={"matchLabels": None}),
         ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (RS, spec(selector={"matchLabels": None}),
         ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (STS, spec(selector={"matchLabels": None}),
         ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]),
        (D, spec(selector={"matchLabels": {"app": "y"}}), [MISMATCH]),
        (RC, spec(selector={"app": "y"}), [MISMATCH]),
        # A template that is missing is an empty one; a ReplicationController's is a pointer.
        (D, spec(template=None),
         [MISMATCH.replace('{"app":"x"}', "null"), "spec.template.spec.containers: Required value"]),
        (RC, spec(template=None), ["spec.template: Required value"]),
        (RC, spec(selector=None, template={"metadata": None}), ["spec.selector: Required value"]),
        (D, spec(template={"spec": {"restartPolicy": "Never"}}),
         ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
        (D, spec(template={"spec": {"activeDeadlineSeconds": 5}}),
         ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet "
          "is not Supported"]),
        (RC, spec(template={"spec": {"activeDeadlineSeconds": 5}}),
         ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in "
          "ReplicationController is not Supported"]),
        (DS, spec(template={"spec": {"activeDeadlineSeconds": 5}}),
         ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet "
          "is not Supported"]),
        (STS, spec(template={"spec": {"activeDeadlineSeconds": 5}}),
         ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in "
          "StatefulSet is not Supported"]),
    ],
)  # fmt: skip
def test_selector_and_template(address: str, change: dict[str, Any], expected: list[str]) -> None:
    assert refused(address, manifest(address), change) == expected


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (D, spec(replicas=-1, minReadySeconds=-1, revisionHistoryLimit=-1),
         [f"spec.replicas: Invalid value: -1: {LESS}",
          f"spec.minReadySeconds: Invalid value: -1: {LESS}",
          f"spec.revisionHistoryLimit: Invalid value: -1: {LESS}"]),
        (D, spec(progressDeadlineSeconds=-1),
         [f"spec.progressDeadlineSeconds: Invalid value: -1: {LESS}",
          "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than minReadySeconds"]),
        (D, spec(progressDeadlineSeconds=30, minReadySeconds=30),
         ["spec.progressDeadlineSeconds: Invalid value: 30: must be greater than minReadySeconds"]),
        (D, spec(progressDeadlineSeconds=31, minReadySeconds=30), []),
        (D, spec(revisionHistoryLimit=0, replicas=0), []),
        (D, rolling(maxUnavailable=0, maxSurge=0),
         ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when "
          "`maxSurge` is 0"]),
        (D, rolling(maxUnavailable="0%", maxSurge=1), []),
        (D, rolling(maxSurge="200%"), []),
        (D, rolling(maxUnavailable="101%"),
         ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater '
          "than 100%"]),
        (D, rolling(maxUnavailable="2", maxSurge=0),
         [f'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "2": {PERCENT}',
          'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "2": may not be 0 when '
          "`maxSurge` is 0"]),
        (D, rolling(maxSurge=-1), [f"spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: {LESS}"]),
        (D, {"spec": {"strategy": {"type": "Recreate"}}}, []),
        (D, {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}},
         ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
          "'Recreate'"]),
        (D, {"spec": {"strategy": {"type": "Slowly"}}},
         ['spec.strategy: Unsupported value: {"type":"Slowly"}: supported values: "Recreate", '
          '"RollingUpdate"']),
        (RS, spec(replicas=-1, minReadySeconds=-1),
         [f"spec.replicas: Invalid value: -1: {LESS}",
          f"spec.minReadySeconds: Invalid value: -1: {LESS}"]),
        (RC, spec(replicas=-1, minReadySeconds=-1),
         [f"spec.minReadySeconds: Invalid value: -1: {LESS}",
          f"spec.replicas: Invalid value: -1: {LESS}"]),
        (DS, {"spec": {"updateStrategy": {"type": "OnDelete"}}}, []),
        (DS, daemons(maxUnavailable="150%"),
         ['spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be '
          "greater than 100%"]),
        (DS, daemons(maxUnavailable="150%", maxSurge=1),
         ['spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be '
          "greater than 100%",
          "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when "
          "maxUnavailable is non-zero"]),
        (DS, daemons(maxUnavailable="0%", maxSurge="100%"), []),
        (DS, spec(minReadySeconds=-1, revisionHistoryLimit=-1),
         [f"spec.minReadySeconds: Invalid value: -1: {LESS}",
          f"spec.revisionHistoryLimit: Invalid value: -1: {LESS}"]),
        (STS, {"spec": {"updateStrategy": {"type": "Sometimes"}}},
         ["spec.updateStrategy: Invalid value: {\"type\":\"Sometimes\"}: must be 'RollingUpdate' or "
          "'OnDelete'"]),
        (STS, {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}},
         ['spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for '
          "updateStrategy 'RollingUpdate'"]),
        (STS, daemons(maxUnavailable=0),
         ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"]),
        (STS, daemons(maxUnavailable="10%"), []),
        (STS, daemons(maxUnavailable="110%"),
         ['spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "110%": must not be '
          "greater than 100%"]),
        (STS, daemons(maxUnavailable="some"),
         [f'spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "some": {PERCENT}',
          'spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "some": cannot be 0']),
        (STS, spec(persistentVolumeClaimRetentionPolicy={"whenScaled": "Burn"}),
         ['spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Burn": '
          'supported values: "Retain", "Delete"']),
        (STS, spec(ordinals={"start": -2}), [f"spec.ordinals.start: Invalid value: -2: {LESS}"]),
        (STS, spec(replicas=-3), [f"spec.replicas: Invalid value: -3: {LESS}"]),
        (STS, spec(serviceName="a.b"), [f'spec.serviceName: Invalid value: "a.b": {DOTS}']),
    ],
)  # fmt: skip
def test_numbers_and_strategies(address: str, change: dict[str, Any], expected: list[str]) -> None:
    assert refused(address, manifest(address), change) == expected


def test_a_stateful_sets_pods_mount_its_claims() -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod = {"containers": [{"name": "c", "image": "i:1", "volumeMounts": mounts}]}
    change = spec(volumeClaimTemplates=[CLAIM], template={"spec": pod})
    assert refused(STS, MANIFEST, change) == []
    at = "spec.template.spec.containers[0].volumeMounts[0].name"
    assert refused(STS, MANIFEST, spec(template={"spec": pod})) == [f'{at}: Not found: "data"']
    stored = created(STS, MANIFEST, change)
    assert "volumes" not in stored["spec"]["template"]["spec"]


def test_a_stateful_sets_claims_are_checked() -> None:
    bad = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "0"}}}}
    at = "spec.volumeClaimTemplates[0].spec"
    assert refused(STS, MANIFEST, spec(volumeClaimTemplates=[bad])) == [
        f"{at}.accessModes: Required value: at least 1 access mode is required",
        f'{at}.resources[storage]: Invalid value: "0": must be greater than zero',
    ]


def test_a_stateful_sets_name_is_a_label() -> None:
    assert list(strategy_for(kind_of(STS)).check_name("a.b")) == [DOTS]
    assert not strategy_for(kind_of(D)).check_name("a.b")


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (D, spec(selector={"matchLabels": {"a": "b"}}), "spec.selector"),
        (RS, spec(selector={"matchLabels": {"a": "b"}}), "spec.selector"),
        (DS, spec(selector={"matchLabels": {"a": "b"}}), "spec.selector"),
        (RC, spec(selector={"a": "b"}), ""),
        (STS, spec(selector={"matchLabels": {"a": "b"}}), "spec"),
        (STS, spec(serviceName="other"), "spec"),
        (STS, spec(podManagementPolicy="Parallel"), "spec"),
        (STS, spec(volumeClaimTemplates=[CLAIM]), "spec"),
        (STS, spec(replicas=3, minReadySeconds=4, revisionHistoryLimit=2, ordinals={"start": 5},
                   persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"},
                   updateStrategy={"type": "OnDelete", "rollingUpdate": None},
                   template={"metadata": {"labels": {"b": "c"}}}), ""),
        (D, spec(replicas=3, paused=True, template={"metadata": {"labels": {"b": "c"}}}), ""),
    ],
)  # fmt: skip
def test_what_never_changes(address: str, change: dict[str, Any], expected: str) -> None:
    found = step_refused(address, created(address, manifest(address)), change)
    assert [each.partition(":")[0] for each in found] == ([expected] if expected else [])


STATUSES = [
    (D, {"replicas": 1, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 4},
     ["status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
      "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
      "status.availableReplicas: Invalid value: 4: cannot be greater than status.replicas",
      "status.availableReplicas: Invalid value: 4: cannot be greater than readyReplicas"]),
    (D, {"replicas": 3, "readyReplicas": 1, "availableReplicas": 2},
     ["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"]),
    (D, {"replicas": -1, "updatedReplicas": -1, "readyReplicas": -1},
     [f"status.replicas: Invalid value: -1: {LESS}",
      f"status.updatedReplicas: Invalid value: -1: {LESS}",
      f"status.readyReplicas: Invalid value: -1: {LESS}",
      "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas",
      "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas"]),
    (D, {"unavailableReplicas": -1, "observedGeneration": -1},
     [f"status.unavailableReplicas: Invalid value: -1: {LESS}",
      f"status.observedGeneration: Invalid value: -1: {LESS}"]),
    (DS, {"numberReady": -1, "numberMisscheduled": -2},
     [f"status.numberMisscheduled: Invalid value: -2: {LESS}",
      f"status.numberReady: Invalid value: -1: {LESS}"]),
    (STS, {"replicas": 2, "currentReplicas": 3, "readyReplicas": 1,
           "availableReplicas": 2},
     ["status.currentReplicas: Invalid value: 3: cannot be greater than status.replicas",
      "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas"]),
    (RS, {"replicas": 1, "fullyLabeledReplicas": 2},
     ["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"]),
]  # fmt: skip


@pytest.mark.parametrize(("address", "status", "expected"), STATUSES)
def test_statuses(address: str, status: dict[str, Any], expected: list[str]) -> None:
    assert status_refused(address, created(address, manifest(address)), status) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ({"collisionCount": 3}, []),
        ({"collisionCount": 2}, []),
        (
            {"collisionCount": 1},
            ["status.collisionCount: Invalid value: 1: cannot be decremented"],
        ),
        ({}, ["status.collisionCount: Invalid value: 0: cannot be decremented"]),
    ],
)
def test_collisions_are_never_forgotten(count: dict[str, Any], expected: list[str]) -> None:
    for address in (D, DS, STS):
        old = created(address, manifest(address)) | {"status": {"collisionCount": 2}}
        assert status_refused(address, old, count) == expected
