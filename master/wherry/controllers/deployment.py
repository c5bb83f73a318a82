"""Deployment controller: from a pod template to ReplicaSets, one step at a time.

    spec.template --find_new/create--> new ReplicaSet (revision N)      old ReplicaSets (< N)
                                            |  grows by new_size()        |  shrink by shrink_old()
                                            +--------- status, conditions +

Every pass looks at the ReplicaSets (their spec, and what their own controller counted
into their status) and takes the next safe step; the roll-out is not a process that is
anywhere stored. Pods are looked at only by the Recreate strategy, which must not overlap.
Source: kubernetes `pkg/controller/deployment`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from wherry.api.kinds import DEPLOYMENT, POD, REPLICA_SET
from wherry.api.objects import Condition, Pod
from wherry.controllers import rollout
from wherry.controllers.deployment_status import (
    Observed,
    again_after,
    next_status,
    status_patch,
    with_progress,
)
from wherry.controllers.framework import (
    CONTROLLER_UID,
    ORPHANS,
    Action,
    Caches,
    Create,
    Delete,
    Environment,
    Index,
    Patch,
    Result,
    Source,
    Telling,
    controller_keys,
    controller_uid_index,
    orphan_index,
    own_key,
    reference,
)
from wherry.controllers.ownership import claim
from wherry.controllers.replication import still_there
from wherry.controllers.revision import (
    REVISION,
    annotations_for,
    by_age,
    find_new,
    new_replica_set,
    next_revision,
    replica_annotations,
    replica_set_name,
    revision_of,
)
from wherry.controllers.views import Deployment, ReplicaSet

_COALESCE_S: Final = 0.01


@dataclass(slots=True)
class _Pass:
    """One pass: the ReplicaSets as they should be, and what else is to be done."""

    d: Deployment
    new: ReplicaSet | None
    old: list[ReplicaSet]
    now: float
    actions: list[Action] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)

    @property
    def sets(self) -> list[ReplicaSet]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    def resize(self, sizes: rollout.Sizes) -> bool:
        """Give the sets another size and fresh annotations; tell whether a size changed."""
        before = rollout.total(self.sets)
        self.old = [self._resized(rs, sizes) for rs in self.old]
        if self.new is not None:
            self.new = self._resized(self.new, sizes)
        return rollout.total(self.sets) != before

    def _resized(self, rs: ReplicaSet, sizes: rollout.Sizes) -> ReplicaSet:
        size = sizes.get(rs.metadata.name)
        if size is None:
            return rs
        annotations = replica_annotations(self.d, rollout.bounds_of(self.d).max_surge)
        fresh = annotations.items() <= rs.metadata.annotations.items()
        return rs if size == rs.replicas and fresh else _with(rs, size, annotations)

    def patches(self, before: Sequence[ReplicaSet]) -> list[Action]:
        """Return one patch for each ReplicaSet that is not as it was."""
        was = {rs.metadata.uid: rs for rs in before}
        pairs = ((was[rs.metadata.uid], rs) for rs in reversed(self.sets))
        return [_patch(self.d, old, new) for old, new in pairs if old is not new]


def _with(rs: ReplicaSet, size: int, annotations: dict[str, str]) -> ReplicaSet:
    return replace(
        rs,
        metadata=replace(rs.metadata, annotations={**rs.metadata.annotations, **annotations}),
        spec=replace(rs.spec, replicas=size),
    )


def _patch(d: Deployment, old: ReplicaSet, new: ReplicaSet) -> Patch:
    """Change a ReplicaSet, only at the revision that was decided on, and tell of a new size."""
    meta = old.metadata
    body = {
        "metadata": {"annotations": new.metadata.annotations},
        "spec": {"replicas": new.replicas, "minReadySeconds": new.spec.min_ready_seconds},
    }
    telling = None
    if new.replicas != old.replicas:
        direction = "up" if new.replicas > old.replicas else "down"
        message = (
            f"Scaled {direction} replica set {meta.name} from {old.replicas} to {new.replicas}"
        )
        telling = Telling(_ref(d), success=("ScalingReplicaSet", message))
    return Patch(
        REPLICA_SET,
        meta.namespace,
        meta.name,
        body,
        uid=meta.uid,
        revision=meta.resource_version,
        telling=telling,
    )


def reconcile(
    d: Deployment,
    sets: Sequence[ReplicaSet],
    *,
    now: float,
    old_pods: int = 0,
    name_taken: bool = False,
    failure: str = "",
) -> Result:
    """Take the next step for one Deployment.

    Args:
        d: The Deployment.
        sets: The ReplicaSets that it controls.
        now: The date.
        old_pods: Pods of old ReplicaSets that have not ended yet, for Recreate.
        name_taken: A ReplicaSet that is not one of `sets` has the name that the new one
            would get; then another hash is tried.
        failure: Why the last pass could not create the new ReplicaSet.

    Returns:
        Actions in order, the status last; `again_s` is when the progress deadline ends.
    """
    new = find_new(d, sets)
    old = sorted((rs for rs in sets if rs is not new), key=by_age)
    this = _Pass(d, new, old, now, conditions=list(d.status.conditions))
    if d.metadata.deleting:
        return _finish(this, sets, failure)
    if d.spec.paused or rollout.is_scaling(d, sets):
        _adopt_revision(this)
        this.resize(rollout.rescale(d, this.new, this.old))
        if d.spec.paused:
            _clean_up(this)
    elif d.spec.strategy.type == rollout.RECREATE:
        _recreate(this, old_pods, name_taken=name_taken)
    else:
        _roll(this, name_taken=name_taken)
    if name_taken and new is None and not d.spec.paused:
        count = (d.status.collision_count or 0) + 1
        return _finish(this, sets, failure, collision_count=count)
    return _finish(this, sets, failure)


def _roll(this: _Pass, *, name_taken: bool) -> None:
    d = this.d
    observed = rollout.all_observed(this.sets)
    if this.new is None:
        if not name_taken:
            size = rollout.new_size(d, 0, rollout.occupied(this.old)) if observed else 0
            _create_new(this, size)
        return
    _adopt_revision(this)
    if not observed:
        return
    size = rollout.new_size(d, this.new.replicas, rollout.occupied(this.sets))
    if this.resize({this.new.metadata.name: size}):
        return
    if this.resize(rollout.shrink_old(d, this.new, this.old)):
        return
    if _complete(this):
        _clean_up(this)


def _recreate(this: _Pass, old_pods: int, *, name_taken: bool) -> None:
    if this.new is not None:
        _adopt_revision(this)
    if this.resize({rs.metadata.name: 0 for rs in rollout.active(this.old)}):
        return
    if old_pods:
        return
    if this.new is None:
        if not name_taken:
            _create_new(this, this.d.replicas)
        return
    this.resize({this.new.metadata.name: this.d.replicas})
    if _complete(this):
        _clean_up(this)


def _complete(this: _Pass) -> bool:
    return Observed.of(this.new, this.sets).complete(this.d)


def _create_new(this: _Pass, size: int) -> None:
    d = this.d
    revision = next_revision(this.old)
    annotations = {
        **annotations_for(d, None, revision),
        **replica_annotations(d, rollout.bounds_of(d).max_surge),
    }
    name = replica_set_name(d)
    telling = Telling(
        _ref(d),
        success=("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        if size
        else None,
        failure=("ReplicaSetCreateError", f'Failed to create new replica set "{name}": {{error}}'),
    )
    body = new_replica_set(d, size, annotations)
    this.actions.append(Create(REPLICA_SET, d.metadata.namespace, body, telling=telling))
    this.actions += _own_revision(d, revision)
    message = f'Created new replica set "{name}"'
    this.conditions = with_progress(
        this.conditions, d, "True", "NewReplicaSetCreated", message, this.now
    )


def _adopt_revision(this: _Pass) -> None:
    """Give the new ReplicaSet the highest revision, and the Deployment the same."""
    new, d = this.new, this.d
    if new is None:
        return
    revision = next_revision(this.old)
    wanted = annotations_for(d, new, revision)
    if wanted != new.metadata.annotations or new.spec.min_ready_seconds != d.spec.min_ready_seconds:
        this.new = replace(
            new,
            metadata=replace(new.metadata, annotations=wanted),
            spec=replace(new.spec, min_ready_seconds=d.spec.min_ready_seconds),
        )
    this.actions += _own_revision(d, max(revision, revision_of(new)))
    if not any(c.type == "Progressing" for c in this.conditions):
        message = f'Found new replica set "{new.metadata.name}"'
        this.conditions = with_progress(
            this.conditions, d, "True", "FoundNewReplicaSet", message, this.now
        )


def _own_revision(d: Deployment, revision: int) -> list[Action]:
    """Note the revision by way of the status: another annotation is another generation."""
    if d.metadata.annotations.get(REVISION) == str(revision):
        return []
    meta = d.metadata
    body = {"metadata": {"annotations": {REVISION: str(revision)}}}
    return [Patch(DEPLOYMENT, meta.namespace, meta.name, body, uid=meta.uid, subresource="status")]


def _clean_up(this: _Pass) -> None:
    """Delete the oldest ReplicaSets beyond `revisionHistoryLimit` that have no pods left."""
    limit = this.d.spec.revision_history_limit
    if limit is None:
        return
    alive = [rs for rs in this.old if not rs.metadata.deleting]
    surplus = sorted(alive, key=lambda rs: (revision_of(rs), by_age(rs)))
    for rs in surplus[: max(0, len(alive) - limit)]:
        settled = rs.status.observed_generation >= rs.metadata.generation
        if settled and not rs.status.replicas and not rs.replicas:
            meta = rs.metadata
            this.actions.append(Delete(REPLICA_SET, meta.namespace, meta.name, meta.uid))


def _finish(
    this: _Pass, before: Sequence[ReplicaSet], failure: str, *, collision_count: int | None = None
) -> Result:
    actions = [*this.patches(before), *this.actions]
    d = replace(this.d, status=replace(this.d.status, conditions=this.conditions))
    observed = Observed.of(this.new, this.sets)
    status = next_status(d, observed, failure=failure, now=this.now)
    if collision_count is not None:
        status = replace(status, collision_count=collision_count)
    if status != this.d.status:
        actions.append(status_patch(this.d, status))
    return Result(actions, again_after(replace(this.d, status=status), observed, this.now))


def _ref(d: Deployment) -> dict[str, Any]:
    return reference(DEPLOYMENT, d.metadata)


class DeploymentController:
    """Runs `reconcile` for Deployments."""

    name = "deployment-controller"

    def __init__(self) -> None:
        self.sources = (
            Source(DEPLOYMENT, own_key),
            Source(REPLICA_SET, _replica_set_keys, _COALESCE_S),
            Source(POD, _ended_pod_keys),
        )
        self.indices = (
            Index(REPLICA_SET, CONTROLLER_UID, controller_uid_index),
            Index(REPLICA_SET, ORPHANS, orphan_index),
            Index(POD, CONTROLLER_UID, controller_uid_index),
        )

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        d: Deployment | None = env.caches[DEPLOYMENT].get(key)
        if d is None or not env.current:
            return Result()
        selector = d.spec.selector.compiled()
        cache = env.caches[REPLICA_SET]
        candidates = [
            *cache.by_index(CONTROLLER_UID, d.metadata.uid),
            *cache.by_index(ORPHANS, d.metadata.namespace),
        ]
        sets, claims = claim(DEPLOYMENT, d.metadata, selector, REPLICA_SET, candidates)
        if claims:
            alive = await still_there(DEPLOYMENT, d.metadata, env)
            return Result(claims if alive else ())
        taken = cache.get(f"{d.metadata.namespace}/{replica_set_name(d)}")
        new = find_new(d, sets)
        return reconcile(
            d,
            sets,
            now=env.now,
            old_pods=sum(_unfinished(env, rs) for rs in sets if rs is not new),
            name_taken=taken is not None and taken is not new,
            failure=env.failure,
        )


def _unfinished(env: Environment, rs: ReplicaSet) -> int:
    pods = env.caches[POD].by_index(CONTROLLER_UID, rs.metadata.uid)
    return sum(not pod.finished for pod in pods)


def _replica_set_keys(caches: Caches, old: ReplicaSet | None, new: ReplicaSet | None) -> set[str]:
    """Wake the owner; a set without one wakes whoever might adopt it."""
    found = set(controller_keys(DEPLOYMENT)(caches, old, new))
    if new is not None and new.metadata.controller is None:
        for d in caches[DEPLOYMENT].values():
            selector = d.spec.selector.compiled()
            same = d.metadata.namespace == new.metadata.namespace
            if same and selector and selector.matches(new.metadata.labels):
                found.add(d.metadata.key)
    return found


def _ended_pod_keys(caches: Caches, old: Pod | None, new: Pod | None) -> Iterable[str]:
    """Wake a Recreate Deployment that waits for its old pods to be gone."""
    if old is None or (new is not None and not new.finished):
        return ()
    found = set()
    for key in controller_keys(REPLICA_SET)(caches, old, None):
        rs = caches[REPLICA_SET].get(key)
        if rs is not None:
            for owner in controller_keys(DEPLOYMENT)(caches, rs, None):
                d = caches[DEPLOYMENT].get(owner)
                if d is not None and d.spec.strategy.type == rollout.RECREATE:
                    found.add(owner)
    return found
