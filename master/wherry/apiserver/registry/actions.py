"""Subresources that are done rather than stored: binding and evicting a pod, asking for a token."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from wherry.api import kinds
from wherry.apiserver.plan import Current, Guard, Plan
from wherry.apiserver.registry import eviction
from wherry.apiserver.registry.binding import bound
from wherry.apiserver.registry.parts import Parts, target_of
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.registry.remove import Remover
from wherry.apiserver.registry.request import not_served
from wherry.apiserver.resources import Resource
from wherry.apiserver.schema import normalize
from wherry.apiserver.storage import encode
from wherry.apiserver.verbs import Context, Written
from wherry.store.kv import Compare, Op, Put
from wherry.store.kv import Target as Compared

Object = dict[str, Any]
_SUCCESS = {"metadata": {}, "kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}


class Actions:
    """Performs what is POSTed to a subresource."""

    def __init__(self, parts: Parts, remover: Remover) -> None:
        self._parts = parts
        self._remover = remover

    async def perform(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        subresource: str,
    ) -> Written:
        """Act on one object.

        Raises:
            NotFoundError, MethodNotAllowedError: there is no such subresource, or it cannot be
                posted to.
        """
        target = target_of(resource, namespace, name)
        served = resource.subresource(subresource)
        if served is not None and served.body is not None:
            body, warnings = normalize(served.body, body, ctx.field_validation)
            ctx.warnings.extend(w for w in warnings if w not in ctx.warnings)
        match resource.kind, subresource:
            case kinds.POD, "binding":
                return await self._bind(ctx, target, body)
            case kinds.POD, "eviction":
                return await self._evict(ctx, target, body)
            case kinds.SERVICE_ACCOUNT, "token":
                raw = await self._parts.reader.get(resource, namespace, name)
                account, user = orjson.loads(raw), ctx.user
                answer = await self._parts.tokens.answer(account, body, user, self._parts)
                return Written(orjson.dumps(answer), created=True)
            case _:
                raise not_served(resource, "create", subresource)

    async def _bind(self, ctx: Context, target: Target, body: Object) -> Written:
        async def transform(current: Current) -> Plan:
            pod = bound(target, current.decode(), body, now=self._parts.clock.now())
            return Plan(encode(pod))

        await self._parts.writer.change(
            target.resource, target.namespace, target.name, transform, dry_run=ctx.dry_run
        )
        return Written(orjson.dumps(_SUCCESS), created=True)

    async def _evict(self, ctx: Context, target: Target, body: Object) -> Written:
        """Delete a pod unless its budget forbids it; pod and budget change together or not."""
        options, dry_run = eviction.eviction_options(target, body)
        await self._remover.admit(ctx, target.resource, target.namespace, target.name)

        async def transform(current: Current) -> Plan:
            pod, now = current.decode(), self._parts.clock.now()
            last = eviction.evicted(pod, now=now)
            plan = self._remover.plan(target, last, pod, current, options)
            if eviction.free_of_budgets(pod):
                return plan
            guards, also = await self._spend(target, pod, fresh=current.fresh, now=now)
            return replace(plan, guards=[*plan.guards, *guards], also=[*plan.also, *also])

        dry_run = dry_run or ctx.dry_run
        await self._parts.writer.change(
            target.resource, target.namespace, target.name, transform, dry_run=dry_run
        )
        return Written(orjson.dumps(_SUCCESS), created=True)

    async def _spend(
        self, target: Target, pod: Object, *, fresh: bool, now: float
    ) -> tuple[Sequence[Guard], Sequence[Op]]:
        """Return what makes the pod's budget pay: another writer of it means to plan again."""
        parts, row = self._parts, eviction.BUDGETS
        if fresh:
            await parts.reader.catch_up_to_now()
        entry = eviction.covering(parts.caches[row].scan(target.namespace), pod)
        if entry is None:
            return (), ()
        budget = orjson.loads(entry.object)
        new = eviction.spent(budget, pod, now=now)
        mine = Guard(Compare(entry.key, Compared.MOD, "=", entry.revision))
        return [mine], [] if new is budget else [Put(entry.key, encode(new))]
