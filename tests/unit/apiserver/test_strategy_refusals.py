"""Kinds that users apply: a manifest, one change to it, and what kube-apiserver says about it."""

import copy
from typing import Any

import pytest
import strategy_cases
from strategy_cases import created, kind_of

from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import strategy_for

CONTAINER = {"name": "c", "image": "i:1"}
LABELS = {"app": "x"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
TASK = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
RULE = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

GOOD: dict[str, dict[str, Any]] = {
    "apps/v1/DaemonSet": {"spec": SELECTED},
    "apps/v1/StatefulSet": {"spec": {**SELECTED, "serviceName": "db"}},
    "apps/v1/ControllerRevision": {"revision": 1, "data": {}},
    "autoscaling/v2/HorizontalPodAutoscaler": {
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3}
    },
    "batch/v1/Job": {"spec": {"template": TASK}},
    "batch/v1/CronJob": {
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": TASK}}}
    },
    "policy/v1/PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": {}}},
    "networking.k8s.io/v1/Ingress": {"spec": {"rules": [RULE]}},
    "networking.k8s.io/v1/IngressClass": {"spec": {"controller": "example.com/ingress"}},
    "networking.k8s.io/v1/NetworkPolicy": {"spec": {"podSelector": {}}},
    "networking.k8s.io/v1/ServiceCIDR": {"spec": {"cidrs": ["10.96.0.0/16"]}},
    "rbac.authorization.k8s.io/v1/Role": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "rbac.authorization.k8s.io/v1/ClusterRole": {
        "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    },
    "rbac.authorization.k8s.io/v1/RoleBinding": {
        "roleRef": REF,
        "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "b"}],
    },
    "v1/PersistentVolumeClaim": {"spec": CLAIM},
    "v1/PersistentVolume": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "nfs": {"server": "s", "path": "/p"},
        }
    },
    "storage.k8s.io/v1/StorageClass": {"provisioner": "example.com/nfs"},
    "v1/ResourceQuota": {"spec": {"hard": {"pods": "4", "requests.cpu": "500m"}}},
    "v1/LimitRange": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    "scheduling.k8s.io/v1/PriorityClass": {"value": 1000},
    "node.k8s.io/v1/RuntimeClass": {"handler": "kata"},
    "coordination.k8s.io/v1/Lease": {"spec": {"holderIdentity": "a"}},
    "v1/Node": {"spec": {"podCIDR": "10.244.1.0/24"}},
    "v1/Service": {"spec": {"ports": [{"port": 80}]}},
    "v1/Secret": {"data": {"a": "eA=="}},
    "discovery.k8s.io/v1/EndpointSlice": {"addressType": "IPv4", "endpoints": []},
    "v1/Event": {
        "eventTime": "2026-11-20T10:00:00.000000Z",
        "reportingComponent": "a/b",
        "reportingInstance": "i",
        "action": "Bind",
        "reason": "Bound",
        "involvedObject": {"namespace": "default"},
    },
    "storage.k8s.io/v1/CSIDriver": {"spec": {}},
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": {
        "webhooks": [
            {
                "name": "a.b.c",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"url": "https://h/x"},
            }
        ]
    },
    "apiregistration.k8s.io/v1/APIService": {
        "metadata": {"name": "v1.g.example"},
        "spec": {
            "group": "g.example",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
        },
    },
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema": {
        "spec": {"priorityLevelConfiguration": {"name": "l"}}
    },
}


def stored(address: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an object as it is when it was created."""
    return created(address, GOOD[address], change)


def refused(address: str, change: dict[str, Any]) -> list[str]:
    return strategy_cases.refused(address, GOOD[address], change)


@pytest.mark.parametrize("address", GOOD)
def test_what_is_good_is_accepted(address: str) -> None:
    assert refused(address, {}) == []
    once = stored(address)
    again = copy.deepcopy(once)
    strategy_for(kind_of(address)).default(again)
    assert again == once


DS, STS, HPA, JOB, CRON, PDB = (
    "apps/v1/DaemonSet",
    "apps/v1/StatefulSet",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "batch/v1/Job",
    "batch/v1/CronJob",
    "policy/v1/PodDisruptionBudget",
)
ING, POLICY = "networking.k8s.io/v1/Ingress", "networking.k8s.io/v1/NetworkPolicy"
RBAC = "rbac.authorization.k8s.io/v1"


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (
            DS,
            spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 0}}),
            [
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when "
                "maxSurge is 0"
            ],
        ),
        (
            DS,
            spec(updateStrategy={"type": "Sometimes"}),
            [
                'spec.updateStrategy: Unsupported value: {"type":"Sometimes"}: supported values: '
                '"RollingUpdate", "OnDelete"'
            ],
        ),
        (
            DS,
            spec(selector={"matchLabels": None}),
            ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
        ),
        (
            STS,
            spec(podManagementPolicy="Chaotic"),
            [
                "spec.podManagementPolicy: Invalid value: \"Chaotic\": must be 'OrderedReady' or "
                "'Parallel'"
            ],
        ),
        (
            STS,
            spec(updateStrategy={"rollingUpdate": {"partition": -1}}),
            [
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater "
                "than or equal to 0"
            ],
        ),
        (
            HPA,
            spec(minReplicas=5),
            ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            HPA,
            spec(maxReplicas=0),
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        (
            HPA,
            spec(metrics=[{"type": "Resource"}]),
            [
                "spec.metrics[0].resource: Required value: must populate information for the given "
                "metric source"
            ],
        ),
        (
            HPA,
            spec(scaleTargetRef={"kind": None, "name": "a/b"}),
            [
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            JOB,
            spec(parallelism=-1),
            ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "Always"}}),
            [
                'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
            ],
        ),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "Sometimes"}}),
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
                '"Always", "OnFailure", "Never"',
                'spec.template.spec.restartPolicy: Unsupported value: "Sometimes": supported values: '
                '"OnFailure", "Never"',
            ],
        ),
        (
            JOB,
            spec(completionMode="Indexed"),
            [],
        ),
        (
            JOB,
            spec(backoffLimitPerIndex=1),
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            CRON,
            spec(schedule="61 * * * *"),
            [
                'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'
            ],
        ),
        (
            CRON,
            spec(schedule="* * *"),
            [
                'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]',
            ],
        ),
        (CRON, spec(schedule=""), ["spec.schedule: Required value"]),
        (
            CRON,
            spec(schedule="TZ=UTC * * * * *"),
            [
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in '
                "schedule, use timeZone field instead"
            ],
        ),
        (
            CRON,
            spec(timeZone="Local"),
            [
                'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as '
                "defined in https://www.iana.org/time-zones"
            ],
        ),
        (
            CRON,
            spec(concurrencyPolicy="Maybe"),
            [
                'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", '
                '"Forbid", "Replace"'
            ],
        ),
        (
            PDB,
            spec(maxUnavailable=1),
            [
                'spec: Invalid value: {"minAvailable":1,"selector":{},"maxUnavailable":1}: '
                "minAvailable and maxUnavailable cannot be both set"
            ],
        ),
        (
            PDB,
            spec(minAvailable="101%"),
            ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%'],
        ),
        (
            ING,
            spec(rules=None),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            ING,
            spec(rules=[{**RULE, "host": "1.2.3.4"}]),
            ['spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'],
        ),
        (
            ING,
            spec(
                rules=[{"http": {"paths": [{"path": "x//", "pathType": "Exact", "backend": {}}]}}]
            ),
            [
                'spec.rules[0].http.paths[0].path: Invalid value: "x//": must be an absolute path',
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//\": must not contain '//'",
                'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend '
                "is required",
            ],
        ),
        (
            ING,
            {
                "metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}},
                "spec": {"ingressClassName": "b"},
            },
            [
                'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match '
                "`ingressClassName` when both are specified"
            ],
        ),
        (
            "networking.k8s.io/v1/IngressClass",
            spec(controller="nginx"),
            [
                'spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as '
                '"acme.io/foo")'
            ],
        ),
        (
            POLICY,
            spec(
                ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]
            ),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a '
                "strict subset of `cidr`"
            ],
        ),
        (
            POLICY,
            spec(
                ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]
            ),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a '
                "strict subset of `cidr`"
            ],
        ),
        (
            f"{RBAC}/ClusterRole",
            {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]}]},
            [
                'rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular '
                "resources and non-resource URLs"
            ],
        ),
        (
            DS,
            spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}),
            [
                'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set '
                "when maxUnavailable is non-zero"
            ],
        ),
        (DS, spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}), []),
        (
            POLICY,
            spec(egress=[{"ports": [{"port": 80, "endPort": 70}]}]),
            [
                "spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal "
                "to `port`"
            ],
        ),
        (
            POLICY,
            spec(ingress=[{"from": [{}]}]),
            ["spec.ingress[0].from[0]: Required value: must specify a peer"],
        ),
        (
            f"{RBAC}/Role",
            {"rules": [{"resources": ["pods"]}]},
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            ],
        ),
        (
            f"{RBAC}/Role",
            {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
            [
                'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to '
                "non-resource URLs"
            ],
        ),
        (
            f"{RBAC}/RoleBinding",
            {"roleRef": {"kind": "Thing"}, "subjects": [{"kind": "User"}]},
            [
                'roleRef.kind: Unsupported value: "Thing": supported values: "Role", "ClusterRole"',
                "subjects[0].name: Required value",
            ],
        ),
        (
            "v1/PersistentVolumeClaim",
            spec(accessModes=None, resources={"requests": {"storage": "0"}}),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                'spec.resources[storage]: Invalid value: "0": must be greater than zero',
            ],
        ),
        (
            "v1/PersistentVolume",
            spec(nfs={"path": "p"}, local={"path": "/d"}),
            [
                'spec.nfs.path: Invalid value: "p": must be an absolute path',
                "spec.local: Forbidden: may not specify more than 1 volume type",
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ],
        ),
        (
            "storage.k8s.io/v1/StorageClass",
            {"reclaimPolicy": "Burn"},
            ['reclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Retain"'],
        ),
        (
            "v1/ResourceQuota",
            spec(hard={"things": "1", "pods": "500m"}),
            [
                'spec.hard[things]: Invalid value: "things": must be a standard resource type or '
                "fully qualified",
                'spec.hard[things]: Invalid value: "things": must be a standard resource for quota',
                'spec.hard[pods]: Invalid value: "500m": must be an integer',
            ],
        ),
        (
            "v1/LimitRange",
            spec(limits=[{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]),
            [
                'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
                'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than '
                "default request value 1",
                'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default '
                "value 1",
            ],
        ),
        (
            "scheduling.k8s.io/v1/PriorityClass",
            {"value": 1_000_000_001},
            [
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ],
        ),
        (
            "node.k8s.io/v1/RuntimeClass",
            {"handler": ""},
            ["handler: Required value"],
        ),
        (
            "v1/Node",
            spec(podCIDR="10.244.1.0/24", podCIDRs=["here"]),
            [
                'spec.podCIDRs[0]: Invalid value: "here": must be a valid CIDR value, (e.g. '
                "10.9.8.0/24 or 2001:db8::/64)"
            ],
        ),
        (
            "v1/Service",
            spec(externalTrafficPolicy="Local"),
            [
                'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for '
                "externally-accessible services"
            ],
        ),
        (
            "v1/Service",
            spec(loadBalancerSourceRanges=["10.0.0.0"]),
            [
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is "
                "'LoadBalancer'",
                'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0": must be a valid CIDR '
                "value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            "v1/Service",
            spec(type="LoadBalancer", ports=[{"port": 10250}]),  # was kept from balancers once
            [],
        ),
        (
            "v1/Service",
            spec(ipFamilies=["IPv4", "IPv4", "IPv5"]),
            [
                'spec.ipFamilies[1]: Duplicate value: "IPv4"',
                'spec.ipFamilies[2]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
            ],
        ),
        (
            "v1/Secret",
            {"type": "kubernetes.io/basic-auth"},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        (
            "v1/Event",
            {"reportingInstance": None, "type": "Loud"},
            [
                "reportingInstance: Required value",
                'type: Invalid value: "": has invalid value: Loud',
            ],
        ),
        (
            "apiregistration.k8s.io/v1/APIService",
            spec(group="h"),
            [
                'metadata.name: Invalid value: "v1.g.example": must be '
                '`spec.version+"."+spec.group`: "v1.h"'
            ],
        ),
        (
            "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
            {"webhooks": [{"name": "a.b", "clientConfig": {}}]},
            [
                'webhooks[0].name: Invalid value: "a.b": should be a domain with at least three '
                "segments separated by dots",
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ],
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
            spec(matchingPrecedence=20000, priorityLevelConfiguration={"name": "A"}),
            [
                "spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000",
                f'spec.priorityLevelConfiguration.name: Invalid value: "A": {SUBDOMAIN}',
            ],
        ),
    ],
)
def test_refusals(address: str, change: dict[str, Any], expected: list[str]) -> None:
    assert refused(address, change) == expected


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (DS, spec(selector={"matchLabels": {"b": "c"}}), ["spec.selector: Invalid value: "]),
        (STS, spec(replicas=4, template={"spec": {"hostNetwork": True}}), []),
        (
            STS,
            spec(serviceName="other"),
            ["spec: Forbidden: updates to statefulset spec for fields"],
        ),
        (JOB, spec(parallelism=4), []),
        (JOB, spec(completions=4), ["spec.completions: Invalid value: 4: field is immutable"]),
        (
            JOB,
            spec(template={"spec": {"restartPolicy": "OnFailure"}}),
            ["spec.template: Invalid value: "],
        ),
        (f"{RBAC}/RoleBinding", {"roleRef": {"name": "s"}}, ["roleRef: Invalid value: "]),
        (f"{RBAC}/RoleBinding", {"subjects": []}, []),
        (
            "v1/PersistentVolumeClaim",
            spec(volumeMode="Block"),
            [
                "spec: Forbidden: spec is immutable after creation except resources.requests",
                'volumeMode: Invalid value: "Block": field is immutable',
            ],
        ),
        ("v1/PersistentVolumeClaim", spec(volumeName="pv"), []),
        (
            "v1/PersistentVolume",
            spec(nfs={"path": "/q"}),
            ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable"],
        ),
        (
            "storage.k8s.io/v1/StorageClass",
            {"provisioner": "other"},
            ["provisioner: Forbidden: updates to provisioner are forbidden."],
        ),
        (
            "scheduling.k8s.io/v1/PriorityClass",
            {"value": 7},
            ["value: Forbidden: may not be changed in an update."],
        ),
        (
            "node.k8s.io/v1/RuntimeClass",
            {"handler": "runc"},
            ['handler: Invalid value: "runc": field is immutable'],
        ),
        (
            "v1/Node",
            {"spec": {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24"]}},
            [
                'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
            ],
        ),
        (
            "discovery.k8s.io/v1/EndpointSlice",
            {"addressType": "IPv6"},
            ['addressType: Invalid value: "IPv6": field is immutable'],
        ),
        (
            "v1/ResourceQuota",
            spec(scopes=["BestEffort"]),
            ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
        ),
    ],
)
def test_what_may_not_change(address: str, change: dict[str, Any], expected: list[str]) -> None:
    strategy, old = strategy_for(kind_of(address)), stored(address)
    new = merge_patch(old, change)
    strategy.default(new)
    said = [f"{c.field}: {c.message}" for c in strategy.validate_update(new, old)]
    assert len(said) == len(expected), said
    for text, begin in zip(said, expected, strict=True):
        assert text.startswith(begin), text


@pytest.mark.parametrize(
    ("phase", "capacity", "size", "expected"),
    [
        ("Bound", "1Gi", "2Gi", ""),
        ("Bound", "512Mi", "600Mi", ""),
        (
            "Bound",
            "1Gi",
            "512Mi",
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
        ),
        ("Pending", "0", "2Gi", "spec: Forbidden: spec is immutable after creation except"),
    ],
)
def test_a_claim_grows_once_it_is_bound(
    phase: str, capacity: str, size: str, expected: str
) -> None:
    address = "v1/PersistentVolumeClaim"
    old = {**stored(address), "status": {"phase": phase, "capacity": {"storage": capacity}}}
    new = merge_patch(old, spec(resources={"requests": {"storage": size}}))
    said = [
        f"{c.field}: {c.message}" for c in strategy_for(kind_of(address)).validate_update(new, old)
    ]
    assert len(said) == bool(expected)
    assert "".join(said).startswith(expected)
