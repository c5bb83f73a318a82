"""`Versions`: the verbs for rows whose objects are stored as another kind; all others pass through.

What comes in is checked against its own kind's types, converted, and given to the registry;
what comes out is converted back. A patch is of the version that it was sent to, so it is
applied here and written as an update at the revision that was read.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, cast

import orjson

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import (
    BadRequestError,
    ConflictError,
    MethodNotAllowedError,
    NotFoundError,
)
from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import check_types
from wherry.apiserver.registry.request import apply_patch
from wherry.apiserver.resources import BY_KIND, Resource
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    Page,
    Push,
    Verbs,
    WatchOptions,
    Written,
)
from wherry.apiserver.versions.components import NAMESPACE, component_statuses
from wherry.apiserver.versions.conversion import CONVERSIONS, Conversion
from wherry.client.api import PatchType, WatchEvent

Object = dict[str, Any]
_ATTEMPTS = 8
"""How often another write may come between the read and the write of one."""


class Versions:
    """Implements `Verbs` over the registry's."""

    def __init__(self, verbs: Verbs, *, clock: Clock) -> None:
        self._verbs = verbs
        self._clock = clock

    async def get(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str = "",
        revision: str = "",
    ) -> bytes:
        """See `Verbs.get`."""
        if resource.kind == kinds.COMPONENT_STATUS:
            found = [raw for shown, raw in (await self._components(ctx))[0] if shown == name]
            if not found:
                raise refusal.not_found(resource, name)
            return found[0]
        row, conversion = _stored(resource)
        raw = await self._verbs.get(ctx, row, namespace, name, subresource, revision)
        return conversion.shown(raw) if conversion else raw

    async def list(
        self, ctx: Context, resource: Resource, namespace: str, options: ListOptions
    ) -> Page:
        """See `Verbs.list`."""
        if resource.kind == kinds.COMPONENT_STATUS:
            components, revision = await self._components(ctx)
            return Page([raw for _, raw in components], revision)
        row, conversion = _stored(resource)
        if conversion is None:
            return await self._verbs.list(ctx, row, namespace, options)
        options = replace(options, fields=conversion.stored_fields(options.fields))
        page = await self._verbs.list(ctx, row, namespace, options)
        return replace(page, items=[conversion.shown(raw) for raw in page.items])

    async def _components(self, ctx: Context) -> tuple[Sequence[tuple[str, bytes]], int]:
        page = await self._verbs.list(ctx, BY_KIND[kinds.LEASE], NAMESPACE, ListOptions())
        leases = map(orjson.loads, page.items)
        found = component_statuses(leases, now=self._clock.now())
        return [(obj["metadata"]["name"], orjson.dumps(obj)) for obj in found], page.revision

    def watch(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        options: WatchOptions,
        push: Push | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Verbs.watch`."""
        row, conversion = _stored(resource)
        if conversion is None:
            return self._verbs.watch(ctx, row, namespace, options, push)
        options = replace(options, fields=conversion.stored_fields(options.fields))
        return _shown_events(self._verbs.watch(ctx, row, namespace, options), conversion)

    async def create(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: Object,
        name: str = "",
        subresource: str = "",
    ) -> Written:
        """See `Verbs.create`."""
        if resource.kind == kinds.BINDING:
            pod = check_types(ctx, resource, obj)["metadata"].get("name") or name
            if not pod:
                raise BadRequestError("name is required: a binding has the name of its pod")
            return await self._verbs.create(ctx, BY_KIND[kinds.POD], namespace, obj, pod, "binding")
        row, conversion = _stored(resource)
        if conversion is None:
            return await self._verbs.create(ctx, row, namespace, obj, name, subresource)
        stored = conversion.stored_object(check_types(ctx, resource, obj))
        _refuse(row, conversion, namespace, stored["metadata"].get("name", ""), stored, None)
        written = await self._verbs.create(ctx, row, namespace, stored, name, subresource)
        return _shown(written, conversion)

    async def update(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        subresource: str = "",
    ) -> Written:
        """See `Verbs.update`."""
        row, conversion = _stored(resource)
        if conversion is None:
            return await self._verbs.update(ctx, row, namespace, name, obj, subresource)
        stored = conversion.stored_object(check_types(ctx, resource, obj))
        if conversion.refused is not None:
            written = await self._checked_update(ctx, row, conversion, namespace, name, stored)
        else:
            written = await self._verbs.update(ctx, row, namespace, name, stored, subresource)
        return _shown(written, conversion)

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
        """See `Verbs.patch`."""
        row, conversion = _stored(resource)
        if conversion is None or patch_type is PatchType.APPLY:
            if conversion is not None and isinstance(patch, dict):
                patch = conversion.stored_object(patch)
            written = await self._verbs.patch(
                ctx, row, namespace, name, patch, patch_type, subresource
            )
            return _shown(written, conversion) if conversion else written
        for attempt in range(_ATTEMPTS):
            old = orjson.loads(await self.get(ctx, resource, namespace, name))
            new = apply_patch(resource, subresource, old, patch, patch_type)
            revision = old["metadata"]["resourceVersion"]
            stated = (new.get("metadata") or {}).get("resourceVersion") == revision
            try:
                return await self.update(ctx, resource, namespace, name, new, subresource)
            except ConflictError:
                if not stated or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _checked_update(
        self,
        ctx: Context,
        row: Resource,
        conversion: Conversion,
        namespace: str,
        name: str,
        stored: Object,
    ) -> Written:
        """Write what its version takes as a step from what is there, and nothing in between."""
        for attempt in range(_ATTEMPTS):
            meta, old = dict(stored["metadata"]), None
            with suppress(NotFoundError):
                old = orjson.loads(await self._verbs.get(ctx, row, namespace, name))
            pinned = old is not None and not meta.get("resourceVersion")
            if old is not None and pinned:
                meta["resourceVersion"] = old["metadata"]["resourceVersion"]
            new = stored | {"metadata": meta}
            _refuse(row, conversion, namespace, name, new, old)
            try:
                return await self._verbs.update(ctx, row, namespace, name, new)
            except ConflictError:
                if not pinned or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        """See `Verbs.delete`."""
        row, conversion = _stored(resource)
        written = await self._verbs.delete(ctx, row, namespace, name, options)
        return _shown(written, conversion) if conversion else written

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        """See `Verbs.delete_collection`."""
        row, conversion = _stored(resource)
        if conversion is None:
            return await self._verbs.delete_collection(ctx, row, namespace, selection, options)
        selection = replace(selection, fields=conversion.stored_fields(selection.fields))
        page = await self._verbs.delete_collection(ctx, row, namespace, selection, options)
        return replace(page, items=[conversion.shown(raw) for raw in page.items])


def _stored(resource: Resource) -> tuple[Resource, Conversion | None]:
    """Return the row that holds a row's objects, and how they become its own."""
    if resource.stored_as is None:
        return resource, None
    conversion = CONVERSIONS.get(resource.kind)
    if conversion is None:
        raise MethodNotAllowedError(
            "the server does not allow this method on the requested resource"
        )
    return BY_KIND[resource.stored_as], conversion


def _refuse(
    row: Resource,
    conversion: Conversion,
    namespace: str,
    name: str,
    new: Object,
    old: Object | None,
) -> None:
    """Refuse what the version that was used does not take; the registry looks at the rest.

    Raises:
        InvalidError: with every cause there is.
    """
    if conversion.refused is None:
        return
    meta = new["metadata"]
    placed = new | {"metadata": meta | {"namespace": meta.get("namespace") or namespace}}
    if causes := conversion.refused(placed, old):
        raise refusal.invalid(row, name, causes)


def _shown(written: Written, conversion: Conversion) -> Written:
    return replace(written, object=conversion.shown(written.object))


async def _shown_events(
    events: AsyncIterator[Sequence[WatchEvent]], conversion: Conversion
) -> AsyncIterator[Sequence[WatchEvent]]:
    async with aclosing(cast("Any", events)) as batches:
        async for batch in batches:
            yield [replace(event, object=conversion.shown(event.object)) for event in batch]
