"""Job and CronJob: batch `ValidateJob`, `ValidateCronJob`, their defaults and strategies."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.cron import refuse_schedule
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import choice, not_negative, unchanged
from wherry.apiserver.strategy.job_spec import validate_job
from wherry.apiserver.strategy.job_status import validate_job_status
from wherry.apiserver.strategy.pod.defaults import default_template
from wherry.apiserver.strategy.pod.warnings import warn_of_template
from wherry.apiserver.strategy.selector import compile_selector, validate_label_selector
from wherry.apiserver.strategy.workload import check_labels_selected

_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
_NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_MOST_NAME = 52
"""A CronJob appends eleven characters to its name; a Job's name has at most 63."""
_MANY = 100_000
_MANY_AT_ONCE = 10_000
_TOO_MUCH = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
    "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
_ZONE_PART = re.compile(r"(?!\.{1,2}$)(?!-)[A-Za-z._0-9+-]{1,14}")


def _counts(spec: Object) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if "backoffLimit" not in spec:
        spec["backoffLimit"] = (1 << 31) - 1 if "backoffLimitPerIndex" in spec else 6
    failed = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", failed)


_PATTERN = Defaults(within={"onPodConditions": Defaults(empty={"status": "True"})})
_FAILURES = {"podFailurePolicy": Defaults(within={"rules": _PATTERN})}
_SPEC = Defaults(
    absent={"completionMode": "NonIndexed", "suspend": False, "manualSelector": False},
    within=_FAILURES,
    then=_counts,
)
_CRON_SPEC = Defaults(
    empty={"concurrencyPolicy": "Allow"},
    absent={"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
    made={
        "jobTemplate": Defaults(
            made={"spec": Defaults(made={"template": NOTHING}, within=_FAILURES)}
        )
    },
)


class JobStrategy(Strategy):
    """Pods that run to their end. Its selector is its own uid, unless it says otherwise."""

    generation = True
    step_first = False
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
        template = spec.setdefault("template", {})
        default_template(template)
        labels = template["metadata"].get("labels")
        if labels and not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)

    def validate(self, obj: Object) -> list[Cause]:
        """Check counts, policies, selector and template."""
        spec = obj["spec"]
        wrong = validate_job("spec", spec)
        selector = spec.get("selector")
        if selector is None:
            wrong.append(fields.required("spec.selector"))
            return wrong + check_labels_selected(spec, None)
        bad = validate_label_selector("spec.selector", selector)
        return wrong + (bad or check_labels_selected(spec, selector))

    def warnings(self, obj: Object) -> Sequence[str]:
        """Warn of a name that makes no host names, and of more work than can be tracked."""
        spec = obj.get("spec", {})
        of_template = warn_of_template("spec.template", spec.get("template", {}))
        return [*names.warn_of_host_name(obj), *of_template, *_too_much(spec)]

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check what was made up for the job, and whether its pods' names will be host names."""
        spec, meta = obj["spec"], obj["metadata"]
        wrong = [] if spec.get("manualSelector") else _generated(meta, spec)
        last = f"{meta.get('name', '')}-{spec.get('completions', 0) - 1}"
        indexed = spec["completionMode"] == "Indexed" and spec.get("completions", 0) > 0
        if indexed and names.dns1123_label(last):
            detail = f"will not able to create pod with invalid DNS label: {last}"
            wrong.append(fields.invalid("metadata.name", meta.get("name", ""), detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what the pods that are there were made from, but for a job that rests."""
        was, is_ = old.get("spec", {}), new["spec"]
        wrong = _completions(is_, was) + unchanged("spec", is_, was, "selector")
        resting = was.get("suspend") and not old.get("status", {}).get("active")
        if not resting or _steered(is_) != _steered(was):
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

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """Hold what was said of the Job's end."""
        return validate_job_status(new, old)


def _too_much(spec: Object) -> list[str]:
    much = spec.get("completions", 0) > _MANY and spec.get("parallelism", 0) > _MANY_AT_ONCE
    return [_TOO_MUCH] if much and spec.get("completionMode") == "Indexed" else []


def _completions(new: Object, old: Object) -> list[Cause]:
    """Let an indexed job do more or less work where it does all of it at once."""
    if new.get("completionMode") != "Indexed":
        return unchanged("spec", new, old, "completions")
    count = new.get("completions")
    if count in (None, old.get("completions"), new.get("parallelism")):
        return []
    detail = "can only be modified in tandem with spec.parallelism"
    return [fields.invalid("spec.completions", count, detail)]


def _select_own(meta: Object, spec: Object) -> None:
    uid, name = meta.get("uid", ""), meta.get("name", "")
    own = dict.fromkeys(_UID_LABELS, uid) | dict.fromkeys(_NAME_LABELS, name)
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    for label, value in own.items():
        labels.setdefault(label, value)
    selected = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    selected.setdefault(_UID_LABELS[-1], uid)


def _generated(meta: Object, spec: Object) -> list[Cause]:
    labels = spec["template"].get("metadata", {}).get("labels", {})
    wrong: list[Cause] = []
    wanted: dict[str, str] = {}
    for uid_label, name_label in zip(_UID_LABELS, _NAME_LABELS, strict=True):
        wanted |= {uid_label: meta.get("uid", ""), name_label: meta.get("name", "")}
    for label, value in wanted.items():
        if labels.get(label) != value:
            path, detail = f"spec.template.metadata.labels[{label}]", f"must be '{value}'"
            wrong.append(fields.invalid(path, labels, detail))
    selector = spec["selector"]
    if not validate_label_selector("", selector) and not compile_selector(selector).matches(wanted):
        wrong.append(fields.invalid("spec.selector", selector, "`selector` not auto-generated"))
    return wrong


_STEERING = frozenset({"nodeSelector", "tolerations", "schedulingGates"})
_NOTED = frozenset({"labels", "annotations"})
_CONTAINERS = ("containers", "initContainers")


def _steered(spec: Object) -> Any:
    """Return the template without what a job that rests may still change.

    That is where its pods may run, how they are labelled, and what their containers ask for.
    """
    template = spec.get("template", {})
    meta = {k: v for k, v in template.get("metadata", {}).items() if k not in _NOTED}
    pod = {k: v for k, v in template.get("spec", {}).items() if k not in _STEERING}
    affinity = {k: v for k, v in pod.pop("affinity", {}).items() if k != "nodeAffinity"}
    for field in _CONTAINERS:
        pod[field] = [
            {k: v for k, v in container.items() if k != "resources"}
            for container in pod.get(field, ())
        ]
    return meta, pod, affinity


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
        default_template(template["spec"]["template"])

    def warnings(self, obj: Object) -> Sequence[str]:
        """Warn as of a Job."""
        job = obj.get("spec", {}).get("jobTemplate", {}).get("spec", {})
        at = "spec.jobTemplate.spec.template"
        of_template = warn_of_template(at, job.get("template", {}))
        return [*names.warn_of_host_name(obj), *of_template, *_too_much(job)]

    def validate(self, obj: Object) -> list[Cause]:
        """Check schedule, policy and template."""
        spec = obj["spec"]
        schedule, at = spec.get("schedule", ""), "spec.schedule"
        wrong: list[Cause] = []
        if not schedule:
            wrong.append(fields.required(at))
        elif why := refuse_schedule(schedule):
            wrong.append(fields.invalid(at, schedule, why))
        wrong += not_negative("spec", spec, "startingDeadlineSeconds")
        wrong += choice("spec", spec, "concurrencyPolicy", _CONCURRENCY)
        wrong += _job_template("spec.jobTemplate", spec["jobTemplate"])
        return wrong + not_negative(
            "spec", spec, "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
        )

    def validate_create(self, obj: Object) -> list[Cause]:
        """Take the zone from its own field."""
        spec = obj["spec"]
        return _zone_in_schedule(spec, {}) + _zone(spec)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let a zone stay where it was said, and unread where it did not change."""
        spec, was = new["spec"], old.get("spec", {})
        wrong = _zone_in_schedule(spec, was)
        return wrong + _zone(spec) if spec.get("timeZone") != was.get("timeZone") else wrong


def _zone_in_schedule(spec: Object, was: Object) -> list[Cause]:
    schedule = spec.get("schedule", "")
    if "TZ" not in schedule:
        return []
    if "TZ" not in was.get("schedule", ""):
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    elif "timeZone" in spec:
        detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
    else:
        return []
    return [fields.invalid("spec.schedule", schedule, detail)]


def _zone(spec: Object) -> list[Cause]:
    zone, at = spec.get("timeZone"), "spec.timeZone"
    if zone is None:
        return []
    if not zone:
        return [fields.invalid(at, zone, "timeZone must be nil or non-empty string")]
    if not all(_ZONE_PART.fullmatch(part) for part in zone.split("/")):
        return [fields.invalid(at, zone, f"unknown time zone {zone}")]
    if zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        return [fields.invalid(at, zone, detail)]
    return []


def _job_template(path: str, template: Object) -> list[Cause]:
    spec = template["spec"]
    wrong = validate_job(f"{path}.spec", spec)
    if "selector" in spec:
        detail = "`selector` will be auto-generated"
        wrong.append(fields.invalid(f"{path}.spec.selector", spec["selector"], detail))
    if spec.get("manualSelector"):
        wrong.append(fields.unsupported(f"{path}.spec.manualSelector", True, ("nil", "false")))  # noqa: FBT003
    return wrong
