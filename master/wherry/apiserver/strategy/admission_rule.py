"""Which requests webhooks and policies are about: admissionregistration's rules and conditions.

Expressions in CEL are taken as they are.
"""

from typing import Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import option
from wherry.apiserver.strategy.selector import validate_label_selector

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MATCHES = ("Equivalent", "Exact")
_SCOPES = ("*", "Cluster", "Namespaced")
_SELECTORS = ("namespaceSelector", "objectSelector")
_MOST_CONDITIONS = 64
RULE: Final = Defaults(absent={"scope": "*"})
MATCH: Final = Defaults(
    absent={"matchPolicy": "Equivalent"},
    made={"namespaceSelector": NOTHING, "objectSelector": NOTHING},
    within={"resourceRules": RULE, "excludeResourceRules": RULE},
)


def validate_match(path: str, match: Object) -> list[Cause]:
    """Check policy, selectors and rules of what is matched (defaults are in)."""
    wrong = option(path, match, "matchPolicy", _MATCHES)
    for field in _SELECTORS:
        wrong += validate_label_selector(f"{path}.{field}", match[field])
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(field, ())):
            wrong += _named_rule(f"{path}.{field}[{index}]", rule)
    return wrong


def _named_rule(path: str, rule: Object) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, name in enumerate(rule.get("resourceNames", ())):
        at = f"{path}.resourceNames[{index}]"
        wrong += names.check(at, name, names.path_segment)
        if name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
    return wrong + validate_rule(path, rule)


def validate_rule(path: str, rule: Object) -> list[Cause]:
    """Check operations, groups, versions, resources and scope."""
    wrong = _listed(path, rule, "operations", "operations")
    for index, operation in enumerate(rule.get("operations", ())):
        if operation not in _OPERATIONS:
            at = f"{path}.operations[{index}]"
            wrong.append(fields.unsupported(at, operation, _OPERATIONS))
    wrong += _listed(path, rule, "apiGroups", "API groups")
    wrong += _listed(path, rule, "apiVersions", "API versions")
    wrong += [
        fields.required(f"{path}.apiVersions[{index}]")
        for index, version in enumerate(rule.get("apiVersions", ()))
        if not version
    ]
    wrong += _resources(f"{path}.resources", rule.get("resources", []))
    return wrong + option(path, rule, "scope", _SCOPES)


def _listed(path: str, rule: Object, field: str, what: str) -> list[Cause]:
    values, at = rule.get(field, []), f"{path}.{field}"
    if not values:
        return [fields.required(at)]
    if "*" not in values or len(values) == 1:
        return []
    return [fields.invalid(at, values, f"if '*' is present, must not specify other {what}")]


def _resources(path: str, resources: list[str]) -> list[Cause]:
    """Check that nothing is said twice: `pods/*` is all of a pod's parts, `*/scale` every scale."""
    if not resources:
        return [fields.required(path)]
    wrong: list[Cause] = []
    all_of: set[str] = set()
    of_all: set[str] = set()
    for index, text in enumerate(resources):
        at, (resource, slash, part) = f"{path}[{index}]", text.partition("/")
        if not text:
            wrong.append(fields.required(at))
        if not slash:
            continue
        if resource in all_of:
            detail = f"if '{resource}/*' is present, must not specify {text}"
            wrong.append(fields.invalid(at, text, detail))
        if part in of_all:
            detail = f"if '*/{part}' is present, must not specify {text}"
            wrong.append(fields.invalid(at, text, detail))
        all_of |= {resource} if part == "*" else set()
        of_all |= {part} if resource == "*" else set()
    if "*/*" in resources and len(resources) > 1:
        detail = "if '*/*' is present, must not specify other resources"
        wrong.append(fields.invalid(path, resources, detail))
    if "*" in resources and any("/" not in text and text not in ("", "*") for text in resources):
        detail = "if '*' is present, must not specify other resources without subresources"
        wrong.append(fields.invalid(path, resources, detail))
    return wrong


def validate_match_conditions(path: str, conditions: list[Object]) -> list[Cause]:
    """Check that conditions say something and have names, each its own."""
    wrong: list[Cause] = []
    if len(conditions) > _MOST_CONDITIONS:
        wrong.append(fields.too_many(path, len(conditions), _MOST_CONDITIONS))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{path}[{index}]", condition.get("name", "")
        if not condition.get("expression", "").strip():
            wrong.append(fields.required(f"{at}.expression"))
        if not name:
            wrong.append(fields.required(f"{at}.name"))
            continue
        wrong += names.check(f"{at}.name", name, names.qualified_name)
        if name in seen:
            wrong.append(fields.duplicate(f"{at}.name", name))
        seen.add(name)
    return wrong
