"""Conditions of the general form: metav1 `ValidateConditions`."""

import re

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object

_STATUSES = ("False", "True", "Unknown")
_MOST_REASON = 1024
_MOST_MESSAGE = 32 * 1024
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of "
    "alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. "
    f"'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex "
    f"used for validation is '{_REASON.pattern}')"
)


def validate_conditions(path: str, conditions: list[Object]) -> list[Cause]:
    """Check every condition, and that there is one of a type."""
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, kind = f"{path}[{index}]", condition.get("type", "")
        if kind in seen:
            wrong.append(fields.duplicate(f"{at}.type", kind))
        seen.add(kind)
        wrong += _condition(at, condition)
    return wrong


def _condition(path: str, condition: Object) -> list[Cause]:
    wrong = names.check(f"{path}.type", condition.get("type", ""), names.qualified_name)
    status, reason = condition.get("status", ""), condition.get("reason", "")
    if status not in _STATUSES:
        wrong.append(fields.unsupported(f"{path}.status", status, _STATUSES))
    observed = condition.get("observedGeneration", 0)
    if observed < 0:
        detail = "must be greater than or equal to zero"
        wrong.append(fields.invalid(f"{path}.observedGeneration", observed, detail))
    if not condition.get("lastTransitionTime"):
        wrong.append(fields.required(f"{path}.lastTransitionTime", "must be set"))
    at = f"{path}.reason"
    if not reason:
        wrong.append(fields.required(at, "must be set"))
    else:
        if not _REASON.fullmatch(reason):
            wrong.append(fields.invalid(at, reason, _REASON_TEXT))
        if len(reason) > _MOST_REASON:
            wrong.append(fields.too_long(at, _MOST_REASON))
    if len(condition.get("message", "")) > _MOST_MESSAGE:
        wrong.append(fields.too_long(f"{path}.message", _MOST_MESSAGE))
    return wrong
