"""The eviction subresource of pods: may this pod go, and what does that cost its budget? Pure.

    finished, pending or going already       -> deleted; no budget is asked
    one budget, with disruptions left        -> deleted, and one disruption fewer
    one budget, not healthy, policy allows   -> deleted; it was not counted on
    one budget, nothing left                 -> 429, with the cause DisruptionBudget
    several budgets                          -> 500: upstream cannot do that either

Source: kubernetes `pkg/registry/core/pod/storage/eviction.go`. What is written about the budget
and what about the pod is one transaction here, so no disruption is paid for and not had.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from wherry.api.errors import (
    BadRequestError,
    Cause,
    StatusError,
    TooManyRequestsError,
    UnclassifiedError,
)
from wherry.api.kinds import POD_DISRUPTION_BUDGET
from wherry.api.objects import LabelSelector, View
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.storage import Entry
from wherry.apiserver.verbs import DeleteOptions

Object = dict[str, Any]
BUDGETS = BY_KIND[POD_DISRUPTION_BUDGET]
_CAUSE = "DisruptionBudget"
_REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
    "support."
)
_RETRY_S = 10
_MOST_DISRUPTED = 2000
"""Evictions that the controller has not confirmed yet."""


class _BudgetSpec(View, frozen=True, kw_only=True):
    selector: LabelSelector | None = None


class _Budget(View, frozen=True, kw_only=True):
    spec: _BudgetSpec = _BudgetSpec()


_decode_budget = msgspec.json.Decoder(_Budget).decode


def eviction_options(target: Target, body: Object) -> tuple[DeleteOptions, bool]:
    """Return the delete options in an Eviction, and whether they ask for a dry run.

    Raises:
        BadRequestError: the eviction is of another pod, or the dry run cannot be read.
    """
    name = (body.get("metadata") or {}).get("name", "")
    if name and name != target.name:
        raise BadRequestError("name in URL does not match name in Eviction object")
    options = body.get("deleteOptions") or {}
    conditions = options.get("preconditions") or {}
    dry_run = options.get("dryRun") or []
    if dry_run not in ([], ["All"]):
        raise BadRequestError(f"invalid dryRun: {dry_run}")
    parsed = DeleteOptions(
        grace_s=options.get("gracePeriodSeconds"),
        propagation=options.get("propagationPolicy") or "",
        uid=conditions.get("uid") or "",
        revision=conditions.get("resourceVersion") or "",
    )
    return parsed, bool(dry_run)


def free_of_budgets(pod: Object) -> bool:
    """Tell whether no budget counts on the pod: it has ended, has not begun, or goes already."""
    phase = pod.get("status", {}).get("phase", "")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in (
        "Succeeded",
        "Failed",
        "Pending",
    )


def covering(budgets: Iterable[Entry], pod: Object) -> Entry | None:
    """Return the budget that covers the pod, None where there is none.

    Raises:
        UnclassifiedError: there are several.
    """
    labels = pod["metadata"].get("labels", {})
    found = [entry for entry in budgets if _covers(entry, labels)]
    if len(found) > 1:
        raise UnclassifiedError(_SEVERAL)
    return found[0] if found else None


def _covers(entry: Entry, labels: dict[str, str]) -> bool:
    """Match the selector; an empty one covers every pod, an absent one none (policy/v1)."""
    selector = _decode_budget(entry.object).spec.selector
    return selector is not None and selector.compiled().matches(labels)


def spent(budget: Object, pod: Object, *, now: float) -> Object:
    """Return the budget after the pod's eviction; the same one where that costs nothing.

    Raises:
        TooManyRequestsError: the budget does not allow it now.
        ForbiddenError: its status makes no sense.
    """
    if not _ready(pod) and _lets_unhealthy_go(budget):
        return budget
    meta, status = budget["metadata"], budget.get("status", {})
    name, left = meta["name"], status.get("disruptionsAllowed", 0)
    disrupted = status.get("disruptedPods", {})
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _refused(text, retry_after_s=_RETRY_S)
    if left < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(disrupted) > _MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise _forbidden(name, why)
    if left == 0:
        raise _refused(_exhausted(name, status))
    new = {
        **status,
        "disruptionsAllowed": left - 1,
        "disruptedPods": {**disrupted, pod["metadata"]["name"]: format_time(now)},
    }
    if left == 1:
        new["conditions"] = _insufficient(status, now)
    return {**budget, "status": new}


def _exhausted(name: str, status: Object) -> str:
    """Say why the budget allows nothing."""
    told = _disruption_allowed(status)
    if (told.get("status"), told.get("reason")) == ("False", "SyncFailed"):
        return (
            f"The disruption budget {name} does not allow evicting pods currently because it failed "
            f"sync: {told.get('message', '')}"
        )
    return (
        f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
        f"and has {status.get('currentHealthy', 0)} currently"
    )


def _disruption_allowed(status: Object) -> Object:
    """Return the condition of that name; {} where there is none."""
    conditions: list[Object] = status.get("conditions", [])
    return next((c for c in conditions if c.get("type") == "DisruptionAllowed"), {})


def _lets_unhealthy_go(budget: Object) -> bool:
    if budget.get("spec", {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status", {})
    wanted: int = status.get("desiredHealthy", 0)
    healthy: int = status.get("currentHealthy", 0)
    return 0 < wanted <= healthy


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _insufficient(status: Object, now: float) -> list[Object]:
    """Return the conditions, of which DisruptionAllowed is False: this was the last one."""
    before, old = status.get("conditions", []), _disruption_allowed(status)
    stays = old.get("status") == "False" and old.get("lastTransitionTime")
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": old.get("message", ""),
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": stays or format_time(now),
    }
    return [*(c for c in before if c.get("type") != "DisruptionAllowed"), condition]


def _refused(why: str, *, retry_after_s: int = 0) -> StatusError:
    causes = [Cause(_CAUSE, why)]
    return TooManyRequestsError(_REFUSAL, causes=causes, retry_after_s=retry_after_s)


def _forbidden(name: str, why: str) -> StatusError:
    return refusal.forbidden(BUDGETS, name, why)


def evicted(pod: Object, *, now: float) -> Object:
    """Return the pod with the condition that says why it goes."""
    status = pod.get("status", {})
    others = [c for c in status.get("conditions", ()) if c.get("type") != "DisruptionTarget"]
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": format_time(now),
    }
    return {**pod, "status": {**status, "conditions": [*others, condition]}}
