"""Job and CronJob: batch `ValidateJob`, `ValidateCronJob` and their defaults."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.cron import refuse_schedule
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import (
    check_domain_path,
    choice,
    not_negative,
    option,
    unchanged,
)
from wherry.apiserver.strategy.pod.defaults import default_template
from wherry.apiserver.strategy.pod.spec import validate_template
from wherry.apiserver.strategy.selector import compile_selector, validate_label_selector

_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_MODES = ("NonIndexed", "Indexed")
_JOB_RESTARTS = ("OnFailure", "Never")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_MOST_PARALLEL_INDEXED = 100_000
_MOST_RULES = 20
_MOST_NAME = 52
"""A CronJob appends eleven characters to its name; a Job's name has at most 63."""
_NUMBERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


def _counts(spec: Object) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if "backoffLimit" not in spec:
        spec["backoffLimit"] = (1 << 31) - 1 if "backoffLimitPerIndex" in spec else 6
    failed = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", failed)
    for rule in spec.get("podFailurePolicy", {}).get("rules", ()):
        for pattern in rule.get("onPodConditions", ()):
            pattern.setdefault("status", "True")


_SPEC = Defaults(
    absent={"completionMode": "NonIndexed", "suspend": False, "manualSelector": False}, then=_counts
)
_CRON_SPEC = Defaults(
    empty={"concurrencyPolicy": "Allow"},
    absent={"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
    made={"jobTemplate": Defaults(made={"spec": NOTHING})},
)


class JobStrategy(Strategy):
    """Pods that run to their end. Its selector is its own uid, unless it says otherwise."""

    generation = True
    first_status: ClassVar[Object] = {}

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing done, and with a selector that no other job has."""
        obj["status"] = dict(self.first_status)
        spec = obj.setdefault("spec", {})
        if not spec.get("manualSelector"):
            _select_own(obj["metadata"], spec)

    def default(self, obj: Object) -> None:
        """Fill in counts and template; labels of the job are its template's."""
        spec = obj.setdefault("spec", {})
        _SPEC.apply(spec)
        template = spec.get("template")
        if template is not None:
            default_template(template)
            labels = template["metadata"].get("labels")
            if labels and not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)

    def validate(self, obj: Object) -> list[Cause]:
        """Check counts, policies, selector and template."""
        spec, meta = obj["spec"], obj["metadata"]
        wrong = [] if spec.get("manualSelector") else _generated(meta, spec)
        wrong += validate_job("spec", spec)
        selector = spec.get("selector")
        if selector is None:
            wrong.append(fields.required("spec.selector"))
        elif bad := validate_label_selector("spec.selector", selector):
            wrong += bad
        else:
            labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
            if not compile_selector(selector).matches(labels):
                detail = "`selector` does not match template `labels`"
                wrong.append(fields.invalid("spec.template.metadata.labels", labels, detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what the pods that are there were made from, but for a job that is suspended."""
        was, is_ = old.get("spec", {}), new["spec"]
        wrong = unchanged("spec", is_, was, "selector")
        elastic = is_.get("completionMode") == "Indexed" and (
            is_.get("completions") == is_.get("parallelism")
        )
        if not elastic:
            wrong += unchanged("spec", is_, was, "completions")
        waiting = was.get("suspend") and not old.get("status", {}).get("startTime")
        if not waiting or _steered(is_) != _steered(was):
            wrong += unchanged("spec", is_, was, "template")
        return wrong + unchanged(
            "spec",
            is_,
            was,
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        )


def _select_own(meta: Object, spec: Object) -> None:
    uid, name = meta.get("uid", ""), meta.get("name", "")
    template = spec.get("template")
    if template is None or "selector" in spec:
        return
    own = dict.fromkeys(_UID_LABELS, uid) | dict.fromkeys(_NAME_LABELS, name)
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for label, value in own.items():
        labels.setdefault(label, value)
    spec["selector"] = {"matchLabels": {_UID_LABELS[0]: uid}}


def _generated(meta: Object, spec: Object) -> list[Cause]:
    if spec.get("selector") is None:
        return []
    labels = spec.get("template", {}).get("metadata", {}).get("labels", {})
    wrong: list[Cause] = []
    wanted = {label: meta.get("uid", "") for label in _UID_LABELS}
    wanted |= {label: meta.get("name", "") for label in _NAME_LABELS}
    for label, value in wanted.items():
        path, detail = f"spec.template.metadata.labels[{label}]", f"must be '{value}'"
        if label not in labels:
            wrong.append(fields.required(path, detail))
        if labels.get(label) != value:
            wrong.append(fields.invalid(path, labels, detail))
    selector = spec["selector"]
    if not validate_label_selector("", selector) and not compile_selector(selector).matches(wanted):
        wrong.append(fields.invalid("spec.selector", selector, "`selector` not auto-generated"))
    return wrong


def _steered(spec: Object) -> Any:
    """Return the template without what may still steer the pods of a job that never started."""
    template = spec.get("template", {})
    meta = {
        k: v for k, v in template.get("metadata", {}).items() if k not in ("labels", "annotations")
    }
    pod = {
        k: v
        for k, v in template.get("spec", {}).items()
        if k not in ("affinity", "nodeSelector", "tolerations", "schedulingGates")
    }
    return meta, pod


def validate_job(path: str, spec: Object) -> list[Cause]:
    """Check the spec of a job, or of the template of one, but for its selector."""
    wrong = not_negative(path, spec, *_NUMBERS)
    wrong += option(path, spec, "completionMode", _MODES)
    wrong += option(path, spec, "podReplacementPolicy", _REPLACEMENT)
    wrong += _indexed(path, spec)
    if "podFailurePolicy" in spec:
        wrong += _failure_policy(f"{path}.podFailurePolicy", spec)
    if "managedBy" in spec:
        wrong += _managed_by(f"{path}.managedBy", spec["managedBy"])
    template = spec.get("template")
    if template is None:
        return [*wrong, fields.required(f"{path}.template")]
    wrong += validate_template(f"{path}.template", template)
    policy = template.get("spec", {}).get("restartPolicy", "")
    at = f"{path}.template.spec.restartPolicy"
    if policy in ("", "Always"):  # what nobody chose is "Always" by then
        wrong.append(fields.required(at, 'valid values: "OnFailure", "Never"'))
    elif policy not in _JOB_RESTARTS:
        wrong.append(fields.unsupported(at, policy, _JOB_RESTARTS))
    elif "podFailurePolicy" in spec and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        wrong.append(fields.invalid(at, policy, detail))
    return wrong


def _indexed(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if spec.get("completionMode") == "Indexed":
        if "completions" not in spec:
            detail = "when completion mode is Indexed"
            wrong.append(fields.required(f"{path}.completions", detail))
        parallel = spec.get("parallelism", 0)
        if parallel > _MOST_PARALLEL_INDEXED:
            detail = f"must be less than or equal to {_MOST_PARALLEL_INDEXED} when completion mode is Indexed"
            wrong.append(fields.invalid(f"{path}.parallelism", parallel, detail))
        return wrong
    for field in ("backoffLimitPerIndex", "successPolicy"):
        if field in spec:
            detail = "requires indexed completion mode"
            wrong.append(fields.invalid(f"{path}.{field}", spec[field], detail))
    return wrong


def _failure_policy(path: str, spec: Object) -> list[Cause]:
    rules = spec["podFailurePolicy"].get("rules", [])
    wrong: list[Cause] = []
    if len(rules) > _MOST_RULES:
        wrong.append(fields.too_many(f"{path}.rules", len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        at = f"{path}.rules[{index}]"
        wrong += choice(at, rule, "action", _ACTIONS)
        codes, conditions = "onExitCodes" in rule, bool(rule.get("onPodConditions"))
        if codes and conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            wrong.append(fields.invalid(at, rule, detail))
        elif not codes and not conditions:
            detail = "specifying one of OnExitCodes and OnPodConditions is required"
            wrong.append(fields.invalid(at, rule, detail))
        for number, pattern in enumerate(rule.get("onPodConditions", ())):
            where = f"{at}.onPodConditions[{number}]"
            wrong += names.check(f"{where}.type", pattern.get("type", ""), names.qualified_name)
            wrong += choice(where, pattern, "status", ("False", "True", "Unknown"))
    return wrong


def _managed_by(path: str, manager: str) -> list[Cause]:
    wrong = check_domain_path(path, manager)
    return [*wrong, fields.too_long(path, 63)] if len(manager) > 63 else wrong


class CronJobStrategy(Strategy):
    """Jobs by the clock."""

    generation = True

    def check_name(self, name: str) -> Sequence[str]:
        """Leave room for the time that is appended to the names of its jobs."""
        wrong = names.dns1123_subdomain(name)
        if len(name) > _MOST_NAME:
            return (*wrong, f"must be no more than {_MOST_NAME} characters")
        return wrong

    def prepare_create(self, obj: Object) -> None:
        """Begin without a status that a client made up."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Fill in policy, history and the template's pod."""
        spec = obj.setdefault("spec", {})
        _CRON_SPEC.apply(spec)
        template = spec["jobTemplate"]
        template.setdefault("metadata", {}).pop("creationTimestamp", None)
        pod = template["spec"].get("template")
        if pod is not None:
            default_template(pod)

    def validate(self, obj: Object) -> list[Cause]:
        """Check schedule, zone, policy and template."""
        spec = obj["spec"]
        wrong = _schedule(spec)
        wrong += not_negative("spec", spec, "startingDeadlineSeconds")
        wrong += choice("spec", spec, "concurrencyPolicy", _CONCURRENCY)
        wrong += _job_template("spec.jobTemplate", spec["jobTemplate"])
        return wrong + not_negative(
            "spec", spec, "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
        )


def _schedule(spec: Object) -> list[Cause]:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    wrong: list[Cause] = []
    if not schedule:
        wrong.append(fields.required("spec.schedule"))
    elif "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        wrong.append(fields.invalid("spec.schedule", schedule, detail))
    elif why := refuse_schedule(schedule):
        wrong.append(fields.invalid("spec.schedule", schedule, why))
    if zone is None:
        return wrong
    at = "spec.timeZone"
    if not zone:
        wrong.append(fields.invalid(at, zone, "timeZone must be nil or non-empty string"))
    elif zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        wrong.append(fields.invalid(at, zone, detail))
    elif not _ZONE.fullmatch(zone):
        wrong.append(fields.invalid(at, zone, f"unknown time zone {zone}"))
    return wrong


def _job_template(path: str, template: Object) -> list[Cause]:
    spec = template["spec"]
    wrong = validate_job(f"{path}.spec", spec)
    if "selector" in spec:
        detail = "`selector` will be auto-generated"
        wrong.append(fields.invalid(f"{path}.spec.selector", spec["selector"], detail))
    if spec.get("manualSelector"):
        wrong.append(fields.unsupported(f"{path}.spec.manualSelector", True, ("nil", "false")))  # noqa: FBT003
    return wrong
