"""Creating objects: names that are made up, admission, addresses, and one transaction."""

from collections.abc import Sequence
from typing import Any

from wherry.api import kinds
from wherry.api.errors import AlreadyExistsError
from wherry.apiserver import refusal
from wherry.apiserver.admission import Operation, Request
from wherry.apiserver.name import generate_name, new_uid
from wherry.apiserver.patch import copy_json
from wherry.apiserver.plan import Plan
from wherry.apiserver.registry import managed, prepare
from wherry.apiserver.registry.namespace_content import content_of
from wherry.apiserver.registry.parts import Parts, target_of, written
from wherry.apiserver.resources import Resource
from wherry.apiserver.storage import encode
from wherry.apiserver.verbs import Context, Written

Object = dict[str, Any]
_NAME_ATTEMPTS = 8
"""How often a generated name may be taken (kube-apiserver's number)."""


class Creator:
    """Performs `create`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(
        self, ctx: Context, resource: Resource, namespace: str, obj: Object, name: str = ""
    ) -> Written:
        """See `Verbs.create`. `obj` belongs to this from now on."""
        obj = prepare.check_types(ctx, resource, obj)
        meta = obj["metadata"]
        generated = not (meta.get("name") or name) and meta.get("generateName")
        for attempt in range(_NAME_ATTEMPTS):
            if generated:
                meta["name"] = generate_name(meta["generateName"], self._parts.rng)
            try:
                return await self.create_checked(
                    ctx, resource, namespace, obj, name, generated=bool(generated)
                )
            except AlreadyExistsError as error:
                if not meta.get("generateName"):
                    raise
                if not generated or attempt == _NAME_ATTEMPTS - 1:
                    raise refusal.not_generated(resource, meta["name"]) from error
        raise AssertionError("the last attempt returns or raises")

    async def create_checked(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: Object,
        name: str,
        managers: Sequence[Object] | None = None,
        *,
        generated: bool = False,
    ) -> Written:
        """Create an object that has passed `check_types`.

        Args:
            ctx: Of the request.
            resource: What it is.
            namespace: Where.
            obj: It, and it belongs to this from now on.
            name: Its name, where its metadata may lack it.
            managers: Its field managers if it was applied.
            generated: The name was made up: whom admission refuses is told what they asked for.
        """
        parts = self._parts
        name = name or obj["metadata"].get("name", "")
        target = target_of(resource, namespace, name)
        now = parts.clock.now()
        prepare.begin_create(target, obj, now=now, uid=new_uid(parts.rng))
        managed.on_create(ctx, resource, obj, managers, now=now)

        asked = obj["metadata"]["generateName"] if generated else name

        async def make(attempt: int) -> Plan:
            request = Request(
                Operation.CREATE,
                ctx.user,
                resource,
                namespace,
                asked,
                object=obj,
                fresh=attempt > 0,
            )
            await parts.admission.mutate(request, parts)
            if attempt == 0:
                prepare.finish_create(target, obj)
            await parts.admission.validate(request, parts)
            # A guess at a free address that fails must leave no trace in the object.
            new = copy_json(obj) if resource.kind == kinds.SERVICE else obj
            allocation = await parts.addresses.allocate(resource, new, None, again=attempt > 0)
            lease = await parts.event_lease.current() if resource.kind == kinds.EVENT else 0
            guards, also = [*request.guards, *allocation.guards], allocation.ops
            if resource.kind == kinds.NAMESPACE:
                absent, content = await content_of(parts, name, again=attempt > 0)
                guards, also = [*guards, *absent], [*also, *content]
            return Plan(encode(new), guards, also, lease)

        outcome = await parts.writer.create(resource, namespace, name, make, dry_run=ctx.dry_run)
        return written(outcome, created=True)
