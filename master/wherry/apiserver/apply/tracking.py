"""What a write does to the managers of an object, and server-side apply. Pure.

    write by M:  what changed is M's and nobody else's; what went is nobody's
    apply by M:  M owns what its configuration says and nothing else; fields that it changes and others own are
                 conflicts, or with force are taken; what it no longer says goes, unless others own it

A manager's time changes when it changed something. An object that nobody manages (it is older than tracking, or a client asked for
that with `managedFields: [{}]`) stays so until somebody applies; then what is there is ascribed to
`before-first-apply`.
"""

from dataclasses import dataclass, replace
from typing import Any

from wherry.apiserver.apply import entries, upgrade
from wherry.apiserver.apply.entries import APPLY, UPDATE, Managed, Manager, Owned
from wherry.apiserver.apply.fieldset import FieldSet, difference, intersection, union
from wherry.apiserver.apply.merge import merge, prune
from wherry.apiserver.apply.types import Type, type_of
from wherry.apiserver.apply.walk import Changes, changes, configured
from wherry.apiserver.schema import GVK

Object = dict[str, Any]
BEFORE_FIRST_APPLY = "before-first-apply"
UNKNOWN = "unknown"
"""Who sends neither a field manager nor a User-Agent."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The object with a configuration in it, and its managers as they are then."""

    object: Object
    managed: list[entries.Entry]


def manager_of(user_agent: str) -> str:
    """Return the manager's name where the client gave none: the first part of its User-Agent."""
    name = user_agent.partition("/")[0]
    if not name.isprintable():
        name = "".join(c for c in name if c.isprintable())
    return name[:128] or UNKNOWN


@dataclass(frozen=True, slots=True)
class Tracker:
    """Follows the writes of one request. `now` is a metav1.Time."""

    gvk: GVK
    manager: str
    now: str
    subresource: str = ""

    @property
    def _type(self) -> Type:
        return type_of(self.gvk)

    def _manager(self, operation: str, name: str = "", *, bare: bool = False) -> Manager:
        group, version, _ = self.gvk
        api_version = f"{group}/{version}" if group else version
        subresource = "" if bare else self.subresource
        return Manager(name or self.manager, operation, api_version, subresource)

    def created(self, obj: Object) -> list[entries.Entry]:
        """Return the managers of a new object: one, who owns all of it."""
        fields = changes({}, obj, self._type).changed
        return entries.encode({(): Owned(self._manager(UPDATE), fields, self.now)})  # type: ignore[dict-item]

    def updated(self, old: Object, new: Object, sent: Any) -> list[entries.Entry]:
        """Return the managers after an update.

        Args:
            old: The object as it is, managers included.
            new: The object as it will be.
            sent: The managers that the client sent (on the object itself a client may change them).
        """
        had = old["metadata"].get("managedFields") or []
        if not self.subresource and sent is not None and sent != had:
            if entries.is_reset(sent):
                return []
            if entries.valid(sent):
                had = sent
        if not had:
            return []
        diff = changes(old, new, self._type)
        if not diff.changed and not diff.removed:
            return had
        managed = _without(entries.decode(had) or {}, union(diff.changed, diff.removed))
        if diff.changed:
            me = self._manager(UPDATE)
            mine = managed.get(me.identity)
            fields = union(mine.fields, diff.changed) if mine else diff.changed
            managed[me.identity] = Owned(me, fields, self.now)
        return entries.encode(entries.cap(managed))

    def apply(self, live: Object, config: Object, *, force: bool) -> Applied:
        """Apply a configuration without problems to an object (`{"metadata": {}}` where there is none yet).

        Raises:
            ConflictError: others own what it changes, and it is not forced.
        """
        typ = self._type
        managed = self._managed(live, typ)
        me = self._manager(APPLY)
        last = managed.get(me.identity)
        mine = Owned(me, configured(config, typ), last.time if last else "")
        managed[me.identity] = mine
        merged = merge(live, config, typ)
        if last is not None:
            owned: FieldSet = {}
            for each in managed.values():
                owned = union(owned, each.fields)
            merged = prune(merged, last.fields, owned, typ)
        diff = changes(live, merged, typ)
        others = {i: o for i, o in managed.items() if i != me.identity}
        if not force:
            self._check_conflicts(others, diff, live, typ)
        touched = diff.changed or diff.removed
        after = _without(others, union(diff.changed, diff.removed)) if touched else others
        if touched or last is None or last.fields != mine.fields:
            mine = replace(mine, time=self.now)
        after[me.identity] = mine
        if self._is_kubectl and upgrade.last_applied(live):
            merged = upgrade.with_last_applied(merged, config)
        return Applied(merged, entries.encode(after))

    @property
    def _is_kubectl(self) -> bool:
        return self.manager == upgrade.KUBECTL and not self.subresource

    def _managed(self, live: Object, typ: Type) -> Managed:
        managed = entries.decode(live["metadata"].get("managedFields") or []) or {}
        if not managed:
            before = changes({}, live, typ).changed
            if before:
                first = self._manager(UPDATE, BEFORE_FIRST_APPLY, bare=True)
                managed[first.identity] = Owned(first, before, self.now)
        return managed

    def _check_conflicts(self, others: Managed, diff: Changes, live: Object, typ: Type) -> None:
        if not diff.changed:
            return
        allowed: FieldSet = {}
        if self._is_kubectl and upgrade.last_applied(live):
            allowed = upgrade.unchanged_since(live, typ)
        found = []
        for owned in others.values():
            both = difference(intersection(owned.fields, diff.changed), allowed)
            if both:
                found.append(replace(owned, fields=both))
        if found:
            raise entries.conflict(found)


def _without(managed: Managed, fields: FieldSet) -> Managed:
    """Return the managers without these fields; who owns nothing is no manager any more."""
    out: Managed = {}
    for identity, owned in managed.items():
        left = difference(owned.fields, fields)
        if left is owned.fields:
            out[identity] = owned
        elif left:
            out[identity] = replace(owned, fields=left)
    return out
