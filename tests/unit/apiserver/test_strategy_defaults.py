"""What kube-apiserver fills in: a manifest, and the spec that it becomes."""

import copy
from typing import Any

import pytest

from wherry.api.kinds import Kind
from wherry.apiserver.strategy import strategy_for

LABELS = {"app": "x"}
CONTAINER = {"name": "c", "image": "i:1"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
FULL_CONTAINER = {
    "name": "c",
    "image": "i:1",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
}
FULL_POD = {
    "containers": [FULL_CONTAINER],
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
FULL_TEMPLATE = {"metadata": {"labels": LABELS}, "spec": FULL_POD}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
FULL_SELECTED = {"selector": {"matchLabels": LABELS}, "template": FULL_TEMPLATE}
TASK = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
FULL_TASK = {"metadata": {}, "spec": {**FULL_POD, "restartPolicy": "Never"}}
OWN = {
    "batch.kubernetes.io/controller-uid": "u-1",
    "batch.kubernetes.io/job-name": "x",
    "controller-uid": "u-1",
    "job-name": "x",
}


def defaulted(api_version: str, kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    group, _, version = api_version.rpartition("/")
    strategy = strategy_for(Kind(group, version, kind, ""))
    made = {"metadata": {"name": "x", "uid": "u-1"}, **copy.deepcopy(obj)}
    strategy.prepare_create(made)
    strategy.default(made)
    return made


@pytest.mark.parametrize(
    ("api_version", "kind", "sent", "expected"),
    [
        (
            "apps/v1",
            "Deployment",
            SELECTED,
            {
                **FULL_SELECTED,
                "replicas": 1,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            },
        ),
        (
            "apps/v1",
            "Deployment",
            {**SELECTED, "replicas": 0, "strategy": {"type": "Recreate"}},
            {
                **FULL_SELECTED,
                "replicas": 0,
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            },
        ),
        (
            "apps/v1",
            "DaemonSet",
            SELECTED,
            {
                **FULL_SELECTED,
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
                },
                "revisionHistoryLimit": 10,
            },
        ),
        (
            "apps/v1",
            "StatefulSet",
            {
                **SELECTED,
                "serviceName": "db",
                "volumeClaimTemplates": [{"metadata": {"name": "d"}}],
            },
            {
                **FULL_SELECTED,
                "serviceName": "db",
                "replicas": 1,
                "podManagementPolicy": "OrderedReady",
                "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "persistentVolumeClaimRetentionPolicy": {
                    "whenDeleted": "Retain",
                    "whenScaled": "Retain",
                },
                "volumeClaimTemplates": [
                    {
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": "d"},
                        "spec": {"volumeMode": "Filesystem"},
                        "status": {"phase": "Pending"},
                    }
                ],
            },
        ),
        (
            "batch/v1",
            "Job",
            {"template": TASK},
            {
                "template": {**FULL_TASK, "metadata": {"labels": OWN}},
                "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}},
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "suspend": False,
                "manualSelector": False,
                "podReplacementPolicy": "TerminatingOrFailed",
            },
        ),
        (
            "batch/v1",
            "CronJob",
            {"schedule": "@daily", "jobTemplate": {"spec": {"template": TASK}}},
            {
                "schedule": "@daily",
                "concurrencyPolicy": "Allow",
                "suspend": False,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {}, "spec": {"template": FULL_TASK}},
            },
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"maxReplicas": 3, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}},
            {
                "maxReplicas": 3,
                "minReplicas": 1,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ],
                "behavior": {
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "selectPolicy": "Max",
                        "policies": [
                            {"type": "Pods", "value": 4, "periodSeconds": 15},
                            {"type": "Percent", "value": 100, "periodSeconds": 15},
                        ],
                    },
                    "scaleDown": {
                        "stabilizationWindowSeconds": 60,
                        "selectPolicy": "Max",
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                    },
                },
            },
        ),
        (
            "v1",
            "Service",
            {
                "ports": [{"port": 80, "protocol": "", "targetPort": ""}],
                "sessionAffinity": "ClientIP",
            },
            {
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "type": "ClusterIP",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "internalTrafficPolicy": "Cluster",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
            },
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            {"egress": [{"ports": [{"port": 53}]}]},
            {
                "podSelector": {},
                "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
                "policyTypes": ["Ingress", "Egress"],
            },
        ),
        (
            "v1",
            "PersistentVolume",
            {"hostPath": {"path": "/d"}, "rbd": {"image": "i"}},
            {
                "hostPath": {"path": "/d", "type": ""},
                "rbd": {
                    "image": "i",
                    "pool": "rbd",
                    "user": "admin",
                    "keyring": "/etc/ceph/keyring",
                },
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
            },
        ),
        (
            "v1",
            "LimitRange",
            {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}}]},
            {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "1"},
                        "min": {"memory": "1Mi"},
                        "default": {"cpu": "1"},
                        "defaultRequest": {"cpu": "1", "memory": "1Mi"},
                    }
                ]
            },
        ),
        (
            "v1",
            "Pod",
            {
                "containers": [
                    {
                        **CONTAINER,
                        "imagePullPolicy": "",
                        "startupProbe": {"grpc": {"port": 1}, "periodSeconds": 0},
                        "lifecycle": {"preStop": {"httpGet": {"port": 1}}},
                    }
                ],
                "restartPolicy": "",
                "volumes": [
                    {
                        "name": "t",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                    },
                    {"name": "h", "hostPath": {"path": "/x"}},
                    {
                        "name": "d",
                        "downwardAPI": {
                            "items": [
                                {"path": "n", "fieldRef": {"fieldPath": "metadata.name"}},
                                {
                                    "path": "c",
                                    "resourceFieldRef": {
                                        "containerName": "c",
                                        "resource": "limits.cpu",
                                    },
                                },
                            ]
                        },
                    },
                ],
            },
            {
                **FULL_POD,
                "containers": [
                    {
                        **FULL_CONTAINER,
                        "startupProbe": {
                            "grpc": {"port": 1, "service": ""},
                            "timeoutSeconds": 1,
                            "periodSeconds": 10,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "lifecycle": {
                            "preStop": {"httpGet": {"port": 1, "path": "/", "scheme": "HTTP"}}
                        },
                    }
                ],
                "enableServiceLinks": True,
                "volumes": [
                    {
                        "name": "t",
                        "projected": {
                            "defaultMode": 420,
                            "sources": [
                                {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}
                            ],
                        },
                    },
                    {"name": "h", "hostPath": {"path": "/x", "type": ""}},
                    {
                        "name": "d",
                        "downwardAPI": {
                            "defaultMode": 420,
                            "items": [
                                {
                                    "path": "n",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"},
                                },
                                {
                                    "path": "c",
                                    "resourceFieldRef": {
                                        "containerName": "c",
                                        "resource": "limits.cpu",
                                        "divisor": "0",
                                    },
                                },
                            ],
                        },
                    },
                ],
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_specs(api_version: str, kind: str, sent: dict[str, Any], expected: dict[str, Any]) -> None:
    assert defaulted(api_version, kind, {"spec": sent})["spec"] == expected


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (
            "StorageClass",
            {"provisioner": "p"},
            {"provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
        ),
        (
            "CSIDriver",
            {},
            {
                "spec": {
                    "attachRequired": True,
                    "podInfoOnMount": False,
                    "storageCapacity": False,
                    "fsGroupPolicy": "ReadWriteOnceWithFSType",
                    "requiresRepublish": False,
                    "seLinuxMount": False,
                    "volumeLifecycleModes": ["Persistent"],
                }
            },
        ),
    ],
)
def test_whole_objects_of_storage(
    kind: str, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = defaulted("storage.k8s.io/v1", kind, sent)
    del made["metadata"]
    assert made == expected


def test_a_binding_names_the_groups_that_are_meant() -> None:
    sent = {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}
    made = defaulted("rbac.authorization.k8s.io/v1", "RoleBinding", sent)
    assert made["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert made["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"


def test_a_gated_pod_says_why_it_is_not_scheduled() -> None:
    sent = {"spec": {"containers": [CONTAINER], "schedulingGates": [{"name": "a.b/c"}]}}
    assert defaulted("v1", "Pod", sent)["status"] == {
        "phase": "Pending",
        "qosClass": "BestEffort",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ],
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("DaemonSet", {"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled"}),
        ("StatefulSet", {"replicas", "availableReplicas"}),
    ],
)
def test_statuses_have_what_typed_clients_ask_for(kind: str, status: set[str]) -> None:
    assert status <= set(defaulted("apps/v1", kind, {"spec": copy.deepcopy(SELECTED)})["status"])
