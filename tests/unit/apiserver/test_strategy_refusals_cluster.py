"""Storage, access, quotas, nodes and what else belongs to the cluster: a good manifest, one change to it, and what kube-apiserver says of it."""

import pytest
from strategy_cases import SUBDOMAIN, Object, cut, spec, step_refused
from strategy_manifests import created, refused

RBAC = "rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
        (
            f"{RBAC}/ClusterRole",
            {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""]}]},
            [
                'rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular '
                "resources and non-resource URLs"
            ],
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
            "v1/Secret",
            {"type": "kubernetes.io/basic-auth"},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        (
            "v1/Event",
            {"reportingInstance": None, "action": None},
            ["reportingInstance: Required value", "action: Required value"],
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
def test_what_is_refused(address: str, change: Object, expected: list[str]) -> None:
    assert refused(address, change) == expected


@pytest.mark.parametrize(
    ("address", "change", "expected"),
    [
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
            "v1/ResourceQuota",
            spec(scopes=["BestEffort"]),
            ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
        ),
    ],
)
def test_what_may_not_change(address: str, change: Object, expected: list[str]) -> None:
    found = step_refused(address, created(address), change)
    assert cut(found, expected) == expected


@pytest.mark.parametrize(
    ("phase", "capacity", "size", "expected"),
    [
        ("Bound", "1Gi", "2Gi", []),
        ("Bound", "512Mi", "600Mi", []),
        (
            "Bound",
            "1Gi",
            "512Mi",
            [
                "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
            ],
        ),
        ("Pending", "0", "2Gi", ["spec: Forbidden: spec is immutable after creation except"]),
    ],
)
def test_a_claim_grows_once_it_is_bound(
    phase: str, capacity: str, size: str, expected: list[str]
) -> None:
    address = "v1/PersistentVolumeClaim"
    status = {"phase": phase, "capacity": {"storage": capacity}}
    old = {**created(address), "status": status}
    found = step_refused(address, old, spec(resources={"requests": {"storage": size}}))
    assert cut(found, expected) == expected
