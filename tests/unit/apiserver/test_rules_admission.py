"""Webhooks, admission policies and role bindings: upstream's rules as cases."""

from typing import Any

import pytest
from strategy_cases import created, refused, status_refused

A = "admissionregistration.k8s.io/v1"
HOOKS, MUTATING, POLICY, BINDING = (
    f"{A}/ValidatingWebhookConfiguration",
    f"{A}/MutatingWebhookConfiguration",
    f"{A}/ValidatingAdmissionPolicy",
    f"{A}/ValidatingAdmissionPolicyBinding",
)
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
FORM = "; desired format: https://host[/path]"
OTHERS = "if '*' is present, must not specify other"


def hook(**fields: Any) -> dict[str, Any]:
    each = {
        "name": "a.b.c",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://host/path"},
        **fields,
    }
    return {"webhooks": [{k: v for k, v in each.items() if v is not None}]}


def rule(**fields: Any) -> dict[str, Any]:
    return hook(rules=[RULE | fields])


def service(**fields: Any) -> dict[str, Any]:
    return hook(clientConfig={"service": {"name": "s", "namespace": "n", **fields}})


def url(text: str) -> dict[str, Any]:
    return hook(clientConfig={"url": text})


W, R = "webhooks[0]", "webhooks[0].rules[0]"
URL, PATH = f"{W}.clientConfig.url", f"{W}.clientConfig.service.path"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (hook(), []),
        (hook(name=""), [f"{W}.name: Required value"]),
        (hook(name="a.b"),
         [f'{W}.name: Invalid value: "a.b": should be a domain with at least three segments '
          "separated by dots"]),
        (hook(admissionReviewVersions=None),
         [f"{W}.admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
        (hook(admissionReviewVersions=["v2"]),
         [f'{W}.admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, '
          "v1beta1"]),
        (hook(admissionReviewVersions=["v1", "v1"]),
         [f'{W}.admissionReviewVersions[1]: Invalid value: "v1": duplicate version']),
        (hook(sideEffects=None),
         [f"{W}.sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
        (hook(sideEffects="Some"),
         [f'{W}.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
        (hook(failurePolicy="Cry", matchPolicy="Near", timeoutSeconds=31),
         [f'{W}.failurePolicy: Unsupported value: "Cry": supported values: "Fail", "Ignore"',
          f'{W}.matchPolicy: Unsupported value: "Near": supported values: "Equivalent", "Exact"',
          f"{W}.timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 "
          "seconds"]),
        (hook(clientConfig={}),
         [f"{W}.clientConfig: Required value: exactly one of url or service is required"]),
        (url("http://u:p@h/x?q#f"),
         [f'{URL}: Invalid value: "http": \'https\' is the only allowed URL scheme{FORM}',
          f'{URL}: Invalid value: "u:p": user information is not permitted in the URL',
          f'{URL}: Invalid value: "f": fragments are not permitted in the URL',
          f'{URL}: Invalid value: "q": query parameters are not permitted in the URL']),
        (url("https:///x"), [f'{URL}: Invalid value: "": host must be specified{FORM}']),
        (service(), []),
        (service(path="/a/b/"), []),
        (service(name="", port=0),
         [f"{W}.clientConfig.service.name: Required value: service name is required",
          f"{W}.clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 "
          "and 65535, inclusive"]),
        (service(path="a"), [f"{PATH}: Invalid value: \"a\": must start with a '/'"]),
        (service(path="//"), [f'{PATH}: Invalid value: "//": segment[0] may not be empty']),
        (service(path="/a//b"), [f'{PATH}: Invalid value: "/a//b": segment[1] may not be empty']),
        (rule(operations=["CREATE", "*"]),
         [f'{R}.operations: Invalid value: ["CREATE","*"]: {OTHERS} operations']),
        (rule(operations=["GET"]),
         [f'{R}.operations[0]: Unsupported value: "GET": supported values: "*", "CONNECT", '
          '"CREATE", "DELETE", "UPDATE"']),
        (rule(apiGroups=[], apiVersions=[""]),
         [f"{R}.apiGroups: Required value", f"{R}.apiVersions[0]: Required value"]),
        (rule(resources=["pods/*", "pods/log"]),
         [f"{R}.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify "
          "pods/log"]),
        (rule(resources=["*/scale", "pods/scale"]),
         [f"{R}.resources[1]: Invalid value: \"pods/scale\": if '*/scale' is present, must not "
          "specify pods/scale"]),
        (rule(resources=["*/*", "pods"]),
         [f"{R}.resources: Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify "
          "other resources"]),
        (rule(resources=["*", "pods"]),
         [f'{R}.resources: Invalid value: ["*","pods"]: {OTHERS} resources without subresources']),
        (rule(resources=["*", "pods/log"], scope="*"), []),
        (rule(resources=[""], scope="World"),
         [f"{R}.resources[0]: Required value",
          f'{R}.scope: Unsupported value: "World": supported values: "*", "Cluster", "Namespaced"']),
        (hook(matchConditions=[{"name": "a", "expression": "true"}] * 2),
         [f'{W}.matchConditions[1].name: Duplicate value: "a"']),
        (hook(matchConditions=[{"expression": " "}]),
         [f"{W}.matchConditions[0].expression: Required value",
          f"{W}.matchConditions[0].name: Required value"]),
        (hook(matchConditions=[{"name": f"a{n}", "expression": "true"} for n in range(65)]),
         [f"{W}.matchConditions: Too many: 65: must have at most 64 items"]),
    ],
)  # fmt: skip
def test_webhooks(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(HOOKS, manifest) == expected
    assert refused(MUTATING, manifest) == expected


def test_webhooks_that_are_asked_again() -> None:
    assert refused(MUTATING, hook(reinvocationPolicy="Often")) == [
        f'{W}.reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never"'
    ]
    twice = {"webhooks": hook()["webhooks"] * 2}
    assert refused(HOOKS, twice) == ['webhooks[1].name: Duplicate value: "a.b.c"']


SAYS = {"expression": "true"}


def policy(**spec: Any) -> dict[str, Any]:
    given = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [SAYS]} | spec
    return {"spec": {k: v for k, v in given.items() if v is not None}}


V, N, K = "spec.validations[0]", "spec.auditAnnotations", "spec.paramKind"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (policy(), []),
        (policy(matchConstraints=None), ["spec.matchConstraints: Required value"]),
        (policy(matchConstraints={}), ["spec.matchConstraints.resourceRules: Required value"]),
        (policy(matchConstraints={"resourceRules": [RULE | {"resourceNames": ["a", "a", "b/c"]}]}),
         ['spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"',
          "spec.matchConstraints.resourceRules[0].resourceNames[2]: Invalid value: \"b/c\": may not "
          "contain '/'"]),
        (policy(failurePolicy="Cry"),
         ['spec.failurePolicy: Unsupported value: "Cry": supported values: "Fail", "Ignore"']),
        (policy(validations=None),
         ["spec.validations: Required value: validations or auditAnnotations must contain at least "
          "one item",
          "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at "
          "least one item"]),
        (policy(validations=[{"expression": " ", "message": "a\nb", "reason": "Mood"}]),
         [f"{V}.expression: Required value: expression is not specified",
          f'{V}.message: Invalid value: "a\\nb": message must not contain line breaks',
          f'{V}.reason: Unsupported value: "Mood": supported values: "Forbidden", "Invalid", '
          '"RequestEntityTooLarge", "Unauthorized"']),
        (policy(validations=[SAYS | {"message": " ", "messageExpression": " "}]),
         [f'{V}.messageExpression: Invalid value: " ": must be non-empty if specified',
          f'{V}.message: Invalid value: " ": message must be non-empty if specified']),
        (policy(variables=[{"name": "for", "expression": ""}, {"name": " "}]),
         ['spec.variables[0].name: Invalid value: "for": name is not a valid CEL identifier',
          "spec.variables[0].expression: Required value: expression is not specified",
          "spec.variables[1].name: Required value: name is not specified",
          "spec.variables[1].expression: Required value: expression is not specified"]),
        (policy(paramKind={}), [f"{K}.apiVersion: Required value", f"{K}.kind: Required value"]),
        (policy(paramKind={"apiVersion": "a/b/c", "kind": "Limit"}),
         [f'{K}.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
        (policy(paramKind={"apiVersion": "a/", "kind": "Limit"}),
         [f'{K}.apiVersion: Invalid value: "a/": version must be specified']),
        (policy(auditAnnotations=[{"key": "k", "valueExpression": "'a'"}] * 2),
         [f'{N}[1].key: Duplicate value: "k"']),
        (policy(auditAnnotations=[{"key": "k"}]),
         [f"{N}[0].valueExpression: Required value: valueExpression is not specified"]),
        (policy(auditAnnotations=[{"key": "k", "valueExpression": "x" * 5121}]),
         [f"{N}[0].valueExpression: Required value: must not exceed 5120 bytes in length"]),
    ],
)  # fmt: skip
def test_policies(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(POLICY, manifest) == expected


def binding(**spec: Any) -> dict[str, Any]:
    return {"spec": {"policyName": "p", "validationActions": ["Deny"]} | spec}


B = "spec.paramRef"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (binding(), []),
        (binding(policyName=""), ["spec.policyName: Required value"]),
        (binding(validationActions=[]),
         ["spec.validationActions: Required value: at least one validation action is required"]),
        (binding(validationActions=["Deny", "Deny", "Shout"]),
         ['spec.validationActions[1]: Duplicate value: "Deny"',
          'spec.validationActions[2]: Unsupported value: "Shout": supported values: "Audit", '
          '"Deny", "Warn"']),
        (binding(paramRef={}),
         [f"{B}: Required value: one of name or selector must be specified",
          f"{B}.parameterNotFoundAction: Required value"]),
        (binding(paramRef={"name": "a", "selector": {}, "parameterNotFoundAction": "Cry"}),
         [f"{B}.name: Forbidden: name and selector are mutually exclusive",
          f"{B}.selector: Forbidden: name and selector are mutually exclusive",
          f'{B}.parameterNotFoundAction: Unsupported value: "Cry": supported values: "Deny", '
          '"Allow"']),
        (binding(matchResources={"resourceRules": [RULE | {"operations": []}]}),
         ["spec.matchResources.resourceRules[0].operations: Required value"]),
    ],
)  # fmt: skip
def test_bindings_of_policies(manifest: dict[str, Any], expected: list[str]) -> None:
    assert refused(BINDING, manifest) == expected


def test_statuses_of_policies() -> None:
    status = {"conditions": [{"type": "A", "status": "True", "reason": "R"}]}
    assert status_refused(POLICY, created(POLICY, policy()), status) == [
        "status.conditions[0].lastTransitionTime: Required value: must be set"
    ]


def test_a_role_reference_without_a_group_means_roles() -> None:
    address = "rbac.authorization.k8s.io/v1/RoleBinding"
    ref = {"kind": "Role", "name": "r", "apiGroup": ""}
    found = created(address, {"roleRef": ref, "subjects": [{"kind": "User", "name": "u"}]})
    group = "rbac.authorization.k8s.io"
    assert found["roleRef"]["apiGroup"] == found["subjects"][0]["apiGroup"] == group
