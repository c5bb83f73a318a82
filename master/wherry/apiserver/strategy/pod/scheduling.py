"""Rules for what steers scheduling: node selector, affinity, tolerations, spread."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import option
from wherry.apiserver.strategy.selector import validate_label_selector

Object = dict[str, Any]
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_WHEN = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")


def validate_scheduling(path: str, spec: Object) -> list[Cause]:
    """Return everything wrong with where a pod wants to run."""
    wrong = names.check_labels(f"{path}.nodeSelector", spec.get("nodeSelector", {}))
    affinity, at = spec.get("affinity", {}), f"{path}.affinity"
    if "nodeAffinity" in affinity:
        wrong += _node_affinity(f"{at}.nodeAffinity", affinity["nodeAffinity"])
    for kind in ("podAffinity", "podAntiAffinity"):
        if kind in affinity:
            wrong += _pod_affinity(f"{at}.{kind}", affinity[kind])
    for index, toleration in enumerate(spec.get("tolerations", ())):
        wrong += validate_toleration(f"{path}.tolerations[{index}]", toleration)
    if "topologySpreadConstraints" in spec:
        at = f"{path}.topologySpreadConstraints"
        wrong += _spreads(at, spec["topologySpreadConstraints"])
    return wrong


def validate_node_selector(path: str, selector: Object) -> list[Cause]:
    """Check a node selector: one of its terms must match."""
    terms, at = selector.get("nodeSelectorTerms", []), f"{path}.nodeSelectorTerms"
    if not terms:
        return [fields.required(at, "must have at least one node selector term")]
    return [
        cause for index, term in enumerate(terms) for cause in _node_term(f"{at}[{index}]", term)
    ]


def _node_affinity(path: str, affinity: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if _REQUIRED in affinity:
        wrong += validate_node_selector(f"{path}.{_REQUIRED}", affinity[_REQUIRED])
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
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        wrong += _label_keys(path, term, field)
    both = set(term.get("matchLabelKeys", ())) & set(term.get("mismatchLabelKeys", ()))
    for index, key in enumerate(term.get("matchLabelKeys", ())):
        if key in both:
            at = f"{path}.matchLabelKeys[{index}]"
            wrong.append(
                fields.invalid(at, key, "exists in both matchLabelKeys and mismatchLabelKeys")
            )
    key = term.get("topologyKey", "")
    if not key:
        wrong.append(fields.required(f"{path}.topologyKey", "can not be empty"))
    return wrong + names.check(f"{path}.topologyKey", key, names.qualified_name)


def _label_keys(path: str, term: Object, field: str) -> list[Cause]:
    keys = term.get(field, ())
    if not keys:
        return []
    if "labelSelector" not in term:
        detail = "must not be specified when labelSelector is not set"
        return [fields.forbidden(f"{path}.{field}", detail)]
    wrong: list[Cause] = []
    for index, key in enumerate(keys):
        wrong += names.check(f"{path}.{field}[{index}]", key, names.qualified_name)
    return wrong


def _weight(path: str, wish: Object) -> list[Cause]:
    weight = wish.get("weight", 0)
    return [] if 1 <= weight <= 100 else [fields.invalid(f"{path}.weight", weight, _WEIGHT)]


def validate_toleration(path: str, toleration: Object) -> list[Cause]:
    """Check one toleration."""
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


def _spreads(path: str, spreads: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[tuple[str, str]] = set()
    for index, spread in enumerate(spreads):
        at = f"{path}[{index}]"
        wrong += _spread(at, spread)
        pair = (spread.get("topologyKey", ""), spread.get("whenUnsatisfiable", ""))
        if pair in taken:
            where = f"{at}.{{topologyKey, whenUnsatisfiable}}"
            wrong.append(fields.duplicate(where, f"{{{pair[0]}, {pair[1]}}}"))
        taken.add(pair)
    return wrong


def _spread(path: str, spread: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if spread.get("maxSkew", 0) <= 0:
        skew = spread.get("maxSkew", 0)
        wrong.append(fields.invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
    key = spread.get("topologyKey", "")
    if not key:
        wrong.append(fields.required(f"{path}.topologyKey", "can not be empty"))
    else:
        wrong += names.check(f"{path}.topologyKey", key, names.qualified_name)
    when = spread.get("whenUnsatisfiable", "")
    if when not in _WHEN:
        wrong.append(fields.unsupported(f"{path}.whenUnsatisfiable", when, _WHEN))
    domains, at = spread.get("minDomains"), f"{path}.minDomains"
    if domains is not None:
        if domains <= 0:
            wrong.append(fields.invalid(at, domains, "must be greater than zero"))
        if when != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
            wrong.append(fields.invalid(at, domains, detail))
    for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        wrong += option(path, spread, field, _INCLUSION)
    wrong += _label_keys(path, spread, "matchLabelKeys")
    if "labelSelector" in spread:
        wrong += validate_label_selector(f"{path}.labelSelector", spread["labelSelector"])
    return wrong
