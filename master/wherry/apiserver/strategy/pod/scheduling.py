"""Rules for what steers scheduling: node selector, affinity, tolerations, spread."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.selector import validate_label_selector

Object = dict[str, Any]
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"


def validate_scheduling(path: str, spec: Object) -> list[Cause]:
    """Return everything wrong with where a pod wants to run."""
    wrong = names.check_labels(f"{path}.nodeSelector", spec.get("nodeSelector", {}))
    affinity = spec.get("affinity", {})
    at = f"{path}.affinity"
    if "nodeAffinity" in affinity:
        wrong += _node_affinity(f"{at}.nodeAffinity", affinity["nodeAffinity"])
    for kind in ("podAffinity", "podAntiAffinity"):
        if kind in affinity:
            wrong += _pod_affinity(f"{at}.{kind}", affinity[kind])
    for index, toleration in enumerate(spec.get("tolerations", ())):
        wrong += _toleration(f"{path}.tolerations[{index}]", toleration)
    for index, spread in enumerate(spec.get("topologySpreadConstraints", ())):
        wrong += _spread(f"{path}.topologySpreadConstraints[{index}]", spread)
    return wrong


def _node_affinity(path: str, affinity: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if _REQUIRED in affinity:
        at = f"{path}.{_REQUIRED}.nodeSelectorTerms"
        terms = affinity[_REQUIRED].get("nodeSelectorTerms", [])
        if not terms:
            wrong.append(fields.required(at, "must have at least one node selector term"))
        for index, term in enumerate(terms):
            wrong += _node_term(f"{at}[{index}]", term)
    for index, wish in enumerate(affinity.get(_PREFERRED, ())):
        at = f"{path}.{_PREFERRED}[{index}]"
        wrong += _weight(at, wish)
        wrong += _node_term(f"{at}.preference", wish.get("preference", {}))
    return wrong


def _node_term(path: str, term: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, requirement in enumerate(term.get("matchExpressions", ())):
        at = f"{path}.matchExpressions[{index}]"
        wrong += _requirement(at, requirement)
        wrong += names.check(f"{at}.key", requirement.get("key", ""), names.qualified_name)
    for index, requirement in enumerate(term.get("matchFields", ())):
        at = f"{path}.matchFields[{index}]"
        operator, values = requirement.get("operator", ""), requirement.get("values", [])
        if operator not in ("In", "NotIn"):
            wrong.append(
                fields.invalid(f"{at}.operator", operator, "not a valid selector operator")
            )
        elif len(values) != 1:
            detail = (
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
            wrong.append(fields.required(f"{at}.values", detail))
        if requirement.get("key") != "metadata.name":
            detail = "not a valid field selector key"
            wrong.append(fields.invalid(f"{at}.key", requirement.get("key", ""), detail))
    return wrong


def _requirement(path: str, requirement: Object) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values", [])
    if operator not in _OPERATORS:
        return [fields.invalid(f"{path}.operator", operator, "not a valid selector operator")]
    if operator in ("In", "NotIn") and not values:
        detail = "must be specified when `operator` is 'In' or 'NotIn'"
        return [fields.required(f"{path}.values", detail)]
    if operator in ("Exists", "DoesNotExist") and values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        return [fields.forbidden(f"{path}.values", detail)]
    if operator in ("Gt", "Lt") and len(values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        return [fields.required(f"{path}.values", detail)]
    return []


def _pod_affinity(path: str, affinity: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, term in enumerate(affinity.get(_REQUIRED, ())):
        wrong += _pod_term(f"{path}.{_REQUIRED}[{index}]", term)
    for index, wish in enumerate(affinity.get(_PREFERRED, ())):
        at = f"{path}.{_PREFERRED}[{index}]"
        wrong += _weight(at, wish)
        wrong += _pod_term(f"{at}.podAffinityTerm", wish.get("podAffinityTerm", {}))
    return wrong


def _pod_term(path: str, term: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field in ("labelSelector", "namespaceSelector"):
        if field in term:
            wrong += validate_label_selector(f"{path}.{field}", term[field])
    for namespace in term.get("namespaces", ()):
        wrong += names.check(f"{path}.namespace", namespace, names.dns1123_label)
    key = term.get("topologyKey", "")
    if not key:
        return [*wrong, fields.required(f"{path}.topologyKey", "can not be empty")]
    return wrong + names.check(f"{path}.topologyKey", key, names.qualified_name)


def _weight(path: str, wish: Object) -> list[Cause]:
    weight = wish.get("weight", 0)
    return [] if 1 <= weight <= 100 else [fields.invalid(f"{path}.weight", weight, _WEIGHT)]


def _toleration(path: str, toleration: Object) -> list[Cause]:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    effect = toleration.get("effect", "")
    wrong: list[Cause] = []
    if key:
        wrong += names.check(f"{path}.key", key, names.qualified_name)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        wrong.append(fields.invalid(f"{path}.operator", operator, detail))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        wrong.append(fields.invalid(f"{path}.effect", effect, detail))
    if operator in ("", "Equal"):
        wrong += names.check(f"{path}.value", toleration.get("value", ""), names.label_value)
    elif operator == "Exists":
        if toleration.get("value"):
            detail = "value must be empty when `operator` is 'Exists'"
            wrong.append(fields.invalid(f"{path}.operator", toleration["value"], detail))
    else:
        wrong.append(fields.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect and effect not in _EFFECTS:
        wrong.append(fields.unsupported(f"{path}.effect", effect, _EFFECTS))
    return wrong


def _spread(path: str, spread: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if spread.get("maxSkew", 0) <= 0:
        detail = "must be greater than zero"
        wrong.append(fields.invalid(f"{path}.maxSkew", spread.get("maxSkew", 0), detail))
    if not spread.get("topologyKey"):
        wrong.append(fields.required(f"{path}.topologyKey", "can not be empty"))
    when = spread.get("whenUnsatisfiable", "")
    allowed = ("DoNotSchedule", "ScheduleAnyway")
    if when not in allowed:
        wrong.append(fields.unsupported(f"{path}.whenUnsatisfiable", when, allowed))
    if "labelSelector" in spread:
        wrong += validate_label_selector(f"{path}.labelSelector", spread["labelSelector"])
    return wrong
