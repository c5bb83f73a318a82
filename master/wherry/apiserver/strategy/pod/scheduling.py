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


def validate_affinity(path: str, affinity: Object) -> list[Cause]:
    """Return everything wrong with the nodes and pods that a pod wants to be beside."""
    wrong: list[Cause] = []
    if "nodeAffinity" in affinity:
        wrong += _node_affinity(f"{path}.nodeAffinity", affinity["nodeAffinity"])
    for kind in ("podAffinity", "podAntiAffinity"):
        if kind in affinity:
            wrong += _pod_affinity(f"{path}.{kind}", affinity[kind])
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
        wrong += _node_term(f"{at}.preference", wish.get("preference", {}), strict=False)
    return wrong


def _node_term(path: str, term: Object, *, strict: bool = True) -> list[Cause]:
    """Check one term. The values of a wish may be no label values: nothing is refused for them."""
    wrong: list[Cause] = []
    for index, requirement in enumerate(term.get("matchExpressions", ())):
        at = f"{path}.matchExpressions[{index}]"
        wrong += _requirement(at, requirement)
        wrong += names.check(f"{at}.key", requirement.get("key", ""), names.qualified_name)
        for number, value in enumerate(requirement.get("values", ()) if strict else ()):
            wrong += names.check(f"{at}.values[{number}]", value, names.label_value)
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
            continue
        for number, value in enumerate(values):
            wrong += names.check(f"{at}.values[{number}]", value, names.dns1123_subdomain)
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
    wrong += _selected_twice(path, term)
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


def _selected_twice(path: str, term: Object) -> list[Cause]:
    """Say which of the keys, whose values are in the selector by now, it had before. The path is upstream's."""
    keys = {key: index for index, key in enumerate(term.get("matchLabelKeys", ()))}
    if not keys:
        return []
    selector = term.get("labelSelector", {})
    seen = set(selector.get("matchLabels", {}))
    wrong: list[Cause] = []
    for requirement in selector.get("matchExpressions", ()):
        key = requirement.get("key", "")
        if key in keys and key in seen:
            detail = "exists in both matchLabelKeys and labelSelector"
            wrong.append(fields.invalid(f"{path}[{keys[key]}]", key, detail))
        seen.add(key)
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
        reasons = names.label_value(value := toleration.get("value", ""))
        if reasons:
            wrong.append(fields.invalid(f"{path}.operator", value, ";".join(reasons)))
    elif operator == "Exists":
        if toleration.get("value"):
            detail = "value must be empty when `operator` is 'Exists'"
            wrong.append(fields.invalid(f"{path}.operator", toleration["value"], detail))
    else:
        wrong.append(fields.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect and effect not in _EFFECTS:
        wrong.append(fields.unsupported(f"{path}.effect", effect, _EFFECTS))
    return wrong


def validate_spreads(path: str, spreads: list[Object]) -> list[Cause]:
    """Return everything wrong with how pods are to be spread."""
    pairs = [(s.get("topologyKey", ""), s.get("whenUnsatisfiable", "")) for s in spreads]
    last = {pair: index for index, pair in enumerate(pairs)}
    return [
        cause
        for index, spread in enumerate(spreads)
        for cause in _spread(f"{path}[{index}]", spread, repeated=last[pairs[index]] > index)
    ]


def _spread(path: str, spread: Object, *, repeated: bool) -> list[Cause]:
    wrong: list[Cause] = []
    if spread.get("maxSkew", 0) <= 0:
        skew = spread.get("maxSkew", 0)
        wrong.append(fields.invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
    key = spread.get("topologyKey", "")
    if not key:
        wrong.append(fields.required(f"{path}.topologyKey", "can not be empty"))
    when = spread.get("whenUnsatisfiable", "")
    if when not in _WHEN:
        wrong.append(fields.unsupported(f"{path}.whenUnsatisfiable", when, _WHEN))
    if repeated:
        where = f"{path}.{{topologyKey, whenUnsatisfiable}}"
        wrong.append(fields.duplicate(where, f"{{{key}, {when}}}"))
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
    wrong += _selected_twice(path, spread)
    if "labelSelector" in spread:
        wrong += validate_label_selector(f"{path}.labelSelector", spread["labelSelector"])
    return wrong
