"""Changing objects: replace, patch, apply, and the subresources that are parts of an object."""

from collections.abc import Callable
from typing import Any

import orjson

from wherry.api.errors import AlreadyExistsError, NotFoundError
from wherry.apiserver import refusal
from wherry.apiserver.admission import Operation, Request
from wherry.apiserver.plan import Current, Plan
from wherry.apiserver.registry import (
    approval,
    deletion,
    ephemeral,
    managed,
    prepare,
    resize,
    scale,
)
from wherry.apiserver.registry.create import Creator
from wherry.apiserver.registry.managed import Edited
from wherry.apiserver.registry.parts import Parts, target_of, written
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.registry.request import apply_patch, check_subresource, refusal_of
from wherry.apiserver.resources import SCALE_VIEW, Resource
from wherry.apiserver.storage import encode
from wherry.apiserver.verbs import Context, Written
from wherry.client.api import PatchType

Object = dict[str, Any]
_APPLY_ATTEMPTS = 8
"""How often an object may appear and vanish under an apply."""


class Changer:
    """Performs `update` and `patch`."""

    def __init__(self, parts: Parts, creator: Creator) -> None:
        self._parts = parts
        self._creator = creator

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
        target = target_of(resource, namespace, name)

        def replace(old: Object) -> Edited:
            prepare.check_uid(target, obj, old["metadata"]["uid"])
            return Edited(obj)

        try:
            return await self._change(ctx, target, replace, subresource)
        except NotFoundError:
            sent = _checked(ctx, resource, subresource, Edited(obj))
            prepare.check_uid(target, sent, "")
            stated = sent["metadata"].get("resourceVersion")
            if subresource or stated or not target.strategy.create_on_update:
                raise
            if ctx.may_create is not None:
                ctx.may_create()
            return await self._creator.create(ctx, resource, namespace, obj, name)

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

        def patched(old: Object) -> Edited:
            made = apply_patch(resource, subresource, old, patch, patch_type)
            return Edited(made, refuse=refusal_of(made, patch, patch_type))

        target = target_of(resource, namespace, name)
        if patch_type is PatchType.APPLY:
            return await self._apply(ctx, target, patch, subresource)
        return await self._change(ctx, target, patched, subresource)

    async def _apply(self, ctx: Context, target: Target, patch: Any, subresource: str) -> Written:
        """Apply a configuration; the object is created where it is missing."""
        resource, now = target.resource, self._parts.clock.now()
        check_subresource(resource, subresource)
        config = managed.configuration(ctx, target, patch, subresource)

        def applied(old: Object) -> Edited:
            return managed.apply(ctx, target, subresource, old, config, now=now)

        for _ in range(_APPLY_ATTEMPTS):
            try:
                return await self._change(ctx, target, applied, subresource)
            except NotFoundError:
                if subresource:
                    raise
            if ctx.may_create is not None:
                ctx.may_create()
            managed.check_absent(target, config)
            first = applied({"metadata": {}})
            obj = prepare.check_types(ctx, resource, first.object)
            try:
                return await self._creator.create_checked(
                    ctx, resource, target.namespace, obj, target.name, first.managers
                )
            except AlreadyExistsError:
                continue  # somebody else was faster: apply to what they made
        raise refusal.conflict(resource, target.name)

    async def _change(
        self, ctx: Context, target: Target, edit: Callable[[Object], Edited], subresource: str
    ) -> Written:
        resource = target.resource
        check_subresource(resource, subresource)

        async def transform(current: Current) -> Plan:
            if subresource in _WHOLE:
                return await self._plan_whole(ctx, target, current, edit, subresource)
            return self._plan_part(ctx, target, current, edit, subresource)

        outcome = await self._parts.writer.change(
            resource, target.namespace, target.name, transform, dry_run=ctx.dry_run
        )
        done = written(outcome)
        if subresource == "scale":
            return Written(orjson.dumps(scale.scale_of(orjson.loads(done.object))))
        return done

    def _plan_part(
        self,
        ctx: Context,
        target: Target,
        current: Current,
        edit: Callable[[Object], Edited],
        subresource: str,
    ) -> Plan:
        """Plan to change what the subresource is, and nothing else; no admission is asked."""
        old, now = current.decode(), self._parts.clock.now()
        edited = edit(old)
        sent = prepare.check_types(ctx, target.resource, edited.object, edited.refuse)
        prepare.check_part(target, sent, old)
        match subresource:
            case "status":
                sent = approval.dated(target, sent, old, now=now)
                new = prepare.update_status(target, sent, old)
            case "approval":
                new = approval.decided(target, sent, old, now=now)
            case "ephemeralcontainers":
                new = ephemeral.added(target, sent, old)
            case "resize":
                new = resize.resized(target, sent, old)
            case _:
                new = _finalized(sent, old)
        tracked = managed.on_change(ctx, target.resource, subresource, new, old, edited, now=now)
        return plan_of(target.resource, tracked, old, current)

    async def _plan_whole(
        self,
        ctx: Context,
        target: Target,
        current: Current,
        edit: Callable[[Object], Edited],
        subresource: str,
    ) -> Plan:
        """Plan to change the object itself, or by its scale."""
        parts, resource = self._parts, target.resource
        old = current.decode()
        if subresource == "scale":
            edited = edit(old if ctx.applies else scale.scale_of(old))
            made = edited.object if ctx.applies else _checked(ctx, resource, subresource, edited)
            scale.check_uid(target, made, old)
            new = made if ctx.applies else scale.scaled(target, old, made)
        else:
            edited = edit(old)
            new = _checked(ctx, resource, subresource, edited)
        sent = Edited(new, edited.managers, new["metadata"].get("managedFields"))
        prepare.begin_update(target, new, old)
        new = managed.on_change(ctx, resource, subresource, new, old, sent, now=parts.clock.now())
        request = Request(
            Operation.UPDATE, ctx.user, resource, target.namespace, target.name,
            object=new, old=old,
        )  # fmt: skip
        await parts.admission.mutate(request, parts)
        prepare.finish_update(target, new, old)
        await parts.admission.validate(request, parts)
        allocation = await parts.addresses.allocate(resource, new, old, again=current.fresh)
        plan = plan_of(resource, new, old, current)
        also = parts.addresses.freed(resource, old) if plan.value is None else allocation.ops
        guards = [*request.guards, *allocation.guards]
        return Plan(plan.value, guards, also)


_WHOLE = ("", "scale")
"""Subresources that are admitted and validated as a change of the whole object."""


def _checked(ctx: Context, resource: Resource, subresource: str, edited: Edited) -> Object:
    """Return what is to be, in the form of the kind that the subresource has."""
    row = SCALE_VIEW if subresource == "scale" else resource
    return prepare.check_types(ctx, row, edited.object, edited.refuse)


def plan_of(resource: Resource, new: Object, old: Object, current: Current) -> Plan:
    """Plan to store `new`, to remove it where its last finalizer went, or to leave all as it is."""
    if new == old:
        return Plan(current.value)
    if deletion.released(resource.kind, new):
        return Plan(None)
    return Plan(encode(new))


def _finalized(sent: Object, old: Object) -> Object:
    """Return a namespace with the `spec.finalizers` that were sent."""
    finalizers = sent.get("spec", {}).get("finalizers", [])
    return {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}
