"""A good manifest of each kind that users apply, for the tests of what is refused of a change to it."""

import strategy_cases
from strategy_cases import Object

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
GOOD: dict[str, Object] = {
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


def created(address: str) -> Object:
    """Return the good one as it is stored when it was created."""
    return strategy_cases.created(address, GOOD[address])


def refused(address: str, change: Object | None = None) -> list[str]:
    """Return what is said about the creation of the good one with a change."""
    return strategy_cases.refused(address, GOOD[address], change)
