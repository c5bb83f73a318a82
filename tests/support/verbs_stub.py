"""`Verbs` for tests of the doors: objects in a dict, no rules, every call remembered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from wherry.api.errors import AlreadyExistsError, NotFoundError, StatusError
from wherry.apiserver.resources import Resource
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    Page,
    Push,
    WatchOptions,
    Written,
)
from wherry.client.api import EventType, PatchType, WatchEvent


class StubVerbs:
    """`fail` is raised by the next calls if set; `hold` keeps calls waiting while it is clear."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.contexts: list[Context] = []
        self.revision = 1
        self.fail: Exception | None = None
        self.warnings: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.events: asyncio.Queue[Sequence[WatchEvent] | StatusError | None] = asyncio.Queue()
        self.watching = 0

    async def _enter(self, ctx: Context, *call: Any) -> None:
        self.calls.append(call)
        self.contexts.append(ctx)
        ctx.warnings.extend(self.warnings)
        await self.hold.wait()
        if self.fail is not None:
            raise self.fail

    def _bytes(self, resource: Resource, key: tuple[str, str, str]) -> bytes:
        obj = self.objects.get(key)
        if obj is None:
            kind = resource.kind
            message = f'{kind.qualified} "{key[2]}" not found'
            raise NotFoundError(message, name=key[2], kind=kind.plural, group=kind.group)
        return orjson.dumps(obj)

    def _put(self, resource: Resource, namespace: str, obj: dict[str, Any]) -> bytes:
        self.revision += 1
        metadata = {"resourceVersion": str(self.revision), **obj.get("metadata", {})}
        metadata.setdefault("uid", f"uid-{self.revision}")
        kind = resource.kind
        head = {"metadata": metadata, "apiVersion": kind.api_version, "kind": kind.kind}
        self.objects[kind.plural, namespace, metadata["name"]] = {
            **head,
            **obj,
            "metadata": metadata,
        }
        return self._bytes(resource, (kind.plural, namespace, metadata["name"]))

    async def get(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str = "",
        revision: str = "",
    ) -> bytes:
        await self._enter(ctx, "get", resource.kind.plural, namespace, name, subresource, revision)
        return self._bytes(resource, (resource.kind.plural, namespace, name))

    async def list(
        self, ctx: Context, resource: Resource, namespace: str, options: ListOptions
    ) -> Page:
        await self._enter(ctx, "list", resource.kind.plural, namespace, options)
        found = [
            orjson.dumps(obj)
            for (plural, ns, _), obj in sorted(self.objects.items())
            if plural == resource.kind.plural and namespace in ("", ns)
        ]
        return Page(found, self.revision)

    async def watch(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        options: WatchOptions,
        push: Push | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        await self._enter(ctx, "watch", resource.kind.plural, namespace, options)
        self.watching += 1
        try:
            while (batch := await self.events.get()) is not None:
                if isinstance(batch, StatusError):
                    raise batch
                yield batch
        finally:
            self.watching -= 1

    async def create(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: dict[str, Any],
        name: str = "",
        subresource: str = "",
    ) -> Written:
        await self._enter(ctx, "create", resource.kind.plural, namespace, name, subresource)
        key = (resource.kind.plural, namespace, obj["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExistsError("it is there", name=key[2], kind=resource.kind.plural)
        return Written(self._put(resource, namespace, obj), created=True)

    async def update(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        obj: dict[str, Any],
        subresource: str = "",
    ) -> Written:
        await self._enter(ctx, "update", resource.kind.plural, namespace, name, subresource)
        return Written(self._put(resource, namespace, obj))

    async def patch(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        patch_type: PatchType,
        subresource: str = "",
    ) -> Written:
        await self._enter(ctx, "patch", namespace, name, patch, patch_type, subresource)
        return Written(self._bytes(resource, (resource.kind.plural, namespace, name)))

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        await self._enter(ctx, "delete", resource.kind.plural, namespace, name, options)
        key = (resource.kind.plural, namespace, name)
        raw = self._bytes(resource, key)
        if not ctx.dry_run:
            del self.objects[key]
        return Written(raw, deleted=True)

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        await self._enter(ctx, "delete_collection", namespace, selection, options)
        return await self.list(Context(ctx.user), resource, namespace, selection)


def event(event_type: EventType, name: str, revision: int) -> WatchEvent:
    """Return an event of a ConfigMap."""
    obj = {
        "metadata": {"resourceVersion": str(revision), "name": name},
        "apiVersion": "v1",
        "kind": "ConfigMap",
    }
    return WatchEvent(event_type, orjson.dumps(obj), revision)
