"""A Deployment's status: counters, and the conditions that `kubectl rollout status` waits for.

Available    are at least `replicas - maxUnavailable` pods available?
Progressing  True while something moves or all is done, False when nothing has moved for
             `progressDeadlineSeconds`. Its `lastUpdateTime` is when something last moved.
ReplicaFailure  a ReplicaSet cannot create its pods.

Source: kubernetes `pkg/controller/deployment/progress.go` and `util/deployment_util.go`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from wherry.api.kinds import DEPLOYMENT
from wherry.api.objects import Condition
from wherry.api.times import parse_time
from wherry.controllers import rollout
from wherry.controllers.conditions import condition, find, to_json, with_condition, without
from wherry.controllers.framework import Json, Patch
from wherry.controllers.views import Deployment, DeploymentStatus, ReplicaSet

PROGRESSING = "Progressing"
DONE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the ReplicaSets report, summed up."""

    replicas: int
    updated: int
    ready: int
    available: int
    wanted: int
    new_name: str
    failure: Condition | None

    @staticmethod
    def of(new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> "Observed":
        """Sum up; `new` is among `sets` if there is one."""
        failures = [
            c
            for rs in [*([new] if new is not None else []), *sets]
            if (c := find(rs.status.conditions, "ReplicaFailure")) is not None
        ]
        return Observed(
            replicas=sum(rs.status.replicas for rs in sets),
            updated=new.status.replicas if new is not None else 0,
            ready=sum(rs.status.ready_replicas for rs in sets),
            available=sum(rs.status.available_replicas for rs in sets),
            wanted=rollout.total(sets),
            new_name=new.metadata.name if new is not None else "",
            failure=failures[0] if failures else None,
        )

    def complete(self, d: Deployment) -> bool:
        """Tell whether all pods are new and available, and no old one is left."""
        return self.updated == self.replicas == self.available == d.replicas

    def moved(self, since: DeploymentStatus) -> bool:
        """Tell whether anything got better since that status."""
        return (
            self.updated > since.updated_replicas
            or self.replicas - self.updated < since.replicas - since.updated_replicas
            or self.ready > since.ready_replicas
            or self.available > since.available_replicas
        )


def next_status(d: Deployment, seen: Observed, *, failure: str, now: float) -> DeploymentStatus:
    """Return the status that the Deployment should show; `failure`: creating a set failed."""
    conditions = _availability(d, seen, now)
    if d.spec.progress_deadline_seconds is None:
        conditions = without(conditions, PROGRESSING)
    else:
        conditions = _progress(replace_conditions(d, conditions), seen, failure, now)
    if seen.failure is not None:
        conditions = with_condition(conditions, seen.failure)
    else:
        conditions = without(conditions, "ReplicaFailure")
    return DeploymentStatus(
        observed_generation=d.metadata.generation,
        replicas=seen.replicas,
        updated_replicas=seen.updated,
        ready_replicas=seen.ready,
        available_replicas=seen.available,
        unavailable_replicas=max(0, seen.wanted - seen.available),
        collision_count=d.status.collision_count,
        conditions=conditions,
    )


def replace_conditions(d: Deployment, conditions: list[Condition]) -> Deployment:
    """Return `d` with these conditions."""
    return replace(d, status=replace(d.status, conditions=conditions))


def _availability(d: Deployment, seen: Observed, now: float) -> list[Condition]:
    if seen.available >= d.replicas - rollout.bounds_of(d).max_unavailable:
        new = condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    else:
        new = condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    return with_condition(d.status.conditions, new)


def with_progress(
    conditions: list[Condition], d: Deployment, status: str, reason: str, message: str, now: float
) -> list[Condition]:
    """Set Progressing, where the Deployment has a deadline to progress at all."""
    if d.spec.progress_deadline_seconds is None:
        return conditions
    return with_condition(conditions, condition(PROGRESSING, status, reason, message, now))


def _progress(d: Deployment, seen: Observed, failure: str, now: float) -> list[Condition]:
    conditions = list(d.status.conditions)
    current = find(conditions, PROGRESSING)
    reason = current.reason if current is not None else ""
    subject = (
        f'ReplicaSet "{seen.new_name}"' if seen.new_name else f'Deployment "{d.metadata.name}"'
    )
    if d.spec.paused or reason == "DeploymentPaused":
        return _paused(conditions, d, reason, now)
    if seen.replicas == seen.updated and reason == DONE:
        return conditions  # a pod that dies later is not a roll-out that fails
    if failure and not seen.new_name:
        new = condition(PROGRESSING, "False", "ReplicaSetCreateError", failure, now)
    elif seen.complete(d):
        message = f"{subject} has successfully progressed."
        new = condition(PROGRESSING, "True", DONE, message, now)
    elif seen.moved(d.status):
        new = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        conditions = _touched(conditions, new)
    elif _timed_out(d, current, now):
        message = f"{subject} has timed out progressing."
        new = condition(PROGRESSING, "False", TIMED_OUT, message, now)
    else:
        return conditions
    return with_condition(conditions, new)


def _touched(conditions: list[Condition], new: Condition) -> list[Condition]:
    """Move `lastUpdateTime`, from which the deadline runs, even where status and reason stay."""
    return [
        replace(c, last_update_time=new.last_update_time)
        if (c.type, c.status, c.reason) == (new.type, new.status, new.reason)
        else c
        for c in conditions
    ]


def _paused(conditions: list[Condition], d: Deployment, reason: str, now: float) -> list[Condition]:
    """While a Deployment is paused its deadline does not run."""
    if reason == TIMED_OUT:
        return conditions
    if d.spec.paused:
        return with_progress(
            conditions, d, "Unknown", "DeploymentPaused", "Deployment is paused", now
        )
    return with_progress(
        conditions, d, "Unknown", "DeploymentResumed", "Deployment is resumed", now
    )


def _deadline(d: Deployment, current: Condition | None) -> float | None:
    """Return the date by which something must have moved, None where there is no such date."""
    limit_s = d.spec.progress_deadline_seconds
    if (
        limit_s is None
        or current is None
        or current.reason in (DONE, TIMED_OUT, "DeploymentPaused")
    ):
        return None
    since = current.last_update_time or current.last_transition_time
    return parse_time(since) + limit_s if since else None


def _timed_out(d: Deployment, current: Condition | None, now: float) -> bool:
    if current is not None and current.reason == TIMED_OUT:
        return True
    deadline = _deadline(d, current)
    return deadline is not None and now > deadline


def again_after(d: Deployment, seen: Observed, now: float) -> float | None:
    """Return when to look at the deadline, in seconds from now."""
    deadline = _deadline(d, find(d.status.conditions, PROGRESSING))
    if deadline is None or d.spec.paused or seen.complete(d):
        return None
    return max(0.0, deadline - now) + 1.0  # dates have whole seconds


def status_patch(d: Deployment, status: DeploymentStatus) -> Patch:
    """Write the whole status; zero counters are left out of the object, as upstream does."""
    body: Json = {
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas or None,
        "updatedReplicas": status.updated_replicas or None,
        "readyReplicas": status.ready_replicas or None,
        "availableReplicas": status.available_replicas or None,
        "unavailableReplicas": status.unavailable_replicas or None,
        "collisionCount": status.collision_count,
        "conditions": [to_json(c, updated=True) for c in status.conditions] or None,
    }
    meta = d.metadata
    return Patch(
        DEPLOYMENT, meta.namespace, meta.name, {"status": body}, subresource="status", uid=meta.uid
    )
