"""Every other kind: a table of objects and what is said about them."""

import copy
from typing import Any

import pytest

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.strategy import metadata, names, strategy_for
from wherry.apiserver.strategy.names import NameRule

LABELS = {"app": "x"}
TEMPLATE = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def workload(**spec: Any) -> dict[str, Any]:
    return {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE, **spec}}


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": list(ports) or [{"port": 80}], **spec}}


def said(kind: Kind, obj: dict[str, Any]) -> list[str]:
    obj = {"metadata": {"name": "x", "namespace": "default"}, **copy.deepcopy(obj)}
    strategy_for(kind).default(obj)
    return [f"{c.field}: {c.message}" for c in strategy_for(kind).validate(obj)]


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (kinds.DEPLOYMENT, workload(), []),
        (kinds.REPLICA_SET, workload(), []),
        (
            kinds.DEPLOYMENT,
            {"spec": {"template": TEMPLATE}},
            [
                "spec.selector: Required value",
                'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not '
                "match template `labels`",
            ],
        ),
        (
            kinds.DEPLOYMENT,
            workload(selector={"matchLabels": {"app": "y"}}),
            [
                'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not '
                "match template `labels`"
            ],
        ),
        (
            kinds.DEPLOYMENT,
            workload(selector={}),
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            kinds.DEPLOYMENT,
            workload(replicas=-1),
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            kinds.DEPLOYMENT,
            workload(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when '
                "`maxSurge` is 0"
            ],
        ),
        (
            kinds.DEPLOYMENT,
            workload(strategy={"rollingUpdate": {"maxUnavailable": "many"}}),
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "many": a valid percent '
                "string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                "regex used for validation is '[0-9]+%')"
            ],
        ),
        (
            kinds.DEPLOYMENT,
            workload(strategy={"type": "Recreate", "rollingUpdate": {}}),
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` "
                "is 'Recreate'"
            ],
        ),
        (
            kinds.DEPLOYMENT,
            workload(template={**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}),  # type: ignore[dict-item]
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: '
                '"Always"'
            ],
        ),
        (kinds.REPLICATION_CONTROLLER, {"spec": {"template": TEMPLATE}}, []),
        (
            kinds.REPLICATION_CONTROLLER,
            {"spec": {"selector": {"a": "b"}, "template": TEMPLATE}},
            [
                'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not '
                "match template `labels`"
            ],
        ),
        (kinds.SERVICE, service(), []),
        (kinds.SERVICE, {"spec": {}}, ["spec.ports: Required value"]),
        (kinds.SERVICE, {"spec": {"clusterIP": "None"}}, []),
        (
            kinds.SERVICE,
            service({"port": 0, "targetPort": "A"}),
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                'spec.ports[0].targetPort: Invalid value: "A": must contain only alpha-numeric '
                "characters (a-z, 0-9), and hyphens (-)",
                'spec.ports[0].targetPort: Invalid value: "A": must contain at least one letter (a-z)',
            ],
        ),
        (
            kinds.SERVICE,
            service({"port": 1}, {"port": 2, "name": "b"}),
            ["spec.ports[0].name: Required value"],
        ),
        (
            kinds.SERVICE,
            service({"port": 1, "name": "a"}, {"port": 1, "name": "b"}),
            ['spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}'],
        ),
        (
            kinds.SERVICE,
            service({"port": 1, "nodePort": 30000}),
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            kinds.SERVICE,
            service(type="Magic"),
            [
                'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", '
                '"ExternalName", "LoadBalancer", "NodePort"'
            ],
        ),
        (kinds.SERVICE, service(type="ExternalName"), ["spec.externalName: Required value"]),
        (
            kinds.SERVICE,
            service(clusterIP="300.1.1.1"),
            [
                'spec.clusterIPs[0]: Invalid value: "300.1.1.1": must be a valid IP address, (e.g. '
                "10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        (
            kinds.SERVICE,
            service(
                sessionAffinity="ClientIP",
                sessionAffinityConfig={"clientIP": {"timeoutSeconds": 90000}},
            ),
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be "
                "greater than 0 and less than 86400"
            ],
        ),
        (
            kinds.CONFIG_MAP,
            {"data": {"a b": ""}},
            [
                'data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric '
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
                "regex used for validation is '[-._a-zA-Z0-9]+')"
            ],
        ),
        (
            kinds.CONFIG_MAP,
            {"data": {"a": "x" * (1 << 20) + "x"}},
            [": Too long: may not be more than 1048576 bytes"],
        ),
        (kinds.SECRET, {"stringData": {"a": "b"}}, []),
        (
            kinds.SECRET,
            {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}},
            ["data[tls.key]: Required value"],
        ),
        (
            kinds.NODE,
            {"spec": {"taints": [{"key": "a", "effect": "Never"}]}},
            [
                'metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", '
                '"PreferNoSchedule", "NoExecute"'
            ],
        ),
        (
            kinds.NODE,
            {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}] * 2}},
            [
                'metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoExecute"}: taints must '
                "be unique by key and effect pair"
            ],
        ),
        (
            kinds.ENDPOINTS,
            {"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 1}]}]},
            [
                'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback '
                "range (127.0.0.0/8, ::1/128)"
            ],
        ),
        (
            kinds.ENDPOINT_SLICE,
            {"addressType": "IPv4", "endpoints": [{"addresses": []}]},
            ["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        (kinds.ENDPOINT_SLICE, {}, ["addressType: Required value"]),
        (
            kinds.EVENT,
            {"involvedObject": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
        (
            kinds.LEASE,
            {"spec": {"leaseDurationSeconds": 0}},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (kinds.SUBNET_LEASE, {"PublicIP": "192.168.0.1"}, []),
        (
            kinds.SUBNET_LEASE,
            {"BackendType": "udp"},
            [
                "PublicIP: Required value",
                'BackendType: Unsupported value: "udp": supported values: "host-gw", "vxlan"',
            ],
        ),
        (kinds.NETWORK_CONFIG, {"Network": "10.244.0.0/16"}, []),
        (
            kinds.NETWORK_CONFIG,
            {"Network": "10.244.0.0/16", "SubnetLen": 8},
            ["SubnetLen: Invalid value: 8: must be larger than the network's 16 and at most 30"],
        ),
    ],
)
def test_validation(kind: Kind, obj: dict[str, Any], expected: list[str]) -> None:
    assert said(kind, obj) == expected


@pytest.mark.parametrize(
    ("kind", "new", "old", "expected"),
    [
        (
            kinds.REPLICA_SET,
            workload(),
            workload(selector={"matchLabels": {}}),
            ['spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable'],
        ),
        (
            kinds.SERVICE,
            service(clusterIP="10.96.0.5"),
            service(clusterIP="10.96.0.6"),
            ['spec.clusterIPs[0]: Invalid value: ["10.96.0.5"]: may not change once set'],
        ),
        (
            kinds.CONFIG_MAP,
            {"data": {"a": "2"}},
            {"data": {"a": "1"}, "immutable": True},
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        ),
        (
            kinds.SECRET,
            {"type": "b"},
            {"type": "a"},
            ['type: Invalid value: "b": field is immutable'],
        ),
    ],
)
def test_updates(kind: Kind, new: dict[str, Any], old: dict[str, Any], expected: list[str]) -> None:
    strategy = strategy_for(kind)
    new, old = copy.deepcopy(new), copy.deepcopy(old)
    for obj in (new, old):
        obj.setdefault("metadata", {"name": "x"})
        strategy.default(obj)
    wrong = [f"{c.field}: {c.message}" for c in strategy.validate_update(new, old)]
    assert wrong == expected


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (kinds.DEPLOYMENT, {}),
        (kinds.REPLICA_SET, {"replicas": 0}),
        (kinds.REPLICATION_CONTROLLER, {"replicas": 0}),
    ],
)
def test_workloads_begin_with_a_status(kind: Kind, status: dict[str, Any]) -> None:
    """Typed clients read `status.ready_replicas` right after the create: None has none."""
    obj = {"metadata": {"name": "x"}, **workload(), "status": {"replicas": 7}}
    strategy_for(kind).prepare_create(obj)
    assert obj["status"] == status


def test_defaults_of_a_deployment() -> None:
    obj: dict[str, Any] = {"metadata": {"name": "d"}, **copy.deepcopy(workload())}
    strategy_for(kinds.DEPLOYMENT).default(obj)
    spec = obj["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePolicy"] == "File"
    assert "enableServiceLinks" not in spec["template"]["spec"]


def test_defaults_of_a_service() -> None:
    obj = service({"port": 80}, type="NodePort")
    strategy_for(kinds.SERVICE).default(obj)
    assert obj["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "NodePort",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "externalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }


def test_string_data_of_a_secret_is_folded_into_its_data() -> None:
    obj = {"stringData": {"a": "new"}, "data": {"a": "b2xk", "b": "eA=="}}
    strategy_for(kinds.SECRET).default(obj)
    assert obj == {"data": {"a": "bmV3", "b": "eA=="}, "type": "Opaque"}


@pytest.mark.parametrize(
    ("kind", "name", "good"),
    [
        (kinds.SERVICE, "web", True),
        (kinds.SERVICE, "1web", False),
        (kinds.NAMESPACE, "a.b", False),
        (kinds.POD, "a.b", True),
        (kinds.SUBNET_LEASE, "10.244.1.0-24", True),
        (kinds.SUBNET_LEASE, "10.244.1.1-24", False),
        (kinds.SUBNET_LEASE, "10.244.1.0", False),
        (kinds.SUBNET_LEASE, "10.244.1.0-64", False),
        (kinds.NETWORK_CONFIG, "config", True),
        (kinds.NETWORK_CONFIG, "other", False),
    ],
)
def test_names_of_kinds(kind: Kind, name: str, good: bool) -> None:
    assert (not strategy_for(kind).check_name(name)) is good


@pytest.mark.parametrize(
    ("rule", "text", "reasons"),
    [
        (names.dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.dns1035_label, "1a", [LABEL_1035]),
        (names.qualified_name, "a/b", []),
        (names.qualified_name, "/b", ["prefix part must be non-empty"]),
        (names.label_value, "x" * 64, ["must be no more than 63 characters"]),
        (names.env_name, "A.B-c_1", []),
        (names.port_name, "x" * 16, ["must be no more than 15 characters"]),
    ],
)
def test_name_rules(rule: NameRule, text: str, reasons: list[str]) -> None:
    assert list(rule(text)) == reasons


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"name": "x", "labels": {"a": "b c"}}, 1),
        ({"name": "x", "labels": {"a/b/c": ""}}, 1),
        ({"name": "x", "annotations": {"a": "x" * (256 << 10)}}, 1),
        ({"name": "x", "annotations": {"Example.com/A": "any thing"}}, 0),
        ({"name": "x", "finalizers": ["mine"]}, 1),
        ({"name": "x", "finalizers": ["a.b/mine", "orphan"]}, 0),
        ({"name": "x", "finalizers": ["foregroundDeletion", "orphan"]}, 1),
        ({"name": "x", "ownerReferences": [{"kind": "A", "name": "b"}]}, 2),
        (
            {
                "name": "x",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "A", "name": n, "uid": n, "controller": True}
                    for n in "ab"
                ],
            },
            1,
        ),
    ],
)
def test_metadata(meta: dict[str, Any], expected: int) -> None:
    causes = metadata.validate_metadata(meta, names.dns1123_subdomain, namespaced=True)
    assert len(causes) == expected, causes
