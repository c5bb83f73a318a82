"""Disruption budgets: how many pods of a set may be evicted now.

    allowed = healthy - desired, at least 0, and 0 where no pod is expected

`desired` comes from minAvailable or maxUnavailable; a percentage is of what the controllers of
the pods want (`scale`), not of how many there are, or else every eviction would allow the next.
A pod that was evicted a moment ago (`disruptedPods`) is not healthy, though it may look so.
Source: kubernetes `pkg/controller/disruption/disruption.go`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wherry.api.kinds import (
    DEPLOYMENT,
    KINDS,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
)
from wherry.api.objects import Condition, OwnerReference, Pod
from wherry.api.times import format_time, parse_time
from wherry.controllers.conditions import find
from wherry.controllers.framework import (
    NAMESPACE_INDEX,
    Action,
    Caches,
    Emit,
    Environment,
    Index,
    Json,
    Patch,
    Result,
    Source,
    namespace_index,
    own_key,
    reference,
    split_key,
)
from wherry.controllers.rollout import resolve
from wherry.controllers.views import (
    Deployment,
    DisruptionBudget,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)

_SCALED: Final = (REPLICA_SET, REPLICATION_CONTROLLER, DEPLOYMENT, STATEFUL_SET)
"""Kinds with a scale subresource."""
_Sized = Deployment | ReplicaSet | ReplicationController | StatefulSet
DELETION_TIMEOUT_S: Final = 120.0
"""A pod whose eviction was allowed and that is not deleted by then stays, it seems."""
ALLOWED: Final = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class Scale:
    """How many pods one controller wants; `uid` tells it from others."""

    uid: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Expected:
    """How many pods there should be, and how many of them healthy."""

    pods: int
    healthy: int


class UnknownControllerError(Exception):
    """A pod belongs to a controller whose scale nobody knows."""


def expected(
    budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, Scale]
) -> Expected:
    """Return what the budget expects of its pods.

    Args:
        budget: The budget.
        pods: What it selects.
        scales: By the uid of the pods' own controllers; a Deployment's sets share its scale.

    Raises:
        UnknownControllerError: a share is wanted, and a pod's controller is not among `scales`.
    """
    least, most_missing = budget.spec.min_available, budget.spec.max_unavailable
    if most_missing is not None:
        total = _scale(pods, scales)
        return Expected(total, max(total - resolve(most_missing, total, up=True), 0))
    if isinstance(least, str):
        total = _scale(pods, scales)
        return Expected(total, resolve(least, total, up=True))
    return Expected(len(pods), least) if least is not None else Expected(0, 0)


def _scale(pods: Iterable[Pod], scales: Mapping[str, Scale]) -> int:
    """Add up what the controllers of the pods want; pods without one do not count."""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is None:
            continue
        if owner.uid not in scales:
            raise UnknownControllerError(_unscaled(owner, pod))
        scale = scales[owner.uid]
        wanted[scale.uid] = scale.replicas
    return sum(wanted.values())


def _unscaled(owner: OwnerReference, pod: Pod) -> str:
    """Say why nobody knows how many pods the controller of this one wants."""
    address = owner.api_version, owner.kind
    kind = next((k for k in KINDS if (k.api_version, k.kind) == address), None)
    if kind is None:
        return f'no matches for kind "{owner.kind}" in version "{owner.api_version}"'
    if kind not in _SCALED:
        return f"{kind.qualified} does not implement the scale subresource"
    return f'found no controllers for pod "{pod.metadata.name}"'


def reconcile(
    budget: DisruptionBudget, pods: Sequence[Pod], scales: Mapping[str, Scale], now: float
) -> Result:
    """Decide what the budget's status should be.

    Args:
        budget: The budget.
        pods: What it selects.
        scales: See `expected`.
        now: The date.
    """
    try:
        wanted = expected(budget, pods, scales)
    except UnknownControllerError as error:
        return _fail_safe(budget, str(error), now)
    disrupted, recheck_at = _disrupted(budget, pods, now)
    healthy = sum(
        pod.ready and not pod.metadata.deleting and pod.metadata.name not in disrupted
        for pod in pods
    )
    allowed = max(healthy - wanted.healthy, 0) if wanted.pods > 0 else 0
    status: Json = {
        "observedGeneration": budget.metadata.generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": wanted.healthy,
        "expectedPods": wanted.pods,
    }
    reason = "SufficientPods" if allowed else "InsufficientPods"
    condition = _condition(budget, reason, "", allowed=bool(allowed), now=now)
    gone = budget.status.disrupted_pods.keys() - disrupted.keys()
    actions: list[Action] = [*_overdue(budget, pods, now)]
    if _differs(budget, status, condition) or gone:
        status |= {"disruptedPods": {**disrupted, **dict.fromkeys(gone)}}
        actions.append(_patch(budget, status, condition))
    return Result(actions, None if recheck_at is None else recheck_at - now)


def _fail_safe(budget: DisruptionBudget, why: str, now: float) -> Result:
    """Allow nothing while nobody can say what may be allowed."""
    ref = reference(POD_DISRUPTION_BUDGET, budget.metadata)
    message = f"Failed to calculate the number of expected pods: {why}"
    condition = _condition(budget, "SyncFailed", why, allowed=False, now=now)
    status: Json = {
        "observedGeneration": budget.metadata.generation,
        "disruptionsAllowed": 0,
    }
    if not _differs(budget, status, condition):
        return Result()
    told = Emit(ref, "Warning", "CalculateExpectedPodCountFailed", message)
    return Result([told, _patch(budget, status, condition)])


def _disrupted(
    budget: DisruptionBudget, pods: Iterable[Pod], now: float
) -> tuple[dict[str, str], float | None]:
    """Return the pods that are about to be deleted, and when the first of them should be."""
    still: dict[str, str] = {}
    due: float | None = None
    for pod in pods:
        since = budget.status.disrupted_pods.get(pod.metadata.name)
        if since is None or pod.metadata.deleting:
            continue
        until = parse_time(since) + DELETION_TIMEOUT_S
        if until >= now:
            still[pod.metadata.name] = since
            due = until if due is None else min(due, until)
    return still, due


def _overdue(budget: DisruptionBudget, pods: Iterable[Pod], now: float) -> Iterable[Emit]:
    """Tell of pods that should be gone and are not; they count again from now on."""
    meta = budget.metadata
    for pod in pods:
        since = budget.status.disrupted_pods.get(pod.metadata.name)
        late = since is not None and parse_time(since) + DELETION_TIMEOUT_S < now
        if late and not pod.metadata.deleting:
            text = (
                f"Pod was expected by PDB {meta.namespace}/{meta.name} to be deleted but it wasn't"
            )
            yield Emit(reference(POD, pod.metadata), "Warning", "NotDeleted", text)


def _condition(
    budget: DisruptionBudget, reason: str, message: str, *, allowed: bool, now: float
) -> Condition:
    status = "True" if allowed else "False"
    old = find(budget.status.conditions, ALLOWED)
    stays = old is not None and old.status == status and old.last_transition_time
    return Condition(
        type=ALLOWED,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=stays or format_time(now),
        observed_generation=budget.metadata.generation,
    )


def _differs(budget: DisruptionBudget, status: Json, condition: Condition) -> bool:
    was = budget.status
    now = {
        "observedGeneration": was.observed_generation,
        "disruptionsAllowed": was.disruptions_allowed,
        "currentHealthy": was.current_healthy,
        "desiredHealthy": was.desired_healthy,
        "expectedPods": was.expected_pods,
    }
    return not status.items() <= now.items() or find(was.conditions, ALLOWED) != condition


def _patch(budget: DisruptionBudget, status: Json, condition: Condition) -> Patch:
    """Write the status, only at the revision that was counted at: an eviction must not be lost."""
    meta = budget.metadata
    told = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
        "observedGeneration": condition.observed_generation,
    }
    return Patch(
        POD_DISRUPTION_BUDGET,
        meta.namespace,
        meta.name,
        {"status": {**status, "conditions": [told]}},
        subresource="status",
        uid=meta.uid,
        revision=meta.resource_version,
    )


# -- what there is ----------------------------------------------------------------------


def _pod_keys(caches: Caches, old: Pod | None, new: Pod | None) -> set[str]:
    """Wake the budgets that covered the pod before, or cover it now."""
    found: set[str] = set()
    for pod in (old, new):
        if pod is not None:
            budgets = caches[POD_DISRUPTION_BUDGET].by_index(
                NAMESPACE_INDEX, pod.metadata.namespace
            )
            found |= {b.metadata.key for b in budgets if b.covers(pod.metadata.labels)}
    return found


def _workload_keys(caches: Caches, old: _Sized | None, new: _Sized | None) -> set[str]:
    """Wake the namespace's budgets when a workload's size changes."""
    sizes = [obj.spec.replicas if obj is not None else None for obj in (old, new)]
    some = new if new is not None else old
    if sizes[0] == sizes[1] or some is None:
        return set()
    budgets = caches[POD_DISRUPTION_BUDGET].by_index(NAMESPACE_INDEX, some.metadata.namespace)
    return {b.metadata.key for b in budgets}


def _scales(caches: Caches, pods: Iterable[Pod]) -> dict[str, Scale]:
    found: dict[str, Scale] = {}
    for pod in pods:
        owner = pod.metadata.controller
        if owner is not None and owner.uid not in found:
            scale = _scale_of(caches, owner, pod.metadata.namespace)
            if scale is not None:
                found[owner.uid] = scale
    return found


def _scale_of(caches: Caches, owner: OwnerReference, namespace: str) -> Scale | None:
    """Return the scale of a pod's controller; of a Deployment's ReplicaSet, the Deployment's."""
    address = owner.api_version, owner.kind
    for kind in _SCALED:
        if address != (kind.api_version, kind.kind):
            continue
        obj = caches[kind].get(f"{namespace}/{owner.name}")
        if obj is None or obj.metadata.uid != owner.uid:
            return None
        above = obj.metadata.controller if kind == REPLICA_SET else None
        if above is not None and (found := _scale_of(caches, above, namespace)) is not None:
            return found
        replicas = obj.spec.replicas
        return Scale(owner.uid, 1 if replicas is None else replicas)
    return None


class DisruptionController:
    """Runs `reconcile` for each budget."""

    name = "disruption-controller"

    def __init__(self) -> None:
        self.sources = (
            Source(POD_DISRUPTION_BUDGET, own_key),
            Source(POD, _pod_keys),
            *(Source(kind, _workload_keys) for kind in _SCALED),
        )
        self.indices = (
            Index(POD, NAMESPACE_INDEX, namespace_index),
            Index(POD_DISRUPTION_BUDGET, NAMESPACE_INDEX, namespace_index),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        budget: DisruptionBudget | None = env.caches[POD_DISRUPTION_BUDGET].get(key)
        if budget is None or budget.metadata.deleting or not env.current:
            return Result()
        namespace, _ = split_key(key)
        pods = [
            pod
            for pod in env.caches[POD].by_index(NAMESPACE_INDEX, namespace)
            if budget.covers(pod.metadata.labels)
        ]
        return reconcile(budget, pods, _scales(env.caches, pods), env.now)
