"""When a Job has failed or succeeded: batch `validatePodFailurePolicy`, `validateSuccessPolicy`."""

from collections.abc import Collection
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import not_negative

Object = dict[str, Any]

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_MOST_RULES = 20
_MOST_CODES = 255
_MOST_PATTERNS = 20
_MOST_INDEXES_TEXT = 64 * 1024
_LONGEST_INDEX = 18
"""Digits of an index: what is longer is above any bound, and costs time to read."""
_CONTAINERS = ("containers", "initContainers")


class IndexesError(ValueError):
    """A text names no set of indexes; says why."""


def validate_failure_policy(path: str, spec: Object) -> list[Cause]:
    """Check what follows from which failure of a pod. `spec` is the job's."""
    rules = spec["podFailurePolicy"].get("rules", [])
    wrong: list[Cause] = []
    if len(rules) > _MOST_RULES:
        wrong.append(fields.too_many(f"{path}.rules", len(rules), _MOST_RULES))
    pod = spec.get("template", {}).get("spec", {})
    known = {c.get("name") for field in _CONTAINERS for c in pod.get(field, ())}
    for index, rule in enumerate(rules):
        wrong += _failure_rule(f"{path}.rules[{index}]", rule, spec, known)
    return wrong


def _failure_rule(path: str, rule: Object, spec: Object, known: Collection[Any]) -> list[Cause]:
    action, at = rule.get("action", ""), f"{path}.action"
    wrong = _choice(at, action, _ACTIONS)
    if action == "FailIndex" and "backoffLimitPerIndex" not in spec:
        detail = "requires the backoffLimitPerIndex to be set"
        wrong.append(fields.invalid(at, action, detail))
    codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions", ())
    if codes is not None:
        wrong += _exit_codes(f"{path}.onExitCodes", codes, known)
    if len(patterns) > _MOST_PATTERNS:
        wrong.append(fields.too_many(f"{path}.onPodConditions", len(patterns), _MOST_PATTERNS))
    for index, pattern in enumerate(patterns):
        where = f"{path}.onPodConditions[{index}]"
        wrong += names.check(f"{where}.type", pattern.get("type", ""), names.qualified_name)
        wrong += _choice(f"{where}.status", pattern.get("status", ""), _STATUSES)
    if codes is not None and patterns:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        wrong.append(fields.invalid_whole(path, detail))
    elif codes is None and not patterns:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        wrong.append(fields.invalid_whole(path, detail))
    return wrong


def _choice(path: str, value: str, allowed: tuple[str, ...]) -> list[Cause]:
    if value in allowed:
        return []
    if value:
        return [fields.unsupported(path, value, allowed)]
    shown = " ".join(f'"{each}"' for each in allowed)
    return [fields.required(path, f"valid values: [{shown}]")]


def _exit_codes(path: str, codes: Object, known: Collection[Any]) -> list[Cause]:
    operator, values, at = codes.get("operator", ""), codes.get("values", []), f"{path}.values"
    wrong = _choice(f"{path}.operator", operator, _OPERATORS)
    if "containerName" in codes and codes["containerName"] not in known:
        detail = "must be one of the container or initContainer names in the pod template"
        wrong.append(fields.invalid(f"{path}.containerName", codes["containerName"], detail))
    if not values:
        wrong.append(fields.invalid(at, codes.get("values"), "at least one value is required"))
    elif len(values) > _MOST_CODES:
        wrong.append(fields.too_many(at, len(values), _MOST_CODES))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            detail = "must not be 0 for the In operator"
            wrong.append(fields.invalid(f"{at}[{index}]", value, detail))
        if value in seen:
            wrong.append(fields.duplicate(f"{at}[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        wrong.append(fields.invalid(at, values, "must be ordered"))
    return wrong


def validate_success_policy(path: str, spec: Object) -> list[Cause]:
    """Check which indexes are enough for success. `spec` is an indexed job's."""
    rules, at = spec["successPolicy"].get("rules", []), f"{path}.rules"
    wrong: list[Cause] = []
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        wrong.append(fields.required(at, detail))
    if len(rules) > _MOST_RULES:
        wrong.append(fields.too_many(at, len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        wrong += _success_rule(f"{at}[{index}]", rule, spec.get("completions", 0))
    return wrong


def _success_rule(path: str, rule: Object, completions: int) -> list[Cause]:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    wrong: list[Cause] = []
    if indexes is None and count is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        wrong.append(fields.required(path, detail))
    total = 0
    if indexes is not None:
        at = f"{path}.succeededIndexes"
        if len(indexes) > _MOST_INDEXES_TEXT:
            wrong.append(fields.too_long(at, _MOST_INDEXES_TEXT))
        try:
            total = sum(last - first + 1 for first, last in parse_indexes(indexes, completions))
        except IndexesError as error:
            detail = f"error parsing succeededIndexes: {error}"
            wrong.append(fields.invalid(at, indexes, detail))
    if count is not None:
        at = f"{path}.succeededCount"
        wrong += not_negative(path, rule, "succeededCount")
        if count > completions:
            detail = (
                f"must be less than or equal to {completions} (the number of specified completions)"
            )
            wrong.append(fields.invalid(at, count, detail))
        if indexes is not None and count > total:
            detail = (
                f"must be less than or equal to {total} (the number of indexes in the specified "
                "succeededIndexes field)"
            )
            wrong.append(fields.invalid(at, count, detail))
    return wrong


def parse_indexes(text: str, completions: int) -> list[tuple[int, int]]:
    """Return the intervals, ends included, of a text such as `1,3-5`; "" has none.

    Raises:
        IndexesError: it is none, or not in order, or names an index that there is not.
    """
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        first, last = _interval(part, completions)
        if found and found[-1][1] >= first:
            raise IndexesError(f"non-increasing order, previous: {found[-1][1]}, current: {first}")
        found.append((first, last))
    return found


def _interval(text: str, completions: int) -> tuple[int, int]:
    ends = text.split("-")
    if len(ends) > 2:
        raise IndexesError(
            f'the fragment "{text}" violates the requirement that an index interval can have at '
            "most two parts separated by '-'"
        )
    first, last = (_index(ends[0], completions), _index(ends[-1], completions))
    if len(ends) == 2 and first >= last:
        raise IndexesError(f"non-increasing order, previous: {first}, current: {last}")
    return first, last


def _index(text: str, completions: int) -> int:
    digits = text[1:] if text[:1] == "+" else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST_INDEX):
        raise IndexesError(f'cannot convert string to integer for index: "{text}"')
    if int(digits) >= completions:
        raise IndexesError(f'too large index: "{text}"')
    return int(digits)
