"""Claims to devices, RuntimeClass, PriorityClass, APIService: upstream's rules as cases."""

from typing import Any

import pytest
from strategy_cases import created, cut, refused, step_refused

R = "resource.k8s.io/v1"
CLAIM, TEMPLATE, CLASS = (f"{R}/ResourceClaim", f"{R}/ResourceClaimTemplate", f"{R}/DeviceClass")
RUNTIME, PRIORITY, SERVICE = (
    "node.k8s.io/v1/RuntimeClass",
    "scheduling.k8s.io/v1/PriorityClass",
    "apiregistration.k8s.io/v1/APIService",
)
ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)
GPU = {"deviceClassName": "gpu"}
PORT = "must be between 1 and 65535, inclusive"


def claim(*requests: dict[str, Any], **devices: Any) -> dict[str, Any]:
    asked = list(requests) or [{"name": "a", "exactly": GPU}]
    return {"spec": {"devices": {"requests": asked} | devices}}


def exactly(**fields: Any) -> dict[str, Any]:
    return claim({"name": "a", "exactly": GPU | fields})


Q, C, OPAQUE = "spec.devices.requests[0]", "spec.devices.constraints[0]", "spec.devices.config[0]"
SUB = {"name": "b", "deviceClassName": "gpu"}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({}, []),
        (claim(), []),
        (claim({"name": "a", "firstAvailable": [SUB]}), []),
        (claim({"name": "A", "exactly": GPU}), [f'{Q}.name: Invalid value: "A"']),
        (claim({"exactly": GPU}), [f"{Q}.name: Required value"]),
        (claim({"name": "a"}), [f"{Q}: Required value: {ONE_OF}"]),
        (claim({"name": "a", "exactly": GPU, "firstAvailable": [SUB]}),
         [f"{Q}: Invalid value: null: {ONE_OF}, but multiple fields are set"]),
        (claim({"name": "a", "exactly": GPU}, {"name": "a", "exactly": GPU}),
         ['spec.devices.requests[1]: Duplicate value: "a"']),
        (claim({"name": "a", "firstAvailable": [SUB, SUB]}),
         [f'{Q}.firstAvailable[1]: Duplicate value: "b"']),
        (claim(*[{"name": f"a{n}", "exactly": GPU} for n in range(33)]),
         ["spec.devices.requests: Too many: 33: must have at most 32 items"]),
        (exactly(deviceClassName=""), [f"{Q}.exactly.deviceClassName: Required value"]),
        (exactly(allocationMode="Some"),
         [f'{Q}.exactly.allocationMode: Unsupported value: "Some": supported values: "All", '
          '"ExactCount"']),
        (exactly(allocationMode="All", count=2),
         [f"{Q}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"]),
        (exactly(count=-1), [f"{Q}.exactly.count: Invalid value: -1: must be greater than zero"]),
        (exactly(selectors=[{}]), [f"{Q}.exactly.selectors[0].cel: Required value"]),
        (exactly(selectors=[{"cel": {"expression": "x" * 10241}}]),
         [f"{Q}.exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes"]),
        (claim(constraints=[{"matchAttribute": "a.b/model", "requests": ["a"]}]), []),
        (claim(constraints=[{"matchAttribute": "model"}]),
         [f'{C}.matchAttribute: Invalid value: "model": must include a domain']),
        (claim(constraints=[{"matchAttribute": "a/b/c"}]),
         [f'{C}.matchAttribute: Invalid value: "a/b/c": a fully qualified name must be a domain and '
          "a name separated by a slash"]),
        (claim(constraints=[{"matchAttribute": "a.b/" + "m" * 33}]),
         [f"{C}.matchAttribute: Too long: may not be more than 32 bytes"]),
        (claim(constraints=[{"matchAttribute": "/"}]),
         [f'{C}.matchAttribute: Invalid value: "": the domain must not be empty',
          f'{C}.matchAttribute: Invalid value: "": the name must not be empty']),
        (claim(constraints=[{}]),
         [f'{C}: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required']),
        (claim(constraints=[{"matchAttribute": "a.b/c", "requests": ["z", "a", "a", "a/b/c"]}]),
         [f'{C}.requests[0]: Invalid value: "z": {REFERENCE}',
          f'{C}.requests[3]: Invalid value: "a/b/c": {REFERENCE}',
          f'{C}.requests[2]: Duplicate value: "a"']),
        (claim({"name": "a", "firstAvailable": [SUB]},
               config=[{"requests": ["a/b"], "opaque": {"driver": "a.b", "parameters": {}}}]), []),
        (claim(config=[{}]), [f"{OPAQUE}.opaque: Required value"]),
        (claim(config=[{"opaque": {}}]),
         [f"{OPAQUE}.opaque.driver: Required value", f"{OPAQUE}.opaque.parameters: Required value"]),
        (claim(config=[{"opaque": {"driver": "a.b", "parameters": {"a": "b" * 10240}}}]),
         [f"{OPAQUE}.opaque.parameters: Too long: may not be more than 10240 bytes"]),
    ],
)  # fmt: skip
def test_claims(manifest: dict[str, Any], expected: list[str]) -> None:
    found = refused(CLAIM, manifest)
    assert cut(found, expected) == expected
    nested = refused(TEMPLATE, {"spec": manifest})
    assert nested == [text.replace("spec.", "spec.spec.", 1) for text in found]


def test_a_claim_is_for_one_device() -> None:
    [request] = created(CLAIM, claim())["spec"]["devices"]["requests"]
    assert request["exactly"] == GPU | {"allocationMode": "ExactCount", "count": 1}
    [request] = created(CLAIM, exactly(allocationMode="All"))["spec"]["devices"]["requests"]
    assert "count" not in request["exactly"]


@pytest.mark.parametrize(
    ("address", "manifest", "expected"),
    [
        (CLASS, {"spec": {"selectors": [{"cel": {"expression": "true"}}]}}, []),
        (CLASS, {"spec": {"selectors": [{}], "config": [{}]}},
         ["spec.selectors[0].cel: Required value", "spec.config[0].opaque: Required value"]),
        (RUNTIME, {"handler": "runc", "overhead": {"podFixed": {"cpu": "100m"}}}, []),
        (RUNTIME, {"handler": "runc", "overhead": {"podFixed": {"cpu": "-1"}}},
         ['overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
        (PRIORITY, {"value": 1, "preemptionPolicy": "Always"},
         ['preemptionPolicy: Unsupported value: "Always": supported values: '
          '"PreemptLowerPriority", "Never"']),
    ],
)  # fmt: skip
def test_classes(address: str, manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(address, manifest) == expected


@pytest.mark.parametrize(
    ("address", "manifest", "change", "expected"),
    [
        (CLAIM, claim(), exactly(count=2), ["spec"]),
        (TEMPLATE, {"spec": claim()}, {"spec": exactly(count=2)}, ["spec"]),
        (RUNTIME, {"handler": "a"}, {"handler": "b"}, ["handler"]),
        (RUNTIME, {"handler": "a"}, {"scheduling": {"nodeSelector": {"a": "b"}}}, []),
        (PRIORITY, {"value": 1}, {"value": 2, "preemptionPolicy": "Never"},
         ["value", "preemptionPolicy"]),
        (PRIORITY, {"value": 1}, {"description": "d", "globalDefault": True}, []),
    ],
)  # fmt: skip
def test_what_never_changes(
    address: str, manifest: dict[str, Any], change: dict[str, Any], expected: list[str]
) -> None:
    found = step_refused(address, created(address, manifest), change)
    assert [text.partition(":")[0] for text in found] == expected


def served(**spec: Any) -> dict[str, Any]:
    given = {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    name = f"{(given | spec)['version']}.{(given | spec)['group']}"
    return {"metadata": {"name": name}, "spec": given | spec}


REMOTE = {"name": "s", "namespace": "n"}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (served(), []),
        (served(service=REMOTE, insecureSkipTLSVerify=True), []),
        (served(group=""), []),
        (served(group="", version="v2"),
         ["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"]),
        (served(groupPriorityMinimum=20001, versionPriority=0),
         ["spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
          "spec.versionPriority: Invalid value: 0: must be positive and less than 1000"]),
        (served(caBundle="YWJj", insecureSkipTLSVerify=True),
         ['spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
          "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have "
          "insecureSkipTLSVerify"]),
        (served(service={"port": 0}),
         ["spec.service.namespace: Required value", "spec.service.name: Required value",
          f"spec.service.port: Invalid value: 0: port is not valid: {PORT}"]),
        (served(service=REMOTE, caBundle="YWJj", insecureSkipTLSVerify=True),
         ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"]),
    ],
)  # fmt: skip
def test_api_services(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(SERVICE, manifest) == expected
