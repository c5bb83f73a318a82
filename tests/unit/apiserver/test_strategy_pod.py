"""Pods: what is filled in, and what is refused in which words."""

import copy
from typing import Any

import pytest

from wherry.api import kinds
from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import strategy_for
from wherry.apiserver.strategy.pod.defaults import pull_policy
from wherry.apiserver.strategy.pod.quality import qos_class

POD = strategy_for(kinds.POD)
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def pod(**spec: Any) -> dict[str, Any]:
    obj = {"spec": {"containers": [{"name": "c", "image": "i"}], **copy.deepcopy(spec)}}
    POD.default(obj)
    return obj


def one(**container: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "i", **container}])


def said(obj: dict[str, Any]) -> list[str]:
    return [f"{c.field}: {c.message}" for c in POD.validate(obj)]


def test_the_smallest_pod_gets_upstreams_defaults() -> None:
    obj = pod()
    assert obj["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    again = copy.deepcopy(obj)
    POD.default(again)
    assert again == obj
    assert said(obj) == []


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_defaults_of_parts() -> None:
    obj = pod(
        hostNetwork=True,
        containers=[
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }
        ],
        volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}],
        serviceAccount="old",
    )
    container = obj["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert obj["spec"]["volumes"] == [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
    ]
    assert obj["spec"]["serviceAccountName"] == "old"
    assert said(obj) == []


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        (
            [
                {
                    "limits": {"cpu": "1000m", "memory": "1Gi"},
                    "requests": {"cpu": "1", "memory": "1Gi"},
                }
            ],
            "Guaranteed",
        ),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[dict[str, Any]], expected: str) -> None:
    containers = [{"resources": r} for r in resources]
    assert qos_class({"containers": containers}) == expected


C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(containers=[]), ["spec.containers: Required value"]),
        (
            pod(containers=[{}]),
            [f"{C}.name: Required value", f"{C}.image: Required value"],
        ),
        (
            pod(containers=[{"name": "A_b", "image": "i"}]),
            [f'{C}.name: Invalid value: "A_b": {DNS_LABEL}'],
        ),
        (
            pod(containers=[{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]),
            ['spec.containers[1].name: Duplicate value: "a"'],
        ),
        (
            one(ports=[{"containerPort": 80}, {"containerPort": 70000}]),
            [
                f"{C}.ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
            ],
        ),
        (
            one(ports=[{"containerPort": 80, "protocol": "tcp"}]),
            [
                f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: '
                '"SCTP", "TCP", "UDP"'
            ],
        ),
        (
            one(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
            [f'{C}.ports[1].name: Duplicate value: "a"'],
        ),
        (
            one(ports=[{"containerPort": 1, "name": "a--b"}]),
            [f'{C}.ports[0].name: Invalid value: "a--b": must not contain consecutive hyphens'],
        ),
        (
            one(imagePullPolicy="Sometimes"),
            [
                f'{C}.imagePullPolicy: Unsupported value: "Sometimes": supported values: '
                '"Always", "IfNotPresent", "Never"'
            ],
        ),
        (one(env=[{"value": "x"}]), [f"{C}.env[0].name: Required value"]),
        (
            one(
                env=[
                    {
                        "name": "A",
                        "value": "x",
                        "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
                    }
                ]
            ),
            [
                f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'
            ],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s"}}}]),
            [f"{C}.env[0].valueFrom.configMapKeyRef.key: Required value"],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}}]),
            [
                f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.color": error '
                "converting fieldPath: field label not supported: spec.color"
            ],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]),
            [
                f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": '
                'supported values: "metadata.name", "metadata.namespace", "metadata.uid", '
                '"spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", '
                '"status.podIP", "status.podIPs"'
            ],
        ),
        (
            one(
                env=[
                    {
                        "name": "A",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}},
                    }
                ]
            ),
            [],
        ),
        (one(envFrom=[{"secretRef": {}}]), [f"{C}.envFrom[0].secretRef.name: Required value"]),
        (
            one(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
            [f'{C}.volumeMounts[0].name: Not found: "v"'],
        ),
        (
            pod(
                containers=[
                    {
                        "name": "c",
                        "image": "i",
                        "volumeMounts": [
                            {"name": "v", "mountPath": "/x"},
                            {"name": "v", "mountPath": "/x", "subPath": "../y"},
                        ],
                    }
                ],
                volumes=[{"name": "v"}],
            ),
            [
                f'{C}.volumeMounts[1].mountPath: Invalid value: "/x": must be unique',
                f"{C}.volumeMounts[1].subPath: Invalid value: \"../y\": must not contain '..'",
            ],
        ),
        (
            one(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
            [
                f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
            ],
        ),
        (
            one(resources={"requests": {"memory": "-1"}}),
            [
                f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0'
            ],
        ),
        (
            one(livenessProbe={}),
            [f"{C}.livenessProbe: Required value: must specify a handler type"],
        ),
        (
            one(
                livenessProbe={
                    "exec": {"command": ["x"]},
                    "tcpSocket": {"port": 1},
                    "successThreshold": 2,
                }
            ),
            [
                f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            one(restartPolicy="Always"),
            [f"{C}.restartPolicy: Forbidden: may not be set for non-init containers"],
        ),
        (
            pod(restartPolicy="Sometimes"),
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"Never", "OnFailure"'
            ],
        ),
        (
            pod(volumes=[{"name": "a"}, {"name": "a"}]),
            ['spec.volumes[1].name: Duplicate value: "a"'],
        ),
        (
            pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            pod(volumes=[{"name": "a", "configMap": {"items": [{"key": "k", "path": "/x"}]}}]),
            [
                "spec.volumes[0].configMap.name: Required value",
                'spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path',
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
            [
                'spec.tolerations[0].operator: Invalid value: "b": value must be empty when '
                "`operator` is 'Exists'"
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
            [
                "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set"
            ],
        ),
        (
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "a", "operator": "In"}]}
                            ]
                        }
                    }
                }
            ),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                "nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified "
                "when `operator` is 'In' or 'NotIn'"
            ],
        ),
        (
            pod(
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 0, "podAffinityTerm": {}}
                        ]
                    }
                }
            ),
            [
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "weight: Invalid value: 0: must be in the range 1-100",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "podAffinityTerm.topologyKey: Required value: can not be empty",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                'podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty',
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                f'podAffinityTerm.topologyKey: Invalid value: "": {NAME_PART}',
            ],
        ),
        (
            pod(terminationGracePeriodSeconds=-1),
            [
                "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"
            ],
        ),
    ],
)
def test_refusals(obj: dict[str, Any], expected: list[str]) -> None:
    assert said(obj) == expected


IMMUTABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
    "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"containers": [{"name": "c", "image": "other", "imagePullPolicy": "Always"}]}, []),
        ({"activeDeadlineSeconds": 5}, []),
        ({"tolerations": [{"key": "a"}, {"key": "b"}]}, []),
        ({"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]}, None),
        (
            {"tolerations": []},
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its "
                "tolerationSeconds"
            ],
        ),
        ({"nodeName": "n1"}, [IMMUTABLE]),
        ({"restartPolicy": "Never"}, [IMMUTABLE]),
        ({"terminationGracePeriodSeconds": 5}, [IMMUTABLE]),
        (
            {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]},
            ["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ],
)
def test_what_may_change(change: dict[str, Any], expected: list[str] | None) -> None:
    old = pod(tolerations=[{"key": "a"}])
    new = merge_patch(old, {"spec": change})
    POD.default(new)
    wrong = [f"{c.field}: {c.message}" for c in POD.validate_update(new, old)]
    if expected is None:
        assert wrong
    else:
        assert wrong == expected
