"""The spec of a Job, and of the template of one in a CronJob: batch `validateJobSpec`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import check_domain_path, not_negative
from wherry.apiserver.strategy.job_policy import (
    validate_failure_policy,
    validate_success_policy,
)
from wherry.apiserver.strategy.pod.spec import validate_template

Object = dict[str, Any]

_MODES = ("NonIndexed", "Indexed")
_RESTARTS = ("OnFailure", "Never")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_MOST_INDEXED = 100_000
"""Pods at a time of an indexed job, failed indexes that are remembered, and many completions."""
_MOST_AT_MANY = 10_000
"""The same where completions are many and each index has its own backoff limit."""
_MOST_MANAGED_BY = 63


def validate_job(path: str, spec: Object) -> list[Cause]:
    """Check everything but the selector."""
    wrong = not_negative(
        path,
        spec,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        detail = "when maxFailedIndexes is specified"
        wrong.append(fields.required(f"{path}.backoffLimitPerIndex", detail))
    if "managedBy" in spec:
        wrong += _managed_by(f"{path}.managedBy", spec["managedBy"])
    wrong += _mode(path, spec)
    if "podFailurePolicy" in spec:
        wrong += validate_failure_policy(f"{path}.podFailurePolicy", spec)
    if "successPolicy" in spec:
        at = f"{path}.successPolicy"
        if spec.get("completionMode") == "Indexed":
            wrong += validate_success_policy(at, spec)
        else:
            detail = "requires indexed completion mode"
            wrong.append(fields.invalid(at, spec["successPolicy"], detail))
    wrong += _replacement(f"{path}.podReplacementPolicy", spec)
    wrong += validate_template(f"{path}.template", spec["template"])
    return wrong + _restart(f"{path}.template.spec.restartPolicy", spec)


def _managed_by(path: str, manager: str) -> list[Cause]:
    if not manager:
        return [fields.required(path)]
    wrong = check_domain_path(path, manager)
    if len(manager) > _MOST_MANAGED_BY:
        wrong.append(fields.too_long(path, _MOST_MANAGED_BY))
    return wrong


def _mode(path: str, spec: Object) -> list[Cause]:
    mode = spec.get("completionMode", "NonIndexed")
    if mode == "Indexed":
        return _indexed(path, spec)
    if mode != "NonIndexed":
        return [fields.unsupported(f"{path}.completionMode", mode, _MODES)]
    return [
        fields.invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
        for field in ("backoffLimitPerIndex", "maxFailedIndexes")
        if field in spec
    ]


def _indexed(path: str, spec: Object) -> list[Cause]:
    completions, parallel = spec.get("completions"), spec.get("parallelism", 0)
    failed, at = spec.get("maxFailedIndexes"), f"{path}.maxFailedIndexes"
    wrong: list[Cause] = []
    if completions is None:
        wrong.append(fields.required(f"{path}.completions", "when completion mode is Indexed"))
    if parallel > _MOST_INDEXED:
        detail = f"must be less than or equal to {_MOST_INDEXED} when completion mode is Indexed"
        wrong.append(fields.invalid(f"{path}.parallelism", parallel, detail))
    if failed is not None:
        if completions is not None and failed > completions:
            detail = "must be less than or equal to completions"
            wrong.append(fields.invalid(at, failed, detail))
        if failed > _MOST_INDEXED:
            detail = f"must be less than or equal to {_MOST_INDEXED}"
            wrong.append(fields.invalid(at, failed, detail))
    if (completions or 0) <= _MOST_INDEXED or "backoffLimitPerIndex" not in spec:
        return wrong
    if failed is None:
        detail = f"must be specified when completions is above {_MOST_INDEXED}"
        wrong.append(fields.required(at, detail))
    detail = (
        f"must be less than or equal to {_MOST_AT_MANY} when completions are above {_MOST_INDEXED} "
        "and used with backoff limit per index"
    )
    if parallel > _MOST_AT_MANY:
        wrong.append(fields.invalid(f"{path}.parallelism", parallel, detail))
    if failed is not None and failed > _MOST_AT_MANY:
        wrong.append(fields.invalid(at, failed, detail))
    return wrong


def _replacement(path: str, spec: Object) -> list[Cause]:
    policy = spec.get("podReplacementPolicy")
    allowed = _REPLACEMENT[:1] if "podFailurePolicy" in spec else _REPLACEMENT
    if policy is None or policy in allowed:
        return []
    return [fields.unsupported(path, policy, allowed)]


def _restart(path: str, spec: Object) -> list[Cause]:
    policy = spec["template"].get("spec", {}).get("restartPolicy", "")
    if policy in ("", "Always"):  # what nobody chose is "Always" by then
        return [fields.required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in _RESTARTS:
        return [fields.unsupported(path, policy, _RESTARTS)]
    if "podFailurePolicy" in spec and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        return [fields.invalid(path, policy, detail)]
    return []
