"""Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress, EndpointSlice, budgets: upstream's rules."""

from typing import Any

import pytest
from strategy_cases import created, cut, kind_of, refused, status_refused, step_refused

from wherry.apiserver.strategy import address, strategy_for

N = "networking.k8s.io/v1"
ING, CLASS, POLICY, RANGE, IP = (
    f"{N}/Ingress",
    f"{N}/IngressClass",
    f"{N}/NetworkPolicy",
    f"{N}/ServiceCIDR",
    f"{N}/IPAddress",
)
SLICE, PDB = "discovery.k8s.io/v1/EndpointSlice", "policy/v1/PodDisruptionBudget"
SERVICE = {"service": {"name": "web", "port": {"number": 80}}}
PATHS = "spec.rules[0].http.paths[0]"
IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
BITS = "must not have bits set beyond the prefix length"
ABSOLUTE = "must be an absolute path"
LESS = "must be greater than or equal to 0"
PORT = "must be between 1 and 65535, inclusive"


def path(**fields: Any) -> dict[str, Any]:
    each = {"path": "/", "pathType": "Prefix", "backend": SERVICE} | fields
    given = {field: value for field, value in each.items() if value is not None}
    return {"spec": {"rules": [{"http": {"paths": [given]}}]}}


def to(backend: dict[str, Any]) -> dict[str, Any]:
    return path(backend=backend)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (path(), []),
        ({"spec": {"defaultBackend": SERVICE}}, []),
        ({}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
        ({"spec": {"rules": [{"host": "*.example.com"}]}}, []),
        ({"spec": {"rules": [{"http": {"paths": []}}]}},
         ["spec.rules[0].http.paths: Required value"]),
        (path(pathType=None), [f"{PATHS}.pathType: Required value: pathType must be specified"]),
        (path(pathType="Regex"),
         [f'{PATHS}.pathType: Unsupported value: "Regex": supported values: "Exact", '
          '"ImplementationSpecific", "Prefix"']),
        (path(path="", pathType="Exact"), [f'{PATHS}.path: Invalid value: "": {ABSOLUTE}']),
        (path(path="", pathType="ImplementationSpecific"), []),
        (path(path="a", pathType="ImplementationSpecific"),
         [f'{PATHS}.path: Invalid value: "a": {ABSOLUTE}']),
        (path(path="/a/../b"), [f"{PATHS}.path: Invalid value: \"/a/../b\": must not contain '/../'"]),
        (path(path="/a/.."), [f"{PATHS}.path: Invalid value: \"/a/..\": cannot end with '/..'"]),
        (path(path="/a%2Fb"), [f"{PATHS}.path: Invalid value: \"/a%2Fb\": must not contain '%2F'"]),
        (to({}),
         [f'{PATHS}.backend: Invalid value: "": resource or service backend is required']),
        (to(SERVICE | {"resource": {"kind": "A", "name": "b"}}),
         [f'{PATHS}.backend: Invalid value: "": cannot set both resource and service backends']),
        (to({"service": {"name": "web"}}),
         [f"{PATHS}.backend: Required value: port name or number is required"]),
        (to({"service": {"name": "web", "port": {"name": "http", "number": 80}}}),
         [f'{PATHS}.backend: Invalid value: "": cannot set both port name & port number']),
        (to({"service": {"name": "", "port": {"number": 65536}}}),
         [f"{PATHS}.backend.service.name: Required value",
          f"{PATHS}.backend.service.port.number: Invalid value: 65536: {PORT}"]),
        (to({"resource": {"kind": "a/b", "name": ""}}),
         [f"{PATHS}.backend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
          f"{PATHS}.backend.resource.name: Required value: name is required"]),
        (to({"resource": {"apiGroup": "example.com", "kind": "Bucket", "name": "b"}}), []),
    ],
)  # fmt: skip
def test_ingresses(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(ING, manifest) == expected


def test_where_an_ingress_is() -> None:
    points = [{"ip": "10.0.0.256"}, {"hostname": "10.0.0.1"}, {"ip": "10.0.0.1", "hostname": "a.b"}]
    status = {"loadBalancer": {"ingress": points}}
    at = "status.loadBalancer.ingress"
    assert status_refused(ING, created(ING, path()), status) == [
        f'{at}[0].ip: Invalid value: "10.0.0.256": {IP_TEXT}',
        f'{at}[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
    ]


PARAMETERS = {"kind": "Config", "name": "c"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"controller": "example.com/x"}, []),
        ({}, ["spec.controller: Required value"]),
        ({"controller": "a.b/" + "c" * 250},
         ["spec.controller: Too long: may not be more than 250 bytes"]),
        ({"controller": "a.b/c", "parameters": PARAMETERS}, []),
        ({"controller": "a.b/c", "parameters": {}},
         ["spec.parameters.kind: Required value: kind is required",
          "spec.parameters.name: Required value: name is required"]),
        ({"controller": "a.b/c", "parameters": PARAMETERS | {"scope": "Namespace"}},
         ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
        ({"controller": "a.b/c", "parameters": PARAMETERS | {"namespace": "n"}},
         ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),
        ({"controller": "a.b/c", "parameters": PARAMETERS | {"scope": "World"}},
         ['spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", '
          '"Namespace"']),
    ],
)  # fmt: skip
def test_ingress_classes(spec: dict[str, Any], expected: list[str]) -> None:
    assert refused(CLASS, {"spec": spec}) == expected


def ports(*each: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"ingress": [{"ports": list(each)}]}}


def peers(*each: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"egress": [{"to": list(each)}]}}


P, PEER = "spec.ingress[0].ports[0]", "spec.egress[0].to[0]"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, []),
        (ports({"port": 80}, {"port": "http"}, {"port": 80, "endPort": 90}, {}), []),
        (ports({"protocol": "ICMP"}),
         [f'{P}.protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"']),
        (ports({"port": 0}), [f"{P}.port: Invalid value: 0: {PORT}"]),
        (ports({"endPort": 90}),
         [f"{P}.endPort: Invalid value: 90: may not be specified when `port` is not specified"]),
        (ports({"port": "http", "endPort": 90}),
         [f"{P}.endPort: Invalid value: 90: may not be specified when `port` is non-numeric"]),
        (ports({"port": 80, "endPort": 70000}), [f"{P}.endPort: Invalid value: 70000: {PORT}"]),
        (peers({}), [f"{PEER}: Required value: must specify a peer"]),
        (peers({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
         [f"{PEER}: Forbidden: may not specify both ipBlock and another peer"]),
        (peers({"podSelector": {}, "namespaceSelector": {}}), []),
        (peers({"ipBlock": {}}), [f"{PEER}.ipBlock.cidr: Required value"]),
        (peers({"ipBlock": {"cidr": "10.0.0.1/8"}}),
         [f'{PEER}.ipBlock.cidr: Invalid value: "10.0.0.1/8": {BITS}']),
        (peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["here", "10.1.0.0/16", "fd00::/64"]}}),
         [f'{PEER}.ipBlock.except[0]: Invalid value: "here": {CIDR_TEXT}',
          f'{PEER}.ipBlock.except[2]: Invalid value: "fd00::/64": must be a strict subset of `cidr`']),
        ({"spec": {"policyTypes": ["Ingress", "Sideways"]}},
         ['spec.policyTypes[1]: Unsupported value: "Sideways": supported values: "Ingress", '
          '"Egress"']),
        ({"spec": {"policyTypes": ["Ingress", "Egress", "Ingress"]}},
         ['spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more '
          "than two policyTypes"]),
    ],
)  # fmt: skip
def test_network_policies(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(POLICY, manifest) == expected


FAMILY = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


@pytest.mark.parametrize(
    ("cidrs", "expected"),
    [
        (["10.0.0.0/24"], []),
        (["10.0.0.0/24", "fd00::/64"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (["10.0.0.0/24"] * 3,
         ['spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/24","10.0.0.0/24","10.0.0.0/24"]}: may '
          "only hold up to 2 values"]),
        (["10.0.0.0/24", "10.1.0.0/24"],
         [f'spec.cidrs: Invalid value: {{"cidrs":["10.0.0.0/24","10.1.0.0/24"]}}: {FAMILY}']),
        (["10.0.0.1/24"], [f'spec.cidrs[0]: Invalid value: "10.0.0.1/24": {BITS}']),
        (["FD00::/64"],
         ['spec.cidrs[0]: Invalid value: "FD00::/64": must be in canonical form ("fd00::/64")']),
    ],
)  # fmt: skip
def test_service_cidrs(cidrs: list[str], expected: list[str]) -> None:
    assert refused(RANGE, {"spec": {"cidrs": cidrs}}) == expected


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ({"resource": "services", "name": "a", "namespace": "b"}, []),
        ({"group": "a_b", "resource": "", "name": "a/b", "namespace": ".."},
         ["group", "resource: Required value",
          "name: Invalid value: \"a/b\": may not contain '/'",
          "namespace: Invalid value: \"..\": may not be '..'"]),
        (None, ["spec.parentRef: Required value"]),
    ],
)  # fmt: skip
def test_who_has_an_address(ref: dict[str, Any] | None, expected: list[str]) -> None:
    found = refused(IP, {"spec": {} if ref is None else {"parentRef": ref}})
    texts = [text.removeprefix("spec.parentRef.") for text in found]
    assert cut(texts, expected) == expected


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (address.strict_ip, "10.0.0.1", ""),
        (address.strict_ip, "FD00:0::1", ""),
        (address.strict_ip, "010.0.0.1", "must not have leading 0s"),
        (address.strict_ip, "10.0.0.00", "must not have leading 0s"),
        (address.strict_ip, "::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        (address.strict_ip, "10.0.0", IP_TEXT),
        (address.strict_ip, "", IP_TEXT),
        (address.canonical_ip, "fd00::1", ""),
        (address.canonical_ip, "FD00::1", 'must be in canonical form ("fd00::1")'),
        (address.canonical_ip, "fd00:0::1", 'must be in canonical form ("fd00::1")'),
        (address.strict_cidr, "10.0.0.0/8", ""),
        (address.strict_cidr, "0.0.0.0/0", ""),
        (address.strict_cidr, "::/0", ""),
        (address.strict_cidr, "10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        (address.strict_cidr, "fd00::/064", "must not have leading 0s in IP or prefix length"),
        (address.strict_cidr, "::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        (address.strict_cidr, "10.0.0.1/31", BITS),
        (address.strict_cidr, "10.0.0.0", CIDR_TEXT),
        (address.strict_cidr, "10.0.0.0/33", CIDR_TEXT),
        (address.canonical_cidr, "FD00::/64", 'must be in canonical form ("fd00::/64")'),
    ],
)
def test_forms_of_addresses(rule: Any, text: str, expected: str) -> None:
    assert list(rule(text)) == ([expected] if expected else [])


def test_an_ip_address_is_named_by_itself() -> None:
    rule = strategy_for(kind_of(IP)).check_name
    assert not rule("10.0.0.1")
    assert list(rule("10.0.0.01")) == ["must not have leading 0s"]
    assert list(rule("web")) == [IP_TEXT]


def endpoint(**fields: Any) -> dict[str, Any]:
    return {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"], **fields}]}


def named(*addresses: str) -> dict[str, Any]:
    return {"addressType": "FQDN", "endpoints": [{"addresses": list(addresses)}]}


SEGMENTS = "should be a domain with at least two segments separated by dots"
ZONES = [{"name": f"z{number}"} for number in range(9)]


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (endpoint(), []),
        ({}, ["addressType: Required value"]),
        ({"addressType": "IPX"},
         ['addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"']),
        (endpoint(addresses=[]),
         ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        (endpoint(addresses=["10.1.2.3"] * 101),
         ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
        (endpoint(addresses=["fd00::1"]),
         ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address']),
        (endpoint(addresses=["127.0.0.1"]),
         ['endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range '
          "(127.0.0.0/8, ::1/128)"]),
        ({"addressType": "IPv4", "endpoints": [{"addresses": []}] * 1001},
         ["endpoints: Too many: 1001: must have at most 1000 items"]),
        (named("web.example.com", "web.example.com."), []),
        (named("web"), [f'endpoints[0].addresses[0]: Invalid value: "web": {SEGMENTS}']),
        (named("."), ["endpoints[0].addresses[0]: Required value"]),
        (endpoint(hints={"forZones": ZONES[:8], "forNodes": ZONES[:8]}), []),
        (endpoint(hints={"forZones": ZONES}),
         ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]),
        (endpoint(hints={"forZones": ZONES[:1] * 2}),
         ['endpoints[0].hints.forZones[1].name: Duplicate value: "z0"']),
        (endpoint(hints={"forNodes": ZONES[:1] * 2}),
         ['endpoints[0].hints.forNodes[1].name: Duplicate value: "z0"']),
        (endpoint(deprecatedTopology={f"k{number}": "v" for number in range(17)}),
         ["endpoints[0].deprecatedTopology: Too many: 17: must have at most 16 items"]),
        (endpoint() | {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
         ['ports[1].name: Duplicate value: "a"']),
        (endpoint() | {"ports": [{"port": 1}, {"port": 2}]}, ['ports[1].name: Duplicate value: ""']),
        (endpoint() | {"ports": [{"protocol": "ICMP"}]},
         ['ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
        (endpoint() | {"ports": [{}] * 20001},
         ["ports: Too many: 20001: must have at most 20000 items"]),
    ],
)  # fmt: skip
def test_endpoint_slices(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(SLICE, manifest) == expected


@pytest.mark.parametrize(
    ("address_", "old", "change", "expected"),
    [
        (CLASS, {"spec": {"controller": "a.b/c"}}, {"spec": {"controller": "a.b/d"}},
         ['spec.controller: Invalid value: "a.b/d": field is immutable']),
        (RANGE, {"spec": {"cidrs": ["10.0.0.0/8"]}}, {"spec": {"cidrs": ["10.0.0.0/9"]}},
         ['spec.cidrs: Invalid value: ["10.0.0.0/9"]: field is immutable']),
        (SLICE, endpoint(), {"addressType": "IPv6"},
         ['addressType: Invalid value: "IPv6": field is immutable']),
        (IP, {"spec": {"parentRef": {"resource": "a", "name": "b"}}},
         {"spec": {"parentRef": {"name": "c"}}},
         ['spec.parentRef: Invalid value: {"resource":"a","name":"c"}: field is immutable']),
    ],
)  # fmt: skip
def test_what_never_changes(
    address_: str, old: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    assert step_refused(address_, created(address_, old), change) == expected


CONDITION = {
    "type": "DisruptionAllowed",
    "status": "True",
    "reason": "SufficientPods",
    "lastTransitionTime": "2026-11-20T10:00:00Z",
}
AT = "status.conditions[0]"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [CONDITION], "disruptionsAllowed": 1}, []),
        ({"disruptionsAllowed": -1, "expectedPods": -2},
         [f"status.disruptionsAllowed: Invalid value: -1: {LESS}",
          f"status.expectedPods: Invalid value: -2: {LESS}"]),
        ({"conditions": [CONDITION] * 2},
         ['status.conditions[1].type: Duplicate value: "DisruptionAllowed"']),
        ({"conditions": [{"type": "A", "status": "Maybe", "observedGeneration": -1}]},
         [f'{AT}.status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"',
          f"{AT}.observedGeneration: Invalid value: -1: must be greater than or equal to zero",
          f"{AT}.lastTransitionTime: Required value: must be set",
          f"{AT}.reason: Required value: must be set"]),
        ({"conditions": [CONDITION | {"reason": "A" * 1025, "message": "m" * 32769}]},
         [f"{AT}.reason: Too long: may not be more than 1024 bytes",
          f"{AT}.message: Too long: may not be more than 32768 bytes"]),
    ],
)  # fmt: skip
def test_statuses_of_budgets(status: dict[str, Any], expected: list[str]) -> None:
    assert status_refused(PDB, created(PDB, {"spec": {"minAvailable": 1}}), status) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"maxUnavailable": "50%"}, []),
        ({"minAvailable": -1}, [f"spec.minAvailable: Invalid value: -1: {LESS}"]),
        ({"unhealthyPodEvictionPolicy": "Never"},
         ['spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: '
          '"AlwaysAllow", "IfHealthyBudget"']),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
         ["spec.selector.matchExpressions[0].values: Required value: must be specified when "
          "`operator` is 'In' or 'NotIn'"]),
    ],
)  # fmt: skip
def test_budgets(spec: dict[str, Any], expected: list[str]) -> None:
    assert refused(PDB, {"spec": spec}) == expected
