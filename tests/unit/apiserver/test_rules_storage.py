"""CSI's kinds, FlowSchema and PriorityLevelConfiguration: upstream's rules as cases."""

from typing import Any

import pytest
from strategy_cases import NAME_PART, SUBDOMAIN, created, refused, status_refused, step_refused

S, F = "storage.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1"
DRIVER, NODE, ATTACHMENT, CAPACITY, CLASS = (
    f"{S}/CSIDriver",
    f"{S}/CSINode",
    f"{S}/VolumeAttachment",
    f"{S}/CSIStorageCapacity",
    f"{S}/VolumeAttributesClass",
)
SCHEMA, LEVEL = f"{F}/FlowSchema", f"{F}/PriorityLevelConfiguration"
ONE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
REQUESTS = "spec.tokenRequests"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        ({"tokenRequests": [{"audience": ""}, {"audience": "a", "expirationSeconds": 600}]}, []),
        ({"fsGroupPolicy": "Some"},
         ['spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", '
          '"ReadWriteOnceWithFSType"']),
        ({"tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 1}]},
         [f'{REQUESTS}[1].audience: Duplicate value: "a"']),
        ({"tokenRequests": [{"expirationSeconds": 599},
                            {"audience": "a", "expirationSeconds": 4294967297}]},
         [f"{REQUESTS}[0].expirationSeconds: Invalid value: 599: may not specify a duration less "
          "than 10 minutes",
          f"{REQUESTS}[1].expirationSeconds: Invalid value: 4294967297: may not specify a duration "
          "larger than 2^32 seconds"]),
        ({"volumeLifecycleModes": ["Persistent", "Short"]},
         ['spec.volumeLifecycleModes: Unsupported value: "Short": supported values: "Persistent", '
          '"Ephemeral"']),
        ({"nodeAllocatableUpdatePeriodSeconds": 9},
         ["spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal "
          "to 10 seconds"]),
        ({"nodeAllocatableUpdatePeriodSeconds": 10}, []),
        ({"serviceAccountTokenInSecrets": True},
         ["spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is "
          "set but no tokenRequests are specified"]),
    ],
)  # fmt: skip
def test_drivers(spec: dict[str, Any], expected: list[str]) -> None:
    assert refused(DRIVER, {"spec": spec}) == expected


def nodes(**driver: Any) -> dict[str, Any]:
    return {"spec": {"drivers": [{"name": "a.b", "nodeID": "n", **driver}]}}


AT = "spec.drivers[0]"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, []),
        (nodes(topologyKeys=["a.b/zone", "a.b/rack"], allocatable={"count": 0}), []),
        (nodes(name="", nodeID=""),
         [f"{AT}.name: Required value", f'{AT}.name: Invalid value: "": {SUBDOMAIN}',
          f"{AT}.nodeID: Required value"]),
        (nodes(nodeID="n" * 257),
         [f'{AT}.nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less']),
        (nodes(allocatable={"count": -1}),
         [f"{AT}.allocatable.count: Invalid value: -1: must be greater than or equal to 0"]),
        (nodes(topologyKeys=["a", "a"]), [f'{AT}: Duplicate value: "a"']),
        (nodes(topologyKeys=["a b"]), [f'{AT}: Invalid value: "a b": {NAME_PART}']),
        ({"spec": {"drivers": [{"name": "a.b", "nodeID": "n"}] * 2}},
         ['spec.drivers[1].name: Duplicate value: "a.b"']),
    ],
)  # fmt: skip
def test_nodes(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(NODE, manifest) == expected


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"allocatable": {"count": 7}}, False),
        ({"nodeID": "m"}, True),
        ({"topologyKeys": ["a"]}, True),
    ],
)
def test_a_driver_of_a_node_stays_but_for_its_count(change: dict[str, Any], kept: bool) -> None:
    found = step_refused(NODE, created(NODE, nodes()), nodes(**change))
    assert [text.rpartition(": ")[2] for text in found] == (["field is immutable"] if kept else [])
    gone: dict[str, Any] = {"spec": {"drivers": []}}
    assert step_refused(NODE, created(NODE, nodes()), gone) == []


def attached(**spec: Any) -> dict[str, Any]:
    source = {"persistentVolumeName": "pv"}
    return {"spec": {"attacher": "a.b", "nodeName": "n", "source": source} | spec}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (attached(), []),
        (attached(source={}), [f"spec.source: Required value: {ONE}"]),
        (attached(source={"persistentVolumeName": "a", "inlineVolumeSpec": {}}),
         [f"spec.source: Forbidden: {ONE}"]),
        (attached(attacher=""),
         ["spec.attacher: Required value", f'spec.attacher: Invalid value: "": {SUBDOMAIN}']),
        (attached(nodeName=""), [f'spec.nodeName: Invalid value: "": {SUBDOMAIN}']),
        (attached(source={"persistentVolumeName": "A"}),
         [f'spec.source.persistentVolumeName: Invalid value: "A": {SUBDOMAIN}']),
    ],
)  # fmt: skip
def test_attachments(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(ATTACHMENT, manifest) == expected


def test_statuses_of_attachments() -> None:
    status = {
        "attached": True,
        "attachmentMetadata": {"a": "b" * 262144},
        "attachError": {"message": "m" * 1025},
        "detachError": {"errorCode": -1},
    }
    assert status_refused(ATTACHMENT, created(ATTACHMENT, attached()), status) == [
        "status.attachmentMetadata: Too long: may not be more than 262144 bytes",
        "status.attachError.message: Too long: may not be more than 262144 bytes",
        "status.detachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ]


@pytest.mark.parametrize(
    ("address", "manifest", "expected"),
    [
        (CAPACITY, {"storageClassName": "fast", "capacity": "1Gi"}, []),
        (CAPACITY, {}, [f'storageClassName: Invalid value: "": {SUBDOMAIN}']),
        (CAPACITY, {"storageClassName": "fast", "capacity": "-1"},
         ['capacity: Invalid value: "-1": must be greater than or equal to 0']),
        (CLASS, {"driverName": "A.b", "parameters": {"a": "b"}}, []),
        (CLASS, {}, ["driverName: Required value",
                     "parameters: Required value: must contain at least one key/value pair"]),
        (CLASS, {"driverName": "a", "parameters": {"": "b"}},
         ['parameters: Invalid value: "": field can not be empty.']),
        (CLASS, {"driverName": "a", "parameters": {str(n): "" for n in range(513)}},
         ["parameters: Too long: may not be more than 512 bytes"]),
    ],
)  # fmt: skip
def test_capacities_and_classes(
    address: str, manifest: dict[str, Any], expected: list[str]
) -> None:
    assert refused(address, manifest) == expected


@pytest.mark.parametrize(
    ("address", "manifest", "change", "expected"),
    [
        (DRIVER, {"spec": {}}, {"spec": {"attachRequired": False}},
         ["spec.attachedRequired: Invalid value: false: field is immutable"]),
        (DRIVER, {"spec": {}}, {"spec": {"volumeLifecycleModes": ["Ephemeral"]}},
         ['spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable']),
        (DRIVER, {"spec": {}}, {"spec": {"fsGroupPolicy": "File", "podInfoOnMount": True}}, []),
        (CLASS, {"driverName": "a", "parameters": {"a": "b"}},
         {"driverName": "b", "parameters": {"a": "c"}},
         ["driverName: Forbidden: updates to driverName are forbidden.",
          "parameters: Forbidden: updates to parameters are forbidden."]),
        (CAPACITY, {"storageClassName": "a"}, {"storageClassName": "b", "capacity": "2Gi"},
         ['storageClassName: Invalid value: "b": field is immutable']),
    ],
)  # fmt: skip
def test_what_never_changes(
    address: str, manifest: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    assert step_refused(address, created(address, manifest), change) == expected


USER = {"kind": "User", "user": {"name": "*"}}
PODS = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
URLS = {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}
R = "spec.rules[0]"


def schema(**spec: Any) -> dict[str, Any]:
    return {"spec": {"priorityLevelConfiguration": {"name": "l"}} | spec}


def rule(**fields: Any) -> dict[str, Any]:
    return schema(rules=[{"subjects": [USER], "resourceRules": [PODS]} | fields])


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (rule(), []),
        (schema(matchingPrecedence=0),
         ["spec.matchingPrecedence: Invalid value: 0: must be a positive value"]),
        (schema(matchingPrecedence=1),
         ["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have "
          "matchingPrecedence 1"]),
        (schema(matchingPrecedence=10001),
         ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]),
        (schema(distinguisherMethod={"type": "ByMoon"}),
         ['spec.distinguisherMethod.type: Unsupported value: {"type":"ByMoon"}: supported values: '
          '"ByNamespace", "ByUser"']),
        (schema(priorityLevelConfiguration={}),
         ["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"]),
        (schema(rules=[{}]),
         [f"{R}.subjects: Required value: subjects must contain at least one value",
          f"{R}: Required value: at least one of resourceRules and nonResourceRules has to be "
          "non-empty"]),
        (rule(subjects=[{"kind": "Dog"}]),
         [f'{R}.subjects[0].kind: Unsupported value: "Dog": supported values: "Group", '
          '"ServiceAccount", "User"']),
        (rule(subjects=[{"kind": "Group", "user": {"name": "a"}}]),
         [f"{R}.subjects[0].group: Required value: group is required when subject kind is 'Group'",
          f"{R}.subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'"]),
        (rule(subjects=[{"kind": "ServiceAccount", "serviceAccount": {"name": ""}}]),
         [f"{R}.subjects[0].serviceAccount.name: Required value",
          f"{R}.subjects[0].serviceAccount.namespace: Required value: must specify namespace for "
          "service account"]),
        (rule(resourceRules=[PODS | {"verbs": ["get", "*"]}]),
         [f'{R}.resourceRules[0].verbs: Invalid value: ["get","*"]: if \'*\' is present, must not '
          "specify other verbs"]),
        (rule(resourceRules=[{}]),
         [f"{R}.resourceRules[0].verbs: Required value: verbs must contain at least one value",
          f"{R}.resourceRules[0].apiGroups: Required value: resource rules must supply at least one "
          "api group",
          f"{R}.resourceRules[0].resources: Required value: resource rules must supply at least one "
          "resource",
          f"{R}.resourceRules[0].namespaces: Required value: resource rules that are not cluster "
          "scoped must supply at least one namespace"]),
        (rule(resourceRules=[], nonResourceRules=[URLS]), []),
        (rule(nonResourceRules=[URLS | {"nonResourceURLs": ["", "a", "/a b", "//", "/*/a", "/a/*"]}]),
         [f'{R}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: "": must not be empty',
          f'{R}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: "a": must start with slash',
          f'{R}.nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a b": must not contain '
          "white-space",
          f'{R}.nonResourceRules[0].nonResourceURLs[3]: Invalid value: "//": must not contain double '
          "slash",
          f'{R}.nonResourceRules[0].nonResourceURLs[4]: Invalid value: "/*/a": wildcard can only do '
          "suffix matching"]),
    ],
)  # fmt: skip
def test_flow_schemas(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(SCHEMA, manifest) == expected


def limited(**fields: Any) -> dict[str, Any]:
    part = {"limitResponse": {"type": "Reject"}} | fields
    return {"spec": {"type": "Limited", "limited": part}}


def queuing(**numbers: int) -> dict[str, Any]:
    return limited(limitResponse={"type": "Queue", "queuing": numbers})


L, Q = "spec.limited", "spec.limited.limitResponse.queuing"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (limited(), []),
        (queuing(), []),
        ({"spec": {"type": "Limited"}},
         [f"{L}: Required value: must not be empty when type is Limited"]),
        ({"spec": {"type": "Exempt"}},
         ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is "
          "'exempt'"]),
        ({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}}, []),
        ({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt",
                                                   "exempt": {"lendablePercent": 101}}},
         ["spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"]),
        ({"spec": {"type": "Some"}},
         ['spec.type: Unsupported value: "Some": supported values: "Exempt", "Limited"']),
        (limited(nominalConcurrencyShares=-1, borrowingLimitPercent=-1),
         [f"{L}.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
          f"{L}.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative "
          "integer"]),
        (limited(limitResponse={"type": "Queue"}),
         [f"{Q}: Required value: must not be empty if limited.limitResponse.type is Limited"]),
        (limited(limitResponse={"type": "Reject", "queuing": {}}),
         [f"{Q}: Forbidden: must be nil if limited.limitResponse.type is not Limited"]),
        (queuing(queues=4, handSize=5),
         [f"{Q}.handSize: Invalid value: 5: should not be greater than queues (4)"]),
        (queuing(queues=512, handSize=7),
         [f"{Q}.handSize: Invalid value: 7: required entropy bits of deckSize 512 and handSize 7 "
          "should not be greater than 60"]),
        (queuing(queues=512, handSize=6), []),
        (queuing(queues=-1, queueLengthLimit=-1),
         [f"{Q}.queueLengthLimit: Invalid value: -1: must be positive",
          f"{Q}.queues: Invalid value: -1: must be positive",
          f"{Q}.handSize: Invalid value: 8: should not be greater than queues (-1)"]),
    ],
)  # fmt: skip
def test_priority_levels(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(LEVEL, manifest) == expected
