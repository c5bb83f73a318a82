"""Label selectors, as fields of objects: metav1 `ValidateLabelSelector`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.api.selectors import LabelSelector, selector_from
from wherry.apiserver.strategy import fields, names

Object = dict[str, Any]


def validate_label_selector(path: str, selector: Object) -> list[Cause]:
    """Return everything wrong with `matchLabels` and `matchExpressions`."""
    wrong = names.check_labels(f"{path}.matchLabels", selector.get("matchLabels", {}))
    for index, requirement in enumerate(selector.get("matchExpressions", ())):
        wrong += _requirement(f"{path}.matchExpressions[{index}]", requirement)
    return wrong


def _requirement(path: str, requirement: Object) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values", [])
    wrong: list[Cause] = []
    if operator in ("In", "NotIn"):
        if not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            wrong.append(fields.required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            wrong.append(fields.forbidden(f"{path}.values", detail))
    else:
        wrong.append(fields.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    wrong += names.check(f"{path}.key", requirement.get("key", ""), names.qualified_name)
    for index, value in enumerate(values):
        wrong += names.check(f"{path}.values[{index}]", value, names.label_value)
    return wrong


def compile_selector(selector: Object) -> LabelSelector:
    """Return the matcher of a valid selector."""
    expressions = [
        (e.get("key", ""), e.get("operator", ""), e.get("values", []))
        for e in selector.get("matchExpressions", ())
    ]
    return selector_from(selector.get("matchLabels", {}), expressions)
