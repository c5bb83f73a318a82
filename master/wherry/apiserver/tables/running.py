"""Printers of apps, batch, autoscaling and policy, as far as `workloads` does not have them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.api.times import parse_time
from wherry.apiserver.tables.cells import (
    NONE,
    UNSET,
    Obj,
    containers_and_images,
    created,
    has_condition,
    labels_text,
    name_of,
    selector_text,
)
from wherry.apiserver.tables.column import Printer, printer
from wherry.apiserver.tables.duration import age, format_duration
from wherry.apiserver.versions import autoscaling

_SHOWN_METRICS = 2
_UNKNOWN = "<unknown>"
_JOB_WORDS: Final = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)
"""Conditions of a Job in the order of their weight; "" is its deletion."""


def _daemon_set(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    template = (spec.get("template") or {}).get("spec") or {}
    return [
        name_of(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels_text(template.get("nodeSelector")),
        created(obj, now),
        *containers_and_images(spec),
        selector_text(spec.get("selector")),
    ]


def _stateful_set(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        created(obj, now),
        *containers_and_images(spec),
    ]


def _controller_revision(obj: Obj, now: float) -> list[Any]:
    owners = obj["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    controller = NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = owner.get("kind", "").lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner['name']}"
    return [name_of(obj), controller, obj.get("revision", 0), created(obj, now)]


def _pod_template(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001  (it shows no age)
    labels = (obj.get("template") or {}).get("metadata", {}).get("labels")
    return [name_of(obj), *containers_and_images(obj), labels_text(labels)]


def _job(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        _job_word(obj),
        _completions(spec, status),
        _job_duration(status, now),
        created(obj, now),
        *containers_and_images(spec),
        selector_text(spec.get("selector")),
    ]


def _job_word(obj: Obj) -> str:
    deleted = bool(obj["metadata"].get("deletionTimestamp"))
    return next(
        (
            word
            for condition, word in _JOB_WORDS
            if (has_condition(obj, condition) if condition else deleted)
        ),
        "Running",
    )


def _completions(spec: Obj, status: Obj) -> str:
    succeeded, parallelism = status.get("succeeded", 0), spec.get("parallelism") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Obj, now: float) -> str:
    if not status.get("startTime"):
        return ""
    ended = parse_time(status["completionTime"]) if status.get("completionTime") else now
    return format_duration(ended - parse_time(status["startTime"]))


def _cron_job(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    suspend = spec.get("suspend")
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if suspend is None else str(suspend),
        len(status.get("active") or ()),
        age(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE,
        created(obj, now),
        *containers_and_images(job),
        selector_text(job.get("selector")),
    ]


def _autoscaler(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    target = spec.get("scaleTargetRef") or {}
    minimum = spec.get("minReplicas")
    return [
        name_of(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        UNSET if minimum is None else str(minimum),
        str(spec.get("maxReplicas", 0)),
        status.get("currentReplicas", 0),
        created(obj, now),
    ]


def _autoscaler_v1(obj: Obj, now: float) -> list[Any]:
    return _autoscaler(autoscaling.to_stored(obj), now)


def _metrics(wanted: Sequence[Obj], current: Sequence[Obj]) -> str:
    """Return `cpu: 3%/80%, ...`: what is, and what is wanted; two of them."""
    texts = [
        _metric(metric, current[index] if index < len(current) else {})
        for index, metric in enumerate(wanted)
    ]
    shown = ", ".join(texts[:_SHOWN_METRICS])
    more = len(texts) - _SHOWN_METRICS
    return f"{shown} + {more} more..." if more > 0 else shown or NONE


def _metric(metric: Obj, current: Obj) -> str:
    source = next(
        (s for s in ("resource", "containerResource", "pods", "object", "external") if s in metric),
        "",
    )
    target = (metric.get(source) or {}).get("target") or {}
    is_now = (current.get(source) or {}).get("current") or {}
    if "averageUtilization" in target:
        used = is_now.get("averageUtilization")
        shown, wanted = _UNKNOWN if used is None else f"{used}%", f"{target['averageUtilization']}%"
    elif "averageValue" in target:
        shown, wanted = is_now.get("averageValue", _UNKNOWN), target["averageValue"]
        wanted += " (avg)" if source in ("object", "external") else ""
    else:
        shown, wanted = is_now.get("value", _UNKNOWN), target.get("value", "<auto>")
    of = (
        f"{metric[source].get('name', '')}: " if source in ("resource", "containerResource") else ""
    )
    return f"{of}{shown}/{wanted}"


def _disruption_budget(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        status.get("disruptionsAllowed", 0),
        created(obj, now),
    ]


_TEMPLATE = "Containers+|Images+|Selector+"
_AUTOSCALER = "Name|Reference|Targets|MinPods|MaxPods|Replicas:integer|Age"
PRINTERS: Final[Mapping[Kind, Printer]] = {
    kinds.DAEMON_SET: printer(
        "Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer"
        f"|Node Selector|Age|{_TEMPLATE}",
        _daemon_set,
    ),
    kinds.STATEFUL_SET: printer("Name|Ready|Age|Containers+|Images+", _stateful_set),
    kinds.CONTROLLER_REVISION: printer(
        "Name|Controller|Revision:integer|Age", _controller_revision
    ),
    kinds.POD_TEMPLATE: printer("Name|Containers|Images|Pod Labels", _pod_template),
    kinds.JOB: printer(f"Name|Status|Completions|Duration|Age|{_TEMPLATE}", _job),
    kinds.CRON_JOB: printer(
        f"Name|Schedule|Timezone|Suspend|Active:integer|Last Schedule|Age|{_TEMPLATE}", _cron_job
    ),
    kinds.HORIZONTAL_POD_AUTOSCALER: printer(_AUTOSCALER, _autoscaler),
    kinds.HORIZONTAL_POD_AUTOSCALER_V1: printer(_AUTOSCALER, _autoscaler_v1),
    kinds.POD_DISRUPTION_BUDGET: printer(
        "Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age", _disruption_budget
    ),
}
