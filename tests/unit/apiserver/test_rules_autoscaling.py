"""HorizontalPodAutoscaler: upstream's rules as cases."""

from typing import Any

import pytest
from strategy_cases import created, refused, status_refused, step_refused

HPA = "autoscaling/v2/HorizontalPodAutoscaler"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
MANIFEST: dict[str, Any] = {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 5}}
AVERAGE = {"type": "AverageValue", "averageValue": "10"}
VALUE = {"type": "Value", "value": "10"}
NAMED = {"name": "requests"}
GROUPLESS = "apiVersion must specify API group"
SOURCES = '"ContainerResource", "External", "Object", "Pods", "Resource"'
M = "spec.metrics[0]"


def metric(kind: str, **sources: Any) -> dict[str, Any]:
    return {"spec": {"metrics": [{"type": kind, **sources}]}}


def target(**fields: Any) -> dict[str, Any]:
    return {"spec": {"scaleTargetRef": fields}}


def behavior(**rules: Any) -> dict[str, Any]:
    return {"spec": {"behavior": rules}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"spec": {"minReplicas": 0}},
         ["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"]),
        ({"spec": {"minReplicas": -1, "maxReplicas": -2}},
         ["spec.minReplicas: Invalid value: -1: must be greater than or equal to 1",
          "spec.maxReplicas: Invalid value: -2: must be greater than 0",
          "spec.maxReplicas: Invalid value: -2: must be greater than or equal to `minReplicas`"]),
        (target(kind=None), ["spec.scaleTargetRef.kind: Required value"]),
        (target(name=".."), ["spec.scaleTargetRef.name: Invalid value: \"..\": may not be '..'"]),
        (target(kind="a/b"),
         ["spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'"]),
        (target(apiVersion=None),
         [f'spec.scaleTargetRef.apiVersion: Invalid value: "": {GROUPLESS}']),
        (target(apiVersion="v1"),
         [f'spec.scaleTargetRef.apiVersion: Invalid value: "v1": {GROUPLESS}']),
        (target(apiVersion="/v1"),
         [f'spec.scaleTargetRef.apiVersion: Invalid value: "/v1": {GROUPLESS}']),
        (target(apiVersion="a/b/c"),
         ['spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: '
          "a/b/c"]),
        (target(apiVersion="v1", kind="ReplicationController"), []),
        (metric("Resource", resource={"name": "cpu", "target": AVERAGE}), []),
        (metric("Resource", resource={"target": AVERAGE}),
         [f"{M}.resource.name: Required value: must specify a resource name"]),
        (metric("Resource", resource={"name": "cpu", "target": VALUE}),
         [f"{M}.resource.target.averageUtilization: Required value: must set either a target raw "
          "value or a target utilization"]),
        (metric("Resource", resource={"name": "cpu", "target": AVERAGE | {"averageUtilization": 5}}),
         [f"{M}.resource.target.averageValue: Forbidden: may not set both a target raw value and a "
          "target utilization"]),
        (metric("Resource", resource={"name": "cpu", "target": {"type": "Utilization",
                                                                "averageUtilization": 0}}),
         [f"{M}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0"]),
        (metric("ContainerResource", containerResource={"name": "cpu", "target": AVERAGE}),
         [f"{M}.containerResource.container: Required value: must specify a container"]),
        (metric("Pods", pods={"metric": NAMED, "target": AVERAGE}), []),
        (metric("Pods", pods={"metric": {}, "target": VALUE}),
         [f"{M}.pods.metric.name: Required value: must specify a metric name",
          f"{M}.pods.target.averageValue: Required value: must specify a positive target "
          "averageValue"]),
        (metric("Pods", pods={"metric": {"name": "a%b"}, "target": AVERAGE | {"averageValue": "0"}}),
         [f"{M}.pods.metric.name: Invalid value: \"a%b\": may not contain '%'",
          f'{M}.pods.target.averageValue: Invalid value: "0": must be positive']),
        (metric("Object", object={"describedObject": {"kind": "Pod", "name": "p"},
                                  "metric": NAMED, "target": VALUE}), []),
        (metric("Object", object={"describedObject": {"name": "p"}, "metric": NAMED,
                                  "target": {"type": "Value"}}),
         [f"{M}.object.describedObject.kind: Required value",
          f"{M}.object.target.averageValue: Required value: must set either a target value or "
          "averageValue"]),
        (metric("External", external={"metric": NAMED, "target": {"type": "Value"}}),
         [f"{M}.external.target.averageValue: Required value: must set either a target value for "
          "metric or a per-pod target"]),
        (metric("External", external={"metric": NAMED, "target": VALUE | {"averageValue": "1"}}),
         [f"{M}.external.target.value: Forbidden: may not set both a target value for metric and a "
          "per-pod target"]),
        (metric("Pods", pods={"metric": NAMED, "target": {"averageValue": "1"}}),
         [f"{M}.pods.target.type: Required value: must specify a metric target type",
          f'{M}.pods.target.type: Invalid value: "": must be either Utilization, Value, or '
          "AverageValue"]),
        (metric("Pods"),
         [f"{M}.pods: Required value: must populate information for the given metric source"]),
        (metric("", pods={"metric": NAMED, "target": AVERAGE}),
         [f"{M}.type: Required value: must specify a metric source type",
          f'{M}.type: Unsupported value: "": supported values: {SOURCES}']),
        (metric("Guess"), [f'{M}.type: Unsupported value: "Guess": supported values: {SOURCES}']),
        (metric("Pods", pods={"metric": NAMED, "target": AVERAGE},
                resource={"name": "cpu", "target": AVERAGE}),
         [f"{M}.resource: Forbidden: must populate the given metric source only"]),
        (behavior(scaleUp={"stabilizationWindowSeconds": -1}),
         ["spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: -1: must be greater "
          "than or equal to zero"]),
        (behavior(scaleDown={"stabilizationWindowSeconds": 3601}),
         ["spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less "
          "than or equal to 3600"]),
        (behavior(scaleDown={"selectPolicy": "Some"}),
         ['spec.behavior.scaleDown.selectPolicy: Unsupported value: "Some": supported values: '
          '"Disabled", "Max", "Min"']),
        (behavior(scaleUp={"policies": [{"type": "Half", "value": 0, "periodSeconds": 1801}]}),
         ['spec.behavior.scaleUp.policies[0].type: Unsupported value: "Half": supported values: '
          '"Percent", "Pods"',
          "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
          "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than "
          "or equal to 1800"]),
        (behavior(scaleUp={"policies": []}),
         ["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"]),
        (behavior(scaleUp={"tolerance": "0.05"}), []),
        (behavior(scaleUp={"tolerance": "-1m"}),
         ['spec.behavior.scaleUp.tolerance: Invalid value: "-1m": must be greater than or equal to '
          "zero"]),
    ],
)  # fmt: skip
def test_autoscalers(change: dict[str, Any], expected: list[str]) -> None:
    assert refused(HPA, MANIFEST, change) == expected


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        # What stands there from a time when nobody asked may stand there.
        (target(apiVersion="v1"), {"spec": {"maxReplicas": 9}}, []),
        (target(apiVersion="v1"), target(kind="Other"), [GROUPLESS]),
        ({}, target(apiVersion="v2"), [GROUPLESS]),
        ({}, target(apiVersion="example.com/v2"), []),
    ],
)
def test_a_targets_group(
    before: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    found = step_refused(HPA, created(HPA, MANIFEST, before), change)
    assert [text.rpartition(": ")[2] for text in found] == expected


def test_statuses() -> None:
    found = status_refused(HPA, created(HPA, MANIFEST), {"desiredReplicas": -1})
    assert found == [
        "status.desiredReplicas: Invalid value: -1: must be greater than or equal to 0"
    ]
