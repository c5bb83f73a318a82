"""Garbage collector: objects go when their owners have gone.

The graph is not built: it *is* the caches. An object's owners stand in its
ownerReferences, its dependents are found by an index on the owner's uid. For one object:

    being deleted, finalizer `foregroundDeletion`  its dependents are deleted (their pass);
                                                   when none blocks it any more: finalizer off
    being deleted, finalizer `orphan`              dependents lose the reference; finalizer off
    all owners absent, or waiting in foreground    deleted
    some owner solid                               references to absent ones are dropped

"Absent" is believed only of the server: the cache of another kind may lag. An owner
of a kind that is not known here counts as solid, because nothing proves it gone.
Source: kubernetes `pkg/controller/garbagecollector`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from wherry.api.kinds import EVENT, KINDS, Kind
from wherry.api.objects import Meta, ObjectMeta, OwnerReference
from wherry.controllers.framework import (
    Caches,
    Delete,
    Environment,
    Index,
    Keys,
    Kinds,
    Patch,
    Result,
    Source,
)
from wherry.controllers.ownership import without_owners

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
OWNERS: Final = "ownerUIDs"
_REMEMBERED: Final = 500


class OwnerState(Enum):
    """What has become of an owner."""

    SOLID = "solid"
    WAITING = "waiting for its dependents to be deleted"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Dependent:
    """An object that names the one in question as its owner."""

    kind: Kind
    meta: ObjectMeta
    blocks: bool


def reconcile(
    kind: Kind,
    meta: ObjectMeta,
    owners: Sequence[OwnerState],
    dependents: Sequence[Dependent],
) -> Result:
    """Decide about one object.

    Args:
        kind: Its kind.
        meta: Its metadata.
        owners: The state of each of its ownerReferences, in their order.
        dependents: The objects that name it as owner.
    """
    if meta.deleting:
        return _going(kind, meta, dependents)
    gone = [r.uid for r, s in zip(meta.owner_references, owners, strict=True) if _expendable(s)]
    if not gone:
        return Result()
    if len(gone) < len(owners):
        return Result([without_owners(kind, meta, frozenset(gone))])
    waited_for = OwnerState.WAITING in owners
    blocked = any(d.blocks for d in dependents)
    propagation = "Foreground" if waited_for and blocked else "Background"
    return Result([Delete(kind, meta.namespace, meta.name, meta.uid, propagation=propagation)])


def _expendable(state: OwnerState) -> bool:
    return state is not OwnerState.SOLID


def _going(kind: Kind, meta: ObjectMeta, dependents: Sequence[Dependent]) -> Result:
    if ORPHAN in meta.finalizers:
        uids = frozenset((meta.uid,))
        patches = [without_owners(d.kind, d.meta, uids) for d in dependents]
        return Result([*patches, _without_finalizer(kind, meta, ORPHAN)])
    if FOREGROUND in meta.finalizers and not any(d.blocks for d in dependents):
        return Result([_without_finalizer(kind, meta, FOREGROUND)])
    return Result()


def _without_finalizer(kind: Kind, meta: ObjectMeta, finalizer: str) -> Patch:
    kept = [f for f in meta.finalizers if f != finalizer]
    return Patch(
        kind,
        meta.namespace,
        meta.name,
        {"metadata": {"finalizers": kept or None}},
        uid=meta.uid,
        revision=meta.resource_version,
    )


def owner_uids(obj: Any) -> Iterable[str]:
    """Index by every owner's uid."""
    return [ref.uid for ref in obj.metadata.owner_references]


def _key(kind: Kind, meta: ObjectMeta) -> str:
    return f"{kind.qualified}:{meta.key}"


def _dependents(caches: Caches, kinds: Iterable[Kind], uid: str) -> list[Dependent]:
    return [
        Dependent(kind, obj.metadata, _blocks(obj.metadata, uid))
        for kind in kinds
        for obj in caches[kind].by_index(OWNERS, uid)
    ]


def _blocks(meta: ObjectMeta, uid: str) -> bool:
    return any(r.uid == uid and r.block_owner_deletion for r in meta.owner_references)


class GarbageCollector:
    """Runs `reconcile` for every object of every kind but Events, which own and are owned by nothing."""

    name = "garbage-collector-controller"

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self._kinds = [kind for kind in kinds if kind != EVENT]
        self._by_name = {kind.qualified: kind for kind in self._kinds}
        self._find = Kinds()
        self._absent: dict[str, None] = {}
        self.sources = tuple(Source(kind, self._keys(kind)) for kind in self._kinds)
        self.indices = tuple(Index(kind, OWNERS, owner_uids) for kind in self._kinds)

    def _keys(self, kind: Kind) -> Keys:
        """Wake what a change may concern: the object, those it owns, and those it may hold back."""

        def keys(caches: Caches, old: Any, new: Any) -> Iterable[str]:
            if new is not None and not self._concerns(old, new):
                return ()
            found: set[str] = set()
            if new is not None:
                found.add(_key(kind, new.metadata))
            for gone in self._gone_or_going(old, new):
                found.update(
                    _key(d.kind, d.meta)
                    for d in _dependents(caches, self._kinds, gone.metadata.uid)
                )
            for obj in (old, new):
                found.update(self._waiting_owners(caches, obj) if obj is not None else ())
            return found

        return keys

    @staticmethod
    def _concerns(old: Any, new: Any) -> bool:
        """Skip the many changes that are of status only."""
        if old is None:
            return bool(new.metadata.owner_references) or new.metadata.deleting
        before, after = old.metadata, new.metadata
        return bool(
            before.uid != after.uid
            or before.owner_references != after.owner_references
            or before.finalizers != after.finalizers
            or before.deleting != after.deleting
        )

    @staticmethod
    def _gone_or_going(old: Any, new: Any) -> Iterable[Any]:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            yield old
        if new is not None and new.metadata.deleting:
            yield new

    def _waiting_owners(self, caches: Caches, obj: Any) -> Iterable[str]:
        """Return the owners that are being deleted and may have waited for `obj`."""
        for ref in obj.metadata.owner_references:
            kind, owner = self._owner(caches, obj.metadata, ref)
            if kind is not None and owner is not None and owner.metadata.deleting:
                yield _key(kind, owner.metadata)

    def _owner(
        self, caches: Caches, meta: ObjectMeta, ref: OwnerReference
    ) -> tuple[Kind | None, Any]:
        kind = self._find.find(ref.api_version, ref.kind)
        if kind is None or kind not in caches:
            return None, None
        prefix = f"{meta.namespace}/" if kind.namespaced else ""
        owner = caches[kind].get(prefix + ref.name)
        return kind, owner if owner is not None and owner.metadata.uid == ref.uid else None

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module; the key is `pods:namespace/name`."""
        if not env.current:
            return Result()
        name, _, object_key = key.partition(":")
        kind = self._by_name[name]
        obj: Meta | None = env.caches[kind].get(object_key)
        if obj is None:
            return Result()
        meta = obj.metadata
        owners = (
            []
            if meta.deleting
            else [await self._state(env, meta, r) for r in meta.owner_references]
        )
        return reconcile(kind, meta, owners, _dependents(env.caches, self._kinds, meta.uid))

    def _remember_absent(self, uid: str) -> None:
        """A uid never comes back, so its other dependents need not ask the server again."""
        self._absent[uid] = None
        if len(self._absent) > _REMEMBERED:
            del self._absent[next(iter(self._absent))]

    async def _state(self, env: Environment, meta: ObjectMeta, ref: OwnerReference) -> OwnerState:
        kind, owner = self._owner(env.caches, meta, ref)
        if kind is None:
            return OwnerState.SOLID
        if ref.uid in self._absent:
            return OwnerState.ABSENT
        if owner is None:
            live = await env.fetch(kind, ref.name, meta.namespace if kind.namespaced else "")
            if live is None or live.metadata.uid != ref.uid:
                self._remember_absent(ref.uid)
                return OwnerState.ABSENT
            owner = live
        waiting = owner.metadata.deleting and FOREGROUND in owner.metadata.finalizers
        return OwnerState.WAITING if waiting else OwnerState.SOLID
