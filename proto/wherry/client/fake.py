"""An API server small enough for unit tests: `FakeApi`.

It keeps the promises that a client relies on: revisions, conflicts, uid preconditions,
watches from a revision, finalizers, selectors, merge patches, status that only the status
subresource writes, bindings. It does not default, validate, authorize, or check types;
whoever needs that runs the real registry in process (`wherry.apiserver.local_api`).
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnsupportedMediaError,
)
from wherry.api.kinds import Kind
from wherry.api.selectors import parse_fields, parse_labels
from wherry.api.times import format_time
from wherry.client.api import EventType, ObjectList, PatchType, WatchEvent

Json = dict[str, Any]
_STATUS_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
"""What of the metadata a write of the status changes too, as for most kinds upstream."""


class FakeApi:
    """Implements `Api` over dictionaries; `calls` records every write as (verb, kind, name)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[Kind, dict[tuple[str, str], Json]] = {}
        self._history: list[tuple[Kind, EventType, Json, Json | None, int]] = []
        self._revision = 1
        self._serial = 0
        self._changed = asyncio.Condition()
        self.calls: list[tuple[str, str, str]] = []

    # -- reading -----------------------------------------------------------------

    def objects(self, kind: Kind, namespace: str = "") -> list[Json]:
        """Return copies of all objects of a kind, for assertions."""
        found = sorted(self._objects.get(kind, {}).items())
        return [copy.deepcopy(o) for (ns, _), o in found if namespace in ("", ns)]

    async def get(
        self, kind: Kind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Return the object."""
        return orjson.dumps(self._existing(kind, namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        cached: bool = False,
    ) -> ObjectList:
        """Return all objects that match; never pages."""
        matches = _Matcher(namespace, labels, fields)
        found = sorted(self._objects.get(kind, {}).items())
        return ObjectList([orjson.dumps(o) for _, o in found if matches(o)], self._revision)

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        revision: int,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield what happened after `revision`, then what happens."""
        matches = _Matcher(namespace, labels, fields)
        seen = next((i for i, h in enumerate(self._history) if h[4] > revision), len(self._history))
        while True:
            fresh, seen = self._history[seen:], len(self._history)
            batch = [e for h in fresh if h[0] == kind and (e := _transition(h, matches))]
            if batch:
                yield batch
            async with self._changed:
                while seen == len(self._history):
                    await self._changed.wait()

    # -- writing -----------------------------------------------------------------

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        """Create, or act on `name` with subresource binding or eviction."""
        given: Json = orjson.loads(body)
        if subresource:
            return await self._act(kind, namespace, name, subresource, given)
        meta = given.setdefault("metadata", {})
        self._serial += 1
        if not meta.get("name"):
            meta["name"] = f"{meta.get('generateName', '')}{self._serial:05x}"
        if kind.namespaced:
            meta["namespace"] = namespace or meta.get("namespace") or "default"
        key = (meta.get("namespace", ""), meta["name"])
        if key in self._objects.setdefault(kind, {}):
            message = f'{kind.qualified} "{meta["name"]}" already exists'
            raise AlreadyExistsError(message, name=meta["name"], kind=kind.plural, group=kind.group)
        meta |= {
            "uid": f"00000000-0000-4000-8000-{self._serial:012x}",
            "creationTimestamp": format_time(self._clock.now()),
            "generation": 1,
        }
        given |= {"apiVersion": kind.api_version, "kind": kind.kind}
        self.calls.append(("create", kind.kind, meta["name"]))
        return await self._store(kind, EventType.ADDED, given)

    async def update(
        self, kind: Kind, name: str, body: bytes, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Replace the object or its status."""
        old = self._existing(kind, namespace, name)
        new: Json = orjson.loads(body)
        stated = new.get("metadata", {}).get("resourceVersion")
        if stated and stated != old["metadata"]["resourceVersion"]:
            raise _conflict(kind, name)
        self.calls.append(("update", kind.kind, name))
        return await self._replace(kind, old, new, subresource)

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: bytes,
        namespace: str = "",
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> bytes:
        """Apply a merge patch; other types are refused."""
        if patch_type is not PatchType.MERGE:
            raise UnsupportedMediaError(f"FakeApi takes merge patches only, not {patch_type}")
        old = self._existing(kind, namespace, name)
        patch: Json = orjson.loads(body)
        stated = patch.get("metadata", {}).get("resourceVersion")
        if stated and stated != old["metadata"]["resourceVersion"]:
            raise _conflict(kind, name)
        self.calls.append(("patch", kind.kind, name))
        return await self._replace(kind, old, _merge(old, patch), subresource)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: str = "",
    ) -> bytes:
        """Delete at once, unless finalizers or a pod's node have to agree first."""
        old = self._existing(kind, namespace, name)
        if uid and uid != old["metadata"]["uid"]:
            raise _conflict(kind, name)
        self.calls.append(("delete", kind.kind, name))
        graceful = kind.kind == "Pod" and old.get("spec", {}).get("nodeName") and grace_s != 0
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        finalizers = [*old["metadata"].get("finalizers", []), *([extra] if extra else [])]
        if not graceful and not finalizers:
            return await self._remove(kind, old)
        new = copy.deepcopy(old)
        meta = new["metadata"]
        meta.setdefault("deletionTimestamp", format_time(self._clock.now() + (grace_s or 0)))
        meta["deletionGracePeriodSeconds"] = 30 if grace_s is None else grace_s
        if finalizers:
            meta["finalizers"] = finalizers
        return await self._store(kind, EventType.MODIFIED, new)

    async def _act(
        self, kind: Kind, namespace: str, name: str, subresource: str, given: Json
    ) -> bytes:
        old = self._existing(kind, namespace, name)
        self.calls.append((subresource, kind.kind, name))
        if subresource == "eviction":
            return await self.delete(kind, name, namespace)
        if subresource != "binding":
            raise NotFoundError(f"FakeApi has no subresource {subresource}")
        if old.get("spec", {}).get("nodeName"):
            raise _conflict(kind, name)
        new = _merge(old, {"spec": {"nodeName": given["target"]["name"]}})
        return await self._store(kind, EventType.MODIFIED, new)

    async def _replace(self, kind: Kind, old: Json, new: Json, subresource: str) -> bytes:
        if subresource == "status":
            noted = {k: v for k, v in new.get("metadata", {}).items() if k in _STATUS_METADATA}
            new = {**copy.deepcopy(old), "status": new.get("status", {})}
            new["metadata"].update(noted)
        else:
            kept = {k: old["metadata"][k] for k in ("uid", "creationTimestamp", "generation")}
            new = {**copy.deepcopy(new), "metadata": {**new.get("metadata", {}), **kept}}
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
        meta = new["metadata"]
        meta["resourceVersion"] = old["metadata"]["resourceVersion"]
        if new == old:
            return orjson.dumps(old)
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and kind.kind != "Pod":
            return await self._remove(kind, new)
        return await self._store(kind, EventType.MODIFIED, new)

    async def _store(self, kind: Kind, event: EventType, obj: Json) -> bytes:
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        old = self._objects[kind].get(key)
        self._revision += 1
        meta["resourceVersion"] = str(self._revision)
        self._objects[kind][key] = obj
        await self._record(kind, event, obj, old)
        return orjson.dumps(obj)

    async def _remove(self, kind: Kind, obj: Json) -> bytes:
        meta = obj["metadata"]
        old = self._objects[kind].pop((meta.get("namespace", ""), meta["name"]))
        self._revision += 1
        gone = _merge(obj, {"metadata": {"resourceVersion": str(self._revision)}})
        await self._record(kind, EventType.DELETED, gone, old)
        return orjson.dumps(gone)

    async def _record(self, kind: Kind, event: EventType, obj: Json, old: Json | None) -> None:
        self._history.append((kind, event, copy.deepcopy(obj), old, self._revision))
        async with self._changed:
            self._changed.notify_all()

    def _existing(self, kind: Kind, namespace: str, name: str) -> Json:
        found = self._objects.get(kind, {}).get((namespace if kind.namespaced else "", name))
        if found is None:
            message = f'{kind.qualified} "{name}" not found'
            raise NotFoundError(message, name=name, kind=kind.plural, group=kind.group)
        return found


class _Matcher:
    def __init__(self, namespace: str, labels: str, fields: str) -> None:
        self._namespace = namespace
        self._labels = parse_labels(labels)
        self._fields = parse_fields(fields)

    def __call__(self, obj: Json) -> bool:
        meta = obj["metadata"]
        return (
            self._namespace in ("", meta.get("namespace", ""))
            and self._labels.matches(meta.get("labels") or {})
            and self._fields.matches(lambda path: _field(obj, path))
        )


def _field(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


def _transition(
    entry: tuple[Kind, EventType, Json, Json | None, int], matches: _Matcher
) -> WatchEvent | None:
    """Turn a change into what a watcher with a selector sees of it."""
    _, event, new, old, revision = entry
    before, now = old is not None and matches(old), matches(new)
    if event is not EventType.DELETED and before != now:
        event = EventType.ADDED if now else EventType.DELETED
    elif not (now or before):
        return None
    return WatchEvent(event, orjson.dumps(new), revision)


def _conflict(kind: Kind, name: str) -> ConflictError:
    message = (
        f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been '
        "modified; please apply your changes to the latest version and try again"
    )
    return ConflictError(message, name=name, kind=kind.plural, group=kind.group)


def _merge(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
