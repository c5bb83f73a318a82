"""What a Job's status may become: batch `ValidateJobUpdateStatus` with the options of 1.33 and later.

Clients wait for a Job to be Complete or Failed and do not look again, and any controller may be
the one that says so (`spec.managedBy`). So what was said stays said, and fits the rest of the
status. Most of it is asked only where one of the fields changes that it is about: a status that
does not fit may be mended bit by bit, and does not fit for a while when the spec has changed.
"""

from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import not_negative
from wherry.apiserver.strategy.job_policy import IndexesError, parse_indexes

Object = dict[str, Any]

_CONDITIONS: Final = "status.conditions"
_COMPLETE: Final = "Complete"
_FAILED: Final = "Failed"
_FAILING: Final = "FailureTarget"
_MET: Final = "SuccessCriteriaMet"
_FINISHED: Final = frozenset({_COMPLETE, _FAILED})
_COUNTS: Final = ("active", "succeeded", "failed", "ready", "terminating")
_UNCOUNTED: Final = "uncountedTerminatedPods"
_TIMES: Final = ("startTime", "completionTime")
"""In the one form that all stored times have: they are compared as they are."""
_PLAIN: Final = ("active", "completedIndexes", *_TIMES)
_OPTIONAL: Final = ("ready", "terminating", "failedIndexes")
"""Of these nothing is something else than none."""


class _Step:
    """A status, the one before it, and what differs."""

    def __init__(self, new: Object, old: Object) -> None:
        self.spec: Object = new.get("spec", {})
        self.status: Object = new.get("status", {})
        self.was: Object = old.get("status", {})
        self.on = _true(self.status)
        self.before = _true(self.was)
        self.finished = bool(self.on & _FINISHED)
        self.indexed = self.spec.get("completionMode") == "Indexed"
        differ = {*(self.on ^ self.before), *_differing(self.status, self.was)}
        if self.finished != bool(self.before & _FINISHED):
            differ.add("finished")
        self._differ = differ

    def changes(self, *what: str) -> bool:
        """Tell whether a condition or field changes, or whether the Job is finished."""
        return not self._differ.isdisjoint(what)

    def count(self, field: str) -> int:
        """Return a count of pods; one that is absent is 0."""
        found: int = self.status.get(field, 0)
        return found


def validate_job_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of `new`, and with the step to it, in upstream's order."""
    step = _Step(new, old)
    return [
        *not_negative("status", step.status, *_COUNTS),
        *_pods_named_once(step.status.get(_UNCOUNTED, {})),
        *_one_end(step),
        *_completion_time(step),
        *_announced(step),
        *_nothing_left(step),
        *_indexes(step),
        *_pods_that_are_there(step),
        *_success(step),
        *_kept(step),
    ]


def _true(status: Object) -> frozenset[str]:
    conditions = status.get("conditions", ())
    return frozenset(each["type"] for each in conditions if each.get("status") == "True")


def _differing(status: Object, was: Object) -> set[str]:
    """Return the fields that differ; what is said of no pod is not said."""
    differ = {field for field in _OPTIONAL if status.get(field) != was.get(field)}
    differ |= {field for field in _PLAIN if (status.get(field) or None) != (was.get(field) or None)}
    return differ | ({_UNCOUNTED} if _uncounted(status) != _uncounted(was) else set())


def _uncounted(status: Object) -> tuple[list[str], list[str]]:
    pods = status.get(_UNCOUNTED) or {}
    return pods.get("succeeded") or [], pods.get("failed") or []


def _pods_named_once(pods: Object) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(field, ())):
            path = f"status.{_UNCOUNTED}.{field}[{index}]"
            if not uid:
                wrong.append(fields.invalid(path, uid, "must not be empty"))
            elif uid in seen:
                wrong.append(fields.duplicate(path, uid))
            seen.add(uid)
    return wrong


def _one_end(step: _Step) -> list[Cause]:
    return [
        fields.invalid_whole(_CONDITIONS, f"cannot set Complete=True and {other}=true conditions")
        for other in (_FAILED, _FAILING)
        if step.changes(_COMPLETE, other) and {_COMPLETE, other} <= step.on
    ]


def _completion_time(step: _Step) -> list[Cause]:
    path = "status.completionTime"
    started, text = (step.status.get(field, "") for field in _TIMES)
    wrong: list[Cause] = []
    if step.changes(_COMPLETE, "completionTime"):
        if text and _COMPLETE not in step.on:
            detail = "cannot set completionTime when there is no Complete=True condition"
            wrong.append(fields.invalid(path, text, detail))
        elif not text and _COMPLETE in step.on:
            wrong.append(fields.required(path, "completionTime is required for Complete jobs"))
    if step.changes(*_TIMES) and "" < text < started:
        wrong.append(fields.invalid(path, text, "completionTime cannot be set before startTime"))
    return wrong


def _announced(step: _Step) -> list[Cause]:
    """An end is announced, so that pods are stopped before it is told."""
    wrong: list[Cause] = []
    if step.changes(_FAILED, "failedIndexes") and _FAILED in step.on and _FAILING not in step.on:
        detail = "cannot set Failed=True condition without the FailureTarget=true condition"
        wrong.append(fields.invalid_whole(_CONDITIONS, detail))
    if step.changes(_COMPLETE, _MET) and _COMPLETE in step.on and _MET not in step.on:
        detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        wrong.append(fields.invalid_whole(_CONDITIONS, detail))
    return wrong


def _nothing_left(step: _Step) -> list[Cause]:
    if not step.finished:
        return []
    wrong: list[Cause] = []
    active = step.count("active")
    if step.changes("finished", "active") and active > 0:
        wrong.append(
            fields.invalid("status.active", active, "active>0 is invalid for finished job")
        )
    never = step.spec.get("suspend") is True and step.spec.get("completions") == 0
    if step.changes("finished", "startTime") and not step.status.get("startTime") and not never:
        wrong.append(fields.required("status.startTime", "startTime is required for finished job"))
    if step.changes("finished", _UNCOUNTED) and any(_uncounted(step.status)):
        detail = "uncountedTerminatedPods needs to be empty for finished job"
        pods = step.status[_UNCOUNTED]
        wrong.append(fields.invalid(f"status.{_UNCOUNTED}", pods, detail))
    return wrong


def _indexes(step: _Step) -> list[Cause]:
    completions = step.spec.get("completions")
    limited = "backoffLimitPerIndex" in step.spec
    done, failed = step.status.get("completedIndexes", ""), step.status.get("failedIndexes")
    wrong: list[Cause] = []
    if step.changes("completedIndexes") and completions is not None:
        wrong += _readable("completedIndexes", done, completions)
    if step.changes("failedIndexes") and completions is not None and limited:
        wrong += _readable("failedIndexes", failed or "", completions)
    if step.changes("completedIndexes") and done and not step.indexed:
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        wrong.append(fields.invalid("status.completedIndexes", done, detail))
    if failed is None:
        return wrong
    if step.changes("failedIndexes") and not limited:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        wrong.append(fields.invalid("status.failedIndexes", failed, detail))
    if step.changes("failedIndexes", "completedIndexes") and completions is not None:
        both = _overlap(_intervals(done, completions), _intervals(failed, completions))
        if both is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {both}"
            wrong.append(fields.invalid("status.failedIndexes", failed, detail))
    return wrong


def _readable(field: str, text: str, completions: int) -> list[Cause]:
    try:
        parse_indexes(text, completions)
    except IndexesError as error:
        return [fields.invalid(f"status.{field}", text, f"error parsing {field}: {error}")]
    return []


def _intervals(text: str, completions: int) -> list[tuple[int, int]]:
    """Return those intervals that can be read."""
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        try:
            found += parse_indexes(part, completions)
        except IndexesError:
            continue
    return found


def _overlap(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> int | None:
    """Return the first index that is in both; both are in order."""
    at = other_at = 0
    while at < len(some) and other_at < len(others):
        one, other = some[at], others[other_at]
        if one[0] <= other[1] and other[0] <= one[1]:
            return max(one[0], other[0])
        if one[0] <= other[0]:
            at += 1
        else:
            other_at += 1
    return None


def _pods_that_are_there(step: _Step) -> list[Cause]:
    ending, ready = step.count("terminating"), step.count("ready")
    wrong: list[Cause] = []
    if step.finished and ending > 0 and step.changes("finished", "terminating"):
        detail = "terminating>0 is invalid for finished job"
        wrong.append(fields.invalid("status.terminating", ending, detail))
    if "ready" in step.status and ready > step.count("active") and step.changes("ready", "active"):
        wrong.append(
            fields.invalid("status.ready", ready, "cannot set more ready pods than active")
        )
    return wrong


def _success(step: _Step) -> list[Cause]:
    wrong = [
        fields.invalid_whole(
            _CONDITIONS, f"cannot set SuccessCriteriaMet=True and {other}=true conditions"
        )
        for other in (_FAILED, _FAILING)
        if {_MET, other} <= step.on
    ]
    if "successPolicy" in step.spec and _COMPLETE in step.on and _MET not in step.on:
        detail = (
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        )
        wrong.append(fields.invalid_whole(_CONDITIONS, detail))
    return wrong


def _kept(step: _Step) -> list[Cause]:
    """Hold what was said to what is said now."""
    wrong = [
        fields.invalid_whole(_CONDITIONS, f"cannot disable the terminal {kind}=True condition")
        for kind in (_FAILED, _COMPLETE, _FAILING)
        if kind in step.before - step.on
    ]
    elastic = step.indexed and step.spec.get("completions") == step.spec.get("parallelism")
    for field in ("failed",) if elastic else ("failed", "succeeded"):
        count = step.count(field)
        if count < step.was.get(field, 0):
            detail = f"cannot decrease the {field} counter"
            wrong.append(fields.invalid(f"status.{field}", count, detail))
    started, ended = (step.was.get(field) for field in _TIMES)
    start, end = (step.status.get(field) for field in _TIMES)
    if end and ended and end != ended:
        detail = "completionTime cannot be mutated"
        wrong.append(fields.invalid("status.completionTime", end, detail))
    if started and start != started and not step.spec.get("suspend"):
        detail = "startTime cannot be removed for unsuspended job"
        wrong.append(fields.required("status.startTime", detail))
    if _MET in step.before - step.on:
        detail = "cannot disable the SuccessCriteriaMet=True condition"
        wrong.append(fields.invalid_whole(_CONDITIONS, detail))
    if _MET in step.on - step.before and _COMPLETE in step.before:
        detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        wrong.append(fields.invalid_whole(_CONDITIONS, detail))
    return wrong
