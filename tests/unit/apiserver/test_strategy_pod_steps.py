"""Pods, step by step: what of them may change, and what may be reported of them."""

from typing import Any

import pytest
from strategy_cases import Object, cut, status_refused, step_refused
from strategy_pods import POD, pod

ADDRESS = "v1/Pod"
MIRROR = "kubernetes.io/config.mirror"
ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
IMMUTABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
    "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)
TOLERATED = (
    "spec.tolerations: Forbidden: existing toleration can not be modified except its "
    "tolerationSeconds"
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"containers": [{"name": "c", "image": "other", "imagePullPolicy": "Always"}]}, []),
        ({"activeDeadlineSeconds": 5}, []),
        ({"tolerations": [{"key": "a"}, {"key": "b"}]}, []),
        (
            {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]},
            [TOLERATED],
        ),
        ({"tolerations": []}, [TOLERATED]),
        ({"nodeName": "n1"}, [IMMUTABLE]),
        ({"restartPolicy": "Never"}, [IMMUTABLE]),
        ({"terminationGracePeriodSeconds": 5}, [IMMUTABLE]),
        (
            {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]},
            ["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ],
)
def test_what_may_change(change: Object, expected: list[str]) -> None:
    old = pod(tolerations=[{"key": "a"}])
    assert step_refused(ADDRESS, old, {"spec": change}) == expected


def test_a_gated_pod_may_be_held_to_fewer_nodes_and_let_go() -> None:
    gates = [{"name": "a/b"}, {"name": "a/c"}]
    old = pod(schedulingGates=gates, nodeSelector={"a": "b"})

    def said_of(**change: Any) -> list[str]:
        return step_refused(ADDRESS, old, {"spec": change})

    assert said_of(nodeSelector={"c": "d"}, schedulingGates=gates[:1]) == []
    assert said_of(nodeSelector={"a": "c"}) == [
        'spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed '
        "(no mutations or deletions)"
    ]
    assert said_of(schedulingGates=[{"name": "a/d"}]) == [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
        "'a/d'"
    ]


def annotated(**annotations: str) -> Object:
    return {"annotations": annotations}


def terms(*each: Object) -> Object:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(each)}}}


def zones(*values: str) -> Object:
    return {"matchExpressions": [{"key": "zone", "operator": "In", "values": [v]} for v in values]}


GATED: Object = {"schedulingGates": [{"name": "a/b"}]}
TERMS = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
NEAR = {"podAntiAffinity": {REQUIRED: [{"topologyKey": "z", "labelSelector": {}}]}}

# the old pod, the change, what is wrong with it
UPDATES: list[tuple[Object, Object, list[str]]] = [
    (pod(), {"spec": {"activeDeadlineSeconds": 5}}, []),
    (pod(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": 4}}, []),
    (pod(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": 6}}, ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"]),
    (pod(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": None}}, ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"]),
    (pod(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": -1, "nodeName": "n"}}, ["spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647"]),
    (pod(terminationGracePeriodSeconds=-1), {"spec": {"terminationGracePeriodSeconds": 1}}, []),
    (pod(terminationGracePeriodSeconds=-1), {"spec": {"terminationGracePeriodSeconds": 2}}, [IMMUTABLE]),
    (pod(), {"spec": {"hostname": "h"}}, [IMMUTABLE]),
    (pod(), {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}, []),
    (pod(), {"spec": GATED}, ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a/b'"]),
    (pod(**GATED), {"spec": {"schedulingGates": None}}, []),
    (pod(**GATED), {"spec": {"nodeSelector": {"a": "b"}}}, []),
    (pod(), {"spec": {"nodeSelector": {"a": "b"}}}, [IMMUTABLE]),
    (pod(**GATED), {"spec": {"affinity": terms(zones("a"))}}, []),
    (pod(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("a", "b"))}}, []),
    (pod(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("b"))}}, [f"{TERMS}[0]: Invalid value: {{"]),
    (pod(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("a"), zones("b"))}}, [f"{TERMS}: Invalid value: ["]),
    (pod(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": None}}, [f"{TERMS}: Invalid value: []: no additions/deletions to non-empty NodeSelectorTerms"]),
    (pod(**GATED), {"spec": {"affinity": NEAR}}, [IMMUTABLE]),
    (pod(), {"spec": {"affinity": terms(zones("a"))}}, [IMMUTABLE]),
    (pod(annotated(**{MIRROR: "x"}), nodeName="n"), {"metadata": annotated(**{MIRROR: "y"})}, [f"metadata.annotations[{MIRROR}]: Forbidden: may not remove or update mirror pod annotation"]),
    (pod(nodeName="n"), {"metadata": annotated(**{MIRROR: "y"})}, [f"metadata.annotations[{MIRROR}]: Forbidden: may not add mirror pod annotation"]),
    (pod(), {"metadata": annotated(**{ARMOR: "unconfined"})}, [f"metadata.annotations[{ARMOR}]: Forbidden: may not add AppArmor annotations"]),
    (pod(annotated(**{ARMOR: "unconfined"})), {"metadata": {"annotations": None}}, [f"metadata.annotations[{ARMOR}]: Forbidden: may not remove or update AppArmor"]),
    (pod(annotated(a="b")), {"metadata": annotated(a="c")}, []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "change", "expected"), UPDATES)
def test_updates(old: Object, change: Object, expected: list[str]) -> None:
    assert cut(step_refused(ADDRESS, old, change), expected) == expected


@pytest.mark.parametrize(
    ("policy", "code", "refused"),
    [
        ("Never", 0, True),
        ("Never", 1, True),
        ("OnFailure", 0, True),
        ("OnFailure", 1, False),
        ("Always", 0, False),
    ],
)
def test_what_has_ended_stays_ended(policy: str, code: int, refused: bool) -> None:
    ended = {"name": "c", "state": {"terminated": {"exitCode": code}}}
    old = {**pod(restartPolicy=policy), "status": {"containerStatuses": [ended]}}
    runs = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    text = (
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated "
        "state"
    )
    assert status_refused(ADDRESS, old, runs) == ([text] if refused else [])


# the status that is reported, what is wrong with it
REPORTS: list[tuple[Object, list[str]]] = [
    ({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, []),
    ({"podIPs": [{"ip": "x"}]}, ['status.podIPs[0]: Invalid value: "x": must be a valid IP address']),
    ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}, ["status.podIPs: Invalid value: [", "status.podIPs[1]: Duplicate value: {"]),
    ({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}, ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`']),
    ({"nominatedNodeName": "N"}, ['status.nominatedNodeName: Invalid value: "N"']),
    ({"conditions": [{"type": "Ready"}, {"type": "a b"}]}, ['metadata.conditions[1].Type: Invalid value: "a b"']),
    ({"resourceClaimStatuses": [{"name": "x"}]}, ["status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry"]),
]  # fmt: skip


@pytest.mark.parametrize(("reported", "expected"), REPORTS)
def test_reports(reported: Object, expected: list[str]) -> None:
    old = {**pod(), "status": {"phase": "Pending"}}
    assert cut(status_refused(ADDRESS, old, reported), expected) == expected


def test_a_report_that_does_not_know_of_generations_keeps_them() -> None:
    def conditions(*generations: int) -> list[Object]:
        return [{"type": "Ready", **({"observedGeneration": g} if g else {})} for g in generations]

    old = {**pod(), "status": {"observedGeneration": 3, "conditions": conditions(2, 3)}}
    new = {**pod(), "status": {"conditions": conditions(0, 5, 0)}}
    POD.prepare_status(new, old)
    assert new["status"] == {"observedGeneration": 3, "conditions": conditions(2, 5, 0)}
