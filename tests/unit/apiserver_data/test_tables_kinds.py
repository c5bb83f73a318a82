"""The cells of kinds that only newer rows of the table have, in upstream's formats."""

from typing import Any

import pytest

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.api.times import format_time
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.tables import columns, row

NOW = 1_800_000_000.0


def ago(seconds: float) -> str:
    return format_time(NOW - seconds)


def printed(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    full = {"metadata": {"name": "x", "creationTimestamp": ago(300)}} | obj
    cells = row(BY_KIND[kind], full, NOW)
    return dict(zip([c.name for c in columns(BY_KIND[kind])], cells, strict=True))


TEMPLATE = {
    "spec": {
        "nodeSelector": {"disk": "ssd"},
        "containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}],
    }
}
CPU = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
TARGET = {"kind": "Deployment", "name": "web"}


@pytest.mark.parametrize(
    ("kind", "obj", "cells"),
    [
        (
            kinds.DAEMON_SET,
            {
                "spec": {"template": TEMPLATE, "selector": {"matchLabels": {"a": "b"}}},
                "status": {"desiredNumberScheduled": 3, "numberReady": 2},
            },
            {
                "Desired": 3,
                "Current": 0,
                "Ready": 2,
                "Node Selector": "disk=ssd",
                "Containers": "a,b",
                "Images": "i:1,j:2",
                "Selector": "a=b",
            },
        ),
        (
            kinds.STATEFUL_SET,
            {"spec": {"replicas": 3}, "status": {"readyReplicas": 1}},
            {"Ready": "1/3", "Age": "5m"},
        ),
        (
            kinds.CONTROLLER_REVISION,
            {
                "metadata": {
                    "name": "x",
                    "ownerReferences": [
                        {
                            "apiVersion": "apps/v1",
                            "kind": "DaemonSet",
                            "name": "d",
                            "controller": True,
                        }
                    ],
                },
                "revision": 4,
            },
            {"Controller": "daemonset.apps/d", "Revision": 4},
        ),
        (
            kinds.JOB,
            {
                "spec": {"completions": 3, "parallelism": 2},
                "status": {"succeeded": 1, "startTime": ago(90)},
            },
            {"Status": "Running", "Completions": "1/3", "Duration": "90s"},
        ),
        (
            kinds.JOB,
            {
                "spec": {"parallelism": 2},
                "status": {
                    "succeeded": 1,
                    "startTime": ago(600),
                    "completionTime": ago(480),
                    "conditions": [{"type": "Complete", "status": "True"}],
                },
            },
            {"Status": "Complete", "Completions": "1/1 of 2", "Duration": "2m"},
        ),
        (
            kinds.JOB,
            {"status": {"conditions": [{"type": "Suspended", "status": "True"}]}},
            {"Status": "Suspended", "Completions": "0/1", "Duration": ""},
        ),
        (
            kinds.CRON_JOB,
            {
                "spec": {"schedule": "@daily", "suspend": False},
                "status": {"active": [{}], "lastScheduleTime": ago(60)},
            },
            {
                "Schedule": "@daily",
                "Timezone": "<none>",
                "Suspend": "False",
                "Active": 1,
                "Last Schedule": "60s",
            },
        ),
        (
            kinds.HORIZONTAL_POD_AUTOSCALER,
            {
                "spec": {
                    "scaleTargetRef": TARGET,
                    "minReplicas": 1,
                    "maxReplicas": 4,
                    "metrics": [
                        {"type": "Resource", "resource": CPU},
                        {"type": "Pods", "pods": {"target": {"averageValue": "10"}}},
                        {"type": "External", "external": {"target": {"value": "3"}}},
                    ],
                },
                "status": {
                    "currentReplicas": 2,
                    "currentMetrics": [{"resource": {"current": {"averageUtilization": 7}}}],
                },
            },
            {
                "Reference": "Deployment/web",
                "Targets": "cpu: 7%/80%, <unknown>/10 + 1 more...",
                "MinPods": "1",
                "MaxPods": "4",
                "Replicas": 2,
            },
        ),
        (
            kinds.HORIZONTAL_POD_AUTOSCALER_V1,
            {
                "spec": {
                    "scaleTargetRef": TARGET,
                    "maxReplicas": 4,
                    "targetCPUUtilizationPercentage": 80,
                },
                "status": {"currentCPUUtilizationPercentage": 7},
            },
            {"Targets": "cpu: 7%/80%", "MinPods": "<unset>"},
        ),
        (
            kinds.POD_DISRUPTION_BUDGET,
            {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}},
            {"Min Available": "50%", "Max Unavailable": "N/A", "Allowed Disruptions": 1},
        ),
        (
            kinds.INGRESS,
            {
                "spec": {
                    "rules": [{"host": h} for h in ("a", "b", "c", "d")],
                    "tls": [{"hosts": ["a"]}],
                },
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            },
            {
                "Class": "<none>",
                "Hosts": "a,b,c + 1 more...",
                "Address": "192.0.2.1",
                "Ports": "80, 443",
            },
        ),
        (
            kinds.INGRESS_CLASS,
            {
                "spec": {
                    "controller": "c",
                    "parameters": {"kind": "K", "apiGroup": "g", "name": "n"},
                }
            },
            {"Controller": "c", "Parameters": "K.g/n"},
        ),
        (kinds.NETWORK_POLICY, {"spec": {"podSelector": {}}}, {"Pod-Selector": "<none>"}),
        (kinds.SERVICE_CIDR, {"spec": {"cidrs": ["10.0.0.0/8"]}}, {"CIDRs": "10.0.0.0/8"}),
        (
            kinds.IP_ADDRESS,
            {"spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}},
            {"ParentRef": "services/n/s"},
        ),
        (
            kinds.PERSISTENT_VOLUME,
            {
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                    "claimRef": {"namespace": "n", "name": "c"},
                    "persistentVolumeReclaimPolicy": "Retain",
                },
                "status": {"phase": "Bound"},
            },
            {
                "Capacity": "1Gi",
                "Access Modes": "RWO,RWX",
                "Reclaim Policy": "Retain",
                "Status": "Bound",
                "Claim": "n/c",
                "VolumeAttributesClass": "<unset>",
                "VolumeMode": "<unset>",
            },
        ),
        (
            kinds.PERSISTENT_VOLUME_CLAIM,
            {"spec": {"storageClassName": "s"}, "status": {"phase": "Pending"}},
            {"Status": "Pending", "Volume": "", "Capacity": "", "StorageClass": "s"},
        ),
        (
            kinds.STORAGE_CLASS,
            {
                "metadata": {
                    "name": "x",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                }
            },
            {
                "Name": "x (default)",
                "ReclaimPolicy": "Delete",
                "VolumeBindingMode": "Immediate",
                "AllowVolumeExpansion": False,
            },
        ),
        (
            kinds.CSI_DRIVER,
            {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}},
            {"AttachRequired": True, "TokenRequests": "a,b", "Modes": "<none>"},
        ),
        (
            kinds.RESOURCE_CLAIM,
            {"status": {"allocation": {"devices": {}}, "reservedFor": [{}]}},
            {"State": "allocated,reserved"},
        ),
        (kinds.RESOURCE_CLAIM, {}, {"State": "pending"}),
        (
            kinds.ROLE_BINDING,
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "ann"},
                    {"kind": "User", "name": "bob"},
                    {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                ],
            },
            {"Role": "Role/r", "Users": "ann, bob", "Groups": "", "ServiceAccounts": "n/s"},
        ),
        (kinds.ROLE, {}, {"Created At": ago(300)}),
        (
            kinds.RESOURCE_QUOTA,
            {
                "status": {
                    "hard": {"pods": "10", "limits.cpu": "4", "requests.cpu": "2"},
                    "used": {"pods": "1"},
                }
            },
            {"Request": "pods: 1/10, requests.cpu: 0/2", "Limit": "limits.cpu: 0/4"},
        ),
        (
            kinds.COMPONENT_STATUS,
            {"conditions": [{"type": "Healthy", "status": "False", "error": "late"}]},
            {"Status": "Unhealthy", "Message": "", "Error": "late"},
        ),
        (
            kinds.PRIORITY_CLASS,
            {"value": 7, "preemptionPolicy": "Never"},
            {"Value": 7, "Global-Default": False, "PreemptionPolicy": "Never"},
        ),
        (
            kinds.FLOW_SCHEMA,
            {"spec": {"priorityLevelConfiguration": {"name": "p"}, "matchingPrecedence": 9}},
            {"PriorityLevel": "p", "DistinguisherMethod": "<none>", "MissingPL": "?"},
        ),
        (
            kinds.PRIORITY_LEVEL_CONFIGURATION,
            {"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}},
            {"Type": "Exempt", "NominalConcurrencyShares": 0, "Queues": "<none>"},
        ),
        (
            kinds.VALIDATING_ADMISSION_POLICY_BINDING,
            {"spec": {"policyName": "p", "paramRef": {"name": "n"}}},
            {"PolicyName": "p", "ParamRef": "*/n"},
        ),
        (
            kinds.API_SERVICE,
            {
                "spec": {"service": {"namespace": "n", "name": "s"}},
                "status": {
                    "conditions": [{"type": "Available", "status": "False", "reason": "Missing"}]
                },
            },
            {"Service": "n/s", "Available": "False (Missing)"},
        ),
        (
            kinds.EVENT_V1,
            {"regarding": {"kind": "Pod", "name": "p"}, "note": "m", "deprecatedCount": 4},
            {"Object": "pod/p", "Message": "m", "Count": 4},
        ),
    ],
)
def test_cells(kind: Kind, obj: dict[str, Any], cells: dict[str, Any]) -> None:
    shown = printed(kind, obj)
    assert {name: shown[name] for name in cells} == cells


def test_kinds_without_columns_of_their_own_say_when_they_were_made() -> None:
    for kind in (kinds.LIMIT_RANGE, kinds.ROLE, kinds.CLUSTER_ROLE):
        assert [(c.name, c.type) for c in columns(BY_KIND[kind])] == [
            ("Name", "string"),
            ("Created At", "date"),
        ]
