"""The managers of an object: `metadata.managedFields` read, written, bounded, and named in conflicts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wherry.api.errors import Cause, ConflictError
from wherry.apiserver.apply.fieldset import (
    FieldSet,
    format_path,
    is_valid,
    paths,
    union,
)

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MAX_UPDATERS: Final = 10
ANCIENT: Final = "ancient-changes"
"""Whom the changes of the oldest updaters are ascribed to when there are too many."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manager:
    """Who wrote; an applier is the same in every API version."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Return what tells two managers apart."""
        version = "" if self.operation == APPLY else self.api_version
        return (self.name, self.operation, version, self.subresource)


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns, and since when (RFC 3339, "" where nobody knows)."""

    manager: Manager
    fields: FieldSet
    time: str = ""


Managed = dict[tuple[str, str, str, str], Owned]


def decode(entries: Any) -> Managed | None:
    """Read `managedFields`; None if they cannot be read."""
    if not isinstance(entries, list):
        return None
    out: Managed = {}
    for entry in entries:
        owned = _read(entry)
        if owned is None:
            return None
        out[owned.manager.identity] = owned
    return out


def _read(entry: Any) -> Owned | None:
    if not isinstance(entry, dict) or entry.get("operation") not in (APPLY, UPDATE):
        return None
    fields = entry.get("fieldsV1") or {}
    if entry.get("fieldsType", "FieldsV1") != "FieldsV1" or not entry.get("apiVersion"):
        return None
    manager = Manager(
        entry.get("manager") or "",
        entry["operation"],
        entry["apiVersion"],
        entry.get("subresource") or "",
    )
    return Owned(manager, fields, entry.get("time") or "")


def valid(entries: Any) -> bool:
    """Tell whether what a client sent as `managedFields` can be worked with."""
    found = decode(entries)
    return bool(found) and all(is_valid(owned.fields) for owned in (found or {}).values())


def is_reset(entries: Any) -> bool:
    """Tell whether a client asks to forget all managers: one empty entry."""
    return bool(entries == [{}])


def encode(managed: Managed) -> list[Entry]:
    """Write `managedFields`: appliers first, then by time and name; who owns nothing is left out."""
    ordered = sorted(
        (owned for owned in managed.values() if owned.fields),
        key=lambda o: (o.manager.operation, o.time, o.manager.identity),
    )
    return [_entry(owned) for owned in ordered]


def _entry(owned: Owned) -> Entry:
    manager = owned.manager
    entry: Entry = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
    }
    if owned.time:
        entry["time"] = owned.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = owned.fields
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def cap(managed: Managed) -> Managed:
    """Merge the oldest updaters of each API version until there are few enough."""
    updaters = [o for o in managed.values() if o.manager.operation == UPDATE and o.fields]
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return managed
    out = dict(managed)
    firsts: dict[str, Owned] = {}
    for owned in sorted(updaters, key=lambda o: (o.time, o.manager.identity)):
        version = owned.manager.api_version
        first = firsts.get(version)
        if first is None:
            firsts[version] = owned
            continue
        bucket = Manager(ANCIENT, UPDATE, version)
        if owned.manager == bucket:
            continue  # what was ancient before is in it already
        fields = union(first.fields, owned.fields)
        for gone in (first, owned):
            out.pop(gone.manager.identity, None)
        if (before := out.get(bucket.identity)) is not None:
            fields = union(before.fields, fields)
        firsts[version] = out[bucket.identity] = Owned(bucket, fields, owned.time)
        surplus -= 1
        if surplus == 0:
            break
    return out


def conflict(conflicts: Sequence[Owned]) -> ConflictError:
    """Return the refusal of an apply: which of its fields others own."""
    found = sorted(
        (_shown(owned.manager), format_path(path))
        for owned in conflicts
        for path in paths(owned.fields)
    )
    causes = [Cause("FieldManagerConflict", f"conflict with {who}", path) for who, path in found]
    if len(found) == 1:
        who, path = found[0]
        why = f"Apply failed with 1 conflict: conflict with {who}: {path}"
    else:
        by_manager = "\n".join(_listed(who, found) for who in _unique(who for who, _ in found))
        why = f"Apply failed with {len(found)} conflicts: {by_manager}"
    return ConflictError(why, causes=causes)


def _listed(who: str, found: Iterable[tuple[str, str]]) -> str:
    lines = [f"- {path}" for other, path in found if other == who]
    return "\n".join([f"conflicts with {who}:", *lines])


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _shown(manager: Manager) -> str:
    who = f'"{manager.name}"'
    if manager.subresource:
        who += f' with subresource "{manager.subresource}"'
    if manager.operation == UPDATE:
        who += f" using {manager.api_version}"
    return who
