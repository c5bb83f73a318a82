"""ReplicaSet and ReplicationController: as many pods as wanted, no more, no fewer.

The two kinds differ in how a selector is written and in nothing else, so both are read
into a `Replicator` and decided on here. Which pods are deleted first when there are too many,
and the words of events, are upstream's: `pkg/controller/replicaset/replica_set.go` and
`ActivePodsWithRanks` in `pkg/controller/controller_utils.go`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wherry.api.kinds import POD, REPLICA_SET, REPLICATION_CONTROLLER, Kind
from wherry.api.objects import ObjectMeta, Pod
from wherry.api.selectors import LabelSelector, selector_from
from wherry.api.times import parse_time
from wherry.controllers.conditions import condition, find, to_json, with_condition, without
from wherry.controllers.framework import (
    CONTROLLER_UID,
    ORPHANS,
    Action,
    Caches,
    Create,
    Delete,
    Environment,
    Index,
    Json,
    Patch,
    Result,
    Source,
    Telling,
    controller_keys,
    controller_reference,
    controller_uid_index,
    orphan_index,
    own_key,
    reference,
)
from wherry.controllers.ownership import claim
from wherry.controllers.views import ReplicaSet, ReplicaSetStatus, ReplicationController

BURST_REPLICAS: Final = 500
"""Most pods created or deleted in one pass (kube-controller-manager's default)."""

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_COALESCE_S: Final = 0.01
"""Pod changes of this long become one pass: a status write costs the store a log entry."""


@dataclass(frozen=True, slots=True)
class Replicator:
    """A ReplicaSet or a ReplicationController, as far as the decision goes."""

    kind: Kind
    meta: ObjectMeta
    replicas: int
    selector: LabelSelector
    template: Mapping[str, Any]
    min_ready_s: int
    status: ReplicaSetStatus


def from_replica_set(rs: ReplicaSet) -> Replicator:
    """Read a ReplicaSet."""
    spec = rs.spec
    return Replicator(
        REPLICA_SET,
        rs.metadata,
        rs.replicas,
        spec.selector.compiled(),
        spec.template,
        spec.min_ready_seconds,
        rs.status,
    )


def from_replication_controller(rc: ReplicationController) -> Replicator:
    """Read a ReplicationController; without a selector it selects its template's labels."""
    spec = rc.spec
    labels = spec.selector or _template_meta(spec.template).get("labels") or {}
    return Replicator(
        REPLICATION_CONTROLLER,
        rc.metadata,
        1 if spec.replicas is None else spec.replicas,
        selector_from(labels),
        spec.template,
        spec.min_ready_seconds,
        rc.status,
    )


def reconcile(
    owner: Replicator,
    pods: Sequence[Pod],
    *,
    now: float,
    current: bool = True,
    failure: str = "",
    related: Mapping[str, int] | None = None,
) -> Result:
    """Decide the next actions for one ReplicaSet or ReplicationController.

    Args:
        owner: The desired state.
        pods: The pods that it controls.
        now: The date.
        current: False while the cache lacks writes of an earlier pass; then only the
            status is decided.
        failure: Why the last pass could not create or delete, "" if it could.
        related: Pods by node of all ReplicaSets of the same Deployment; where more of
            them run, one is cheaper to lose.

    Returns:
        The status first (it is counted from what is, not from what is about to be done),
        then creations or deletions.
    """
    active = [p for p in pods if p.active]
    actions: list[Action] = []
    available, again_s = count_available(active, owner.min_ready_s, now)
    status = _status(owner, active, available, failure, now, current=current)
    if status != owner.status:
        actions.append(_set_status(owner, status))
    if current and not owner.meta.deleting:
        actions += _scale(owner, active, now, related or {})
    return Result(actions, again_s)


def count_available(pods: Iterable[Pod], min_ready_s: int, now: float) -> tuple[int, float | None]:
    """Count pods that have been ready for `min_ready_s`; also say when the next one will be."""
    available = 0
    next_s: float | None = None
    for pod in pods:
        if not pod.ready:
            continue
        since = _ready_since(pod)
        missing_s = 0.0 if since is None else since + min_ready_s - now
        if not min_ready_s or missing_s <= 0:
            available += 1
        elif next_s is None or missing_s < next_s:
            next_s = missing_s
    return available, next_s


def _ready_since(pod: Pod) -> float | None:
    ready = find(pod.status.conditions, "Ready")
    date = ready.last_transition_time if ready is not None else None
    return parse_time(date) if date else None


def _scale(
    owner: Replicator, active: list[Pod], now: float, related: Mapping[str, int]
) -> list[Action]:
    missing = owner.replicas - len(active)
    ref = reference(owner.kind, owner.meta)
    if missing > 0:
        telling = Telling(
            ref,
            success=("SuccessfulCreate", "Created pod: {name}"),
            failure=("FailedCreate", "Error creating: {error}"),
        )
        count = min(missing, BURST_REPLICAS)
        return [Create(POD, owner.meta.namespace, pod_from_template(owner), count, telling=telling)]
    telling = Telling(
        ref,
        success=("SuccessfulDelete", "Deleted pod: {name}"),
        failure=("FailedDelete", "Error deleting: {error}"),
    )
    ranked = sorted(active, key=lambda pod: cost_of_deletion(pod, now, related))
    return [
        Delete(POD, p.metadata.namespace, p.metadata.name, p.metadata.uid, telling=telling)
        for p in ranked[: min(-missing, BURST_REPLICAS)]
    ]


def cost_of_deletion(pod: Pod, now: float, related: Mapping[str, int]) -> tuple[Any, ...]:
    """Rank pods, cheapest to lose first.

    Not scheduled; pending, unknown, running; not ready; a lower `pod-deletion-cost`; on a
    node with more pods of the same application; ready for a shorter time (by powers of
    two, so that the age does not decide between pods of one roll-out); restarted more often;
    younger (likewise).
    """
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 0)
    restarts = max((s.restart_count for s in pod.status.container_statuses), default=0)
    created = pod.metadata.creation_timestamp
    return (
        bool(pod.spec.node_name),
        phase,
        pod.ready,
        _deletion_cost(pod),
        -related.get(pod.spec.node_name, 0),
        _age_bucket(_ready_since(pod) if pod.ready else None, now),
        -restarts,
        _age_bucket(parse_time(created) if created else None, now),
        pod.metadata.uid,
    )


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _age_bucket(since: float | None, now: float) -> int:
    age_s = 0.0 if since is None else now - since
    return int(math.log2(age_s)) if age_s > 1 else 0


def pod_from_template(owner: Replicator) -> Json:
    """Build the pod; the API server picks its name."""
    meta = _template_meta(owner.template)
    kept = {key: meta[key] for key in ("labels", "annotations", "finalizers") if meta.get(key)}
    return {
        "apiVersion": POD.api_version,
        "kind": POD.kind,
        "metadata": {
            "generateName": generate_name(owner.meta.name),
            "namespace": owner.meta.namespace,
            **kept,
            "ownerReferences": [controller_reference(owner.kind, owner.meta)],
        },
        "spec": owner.template.get("spec", {}),
    }


def generate_name(name: str) -> str:
    """Return the prefix for names of dependents; the API server cuts what is too long."""
    return f"{name}-"


def _template_meta(template: Mapping[str, Any]) -> Mapping[str, Any]:
    return template.get("metadata") or {}


def _status(
    owner: Replicator,
    active: Sequence[Pod],
    available: int,
    failure: str,
    now: float,
    *,
    current: bool,
) -> ReplicaSetStatus:
    """Count. What is counted in a stale cache does not answer for the present generation."""
    wanted = (_template_meta(owner.template).get("labels") or {}).items()
    conditions = list(owner.status.conditions)
    if failure:
        reason = "FailedCreate" if len(active) < owner.replicas else "FailedDelete"
        new = condition("ReplicaFailure", "True", reason, failure, now)
        conditions = with_condition(conditions, new)
    elif len(active) == owner.replicas:  # else it would flap while the next attempt is under way
        conditions = without(conditions, "ReplicaFailure")
    return ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(wanted <= p.metadata.labels.items() for p in active),
        ready_replicas=sum(p.ready for p in active),
        available_replicas=available,
        observed_generation=owner.meta.generation if current else owner.status.observed_generation,
        conditions=conditions,
    )


def _set_status(owner: Replicator, status: ReplicaSetStatus) -> Patch:
    """Write the whole status; zero counters are left out of the object, as upstream does."""
    body: Json = {
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas or None,
        "readyReplicas": status.ready_replicas or None,
        "availableReplicas": status.available_replicas or None,
        "observedGeneration": status.observed_generation,
        "conditions": [to_json(c) for c in status.conditions] or None,
    }
    return Patch(
        owner.kind,
        owner.meta.namespace,
        owner.meta.name,
        {"status": body},
        subresource="status",
        uid=owner.meta.uid,
    )


class ReplicaSetController:
    """Runs `reconcile` for ReplicaSets."""

    name = "replicaset-controller"
    kind = REPLICA_SET

    def __init__(self) -> None:
        self.sources = _sources(self.kind)
        self.indices = _INDICES

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        rs: ReplicaSet | None = env.caches[REPLICA_SET].get(key)
        if rs is None:
            return Result()
        related: Counter[str] = Counter()
        if rs.metadata.controller is not None:
            siblings = env.caches[REPLICA_SET].by_index(CONTROLLER_UID, rs.metadata.controller.uid)
            for sibling in siblings:
                pods = env.caches[POD].by_index(CONTROLLER_UID, sibling.metadata.uid)
                related.update(p.spec.node_name for p in pods if p.active)
        return await _pass(from_replica_set(rs), env, related)


class ReplicationControllerController:
    """Runs `reconcile` for ReplicationControllers."""

    name = "replicationcontroller-controller"
    kind = REPLICATION_CONTROLLER

    def __init__(self) -> None:
        self.sources = _sources(self.kind)
        self.indices = _INDICES

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        rc: ReplicationController | None = env.caches[REPLICATION_CONTROLLER].get(key)
        if rc is None:
            return Result()
        return await _pass(from_replication_controller(rc), env, {})


_INDICES = (
    Index(POD, CONTROLLER_UID, controller_uid_index),
    Index(POD, ORPHANS, orphan_index),
    Index(REPLICA_SET, CONTROLLER_UID, controller_uid_index),
    Index(REPLICA_SET, ORPHANS, orphan_index),
)


def _sources(kind: Kind) -> tuple[Source, ...]:
    return Source(kind, own_key), Source(POD, _pod_keys(kind), _COALESCE_S)


def _pod_keys(kind: Kind) -> Any:
    """Wake the owner; a pod without one wakes whoever might adopt it."""
    owners = controller_keys(kind)

    def keys(caches: Caches, old: Pod | None, new: Pod | None) -> Iterable[str]:
        found = set(owners(caches, old, new))
        if new is not None and new.metadata.controller is None and new.active:
            read: Any = from_replica_set if kind is REPLICA_SET else from_replication_controller
            for candidate in caches[kind].values():
                same = candidate.metadata.namespace == new.metadata.namespace
                if same and _selects(read(candidate).selector, new):
                    found.add(candidate.metadata.key)
        return found

    return keys


def _selects(selector: LabelSelector, pod: Pod) -> bool:
    return bool(selector) and selector.matches(pod.metadata.labels)


async def _pass(owner: Replicator, env: Environment, related: Mapping[str, int]) -> Result:
    cache = env.caches[POD]
    candidates = [
        *cache.by_index(CONTROLLER_UID, owner.meta.uid),
        *(p for p in cache.by_index(ORPHANS, owner.meta.namespace) if p.active),
    ]
    mine, claims = claim(owner.kind, owner.meta, owner.selector, POD, candidates)
    if claims:
        if not env.current or not await still_there(owner.kind, owner.meta, env):
            return Result()
        return Result(claims)  # count again when the cache shows them
    return reconcile(
        owner, mine, now=env.now, current=env.current, failure=env.failure, related=related
    )


async def still_there(kind: Kind, meta: ObjectMeta, env: Environment) -> bool:
    """Ask the server, not the cache, whether the owner lives: nothing may be adopted by the dead.

    The cache of one kind may lag behind another's: pods that were orphaned on purpose
    would be adopted by an owner already gone, and then be collected as garbage.
    """
    live = await env.fetch(kind, meta.name, meta.namespace)
    return live is not None and live.metadata.uid == meta.uid and not live.metadata.deleting
