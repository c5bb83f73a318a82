"""Deleting objects, one or many."""

import asyncio
from typing import Any

import orjson

from wherry.api.errors import NotFoundError, StatusError
from wherry.apiserver.admission import Operation, Request
from wherry.apiserver.plan import Current, Plan
from wherry.apiserver.registry import deletion
from wherry.apiserver.registry.change import plan_of
from wherry.apiserver.registry.parts import Parts, target_of, written
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.registry.request import check_delete_preconditions
from wherry.apiserver.resources import Resource
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions, Page, Written

Object = dict[str, Any]
_DELETES_AT_ONCE = 10


class Remover:
    """Performs `delete` and `delete_collection`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        """See `Verbs.delete`."""
        await self.admit(ctx, resource, namespace, name)
        target = target_of(resource, namespace, name)

        async def transform(current: Current) -> Plan:
            old = current.decode()
            return self.plan(target, old, old, current, options)

        outcome = await self._parts.writer.change(
            resource, namespace, name, transform, dry_run=ctx.dry_run
        )
        return written(outcome)

    async def admit(self, ctx: Context, resource: Resource, namespace: str, name: str) -> None:
        """Ask admission whether the object may be deleted."""
        request = Request(Operation.DELETE, ctx.user, resource, namespace, name)
        await self._parts.admission.validate(request, self._parts)

    def plan(
        self, target: Target, last: Object, old: Object, current: Current, options: DeleteOptions
    ) -> Plan:
        """Plan the deletion of `old`, which is stored as `last` where it stays for a while."""
        check_delete_preconditions(target, old, options)
        resource = target.resource
        decision = deletion.decide(resource.kind, last, options, now=self._parts.clock.now())
        if isinstance(decision, deletion.Mark):
            return plan_of(resource, decision.object, old, current)
        return Plan(None, also=self._parts.addresses.freed(resource, old))

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        """See `Verbs.delete_collection`; what vanishes meanwhile is as good as deleted."""
        page = await self._parts.reader.list(resource, namespace, selection)
        todo = iter(page.items)

        async def work() -> None:
            for raw in todo:
                meta = orjson.loads(raw)["metadata"]
                try:
                    await self.delete(
                        ctx, resource, meta.get("namespace", ""), meta["name"], options
                    )
                except NotFoundError:
                    continue

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(_DELETES_AT_ONCE, len(page.items))):
                    tasks.create_task(work())
        except ExceptionGroup as failed:
            # Not `except*`: before Python 3.11.4 what is raised there is put into a group again.
            refused, failures = failed.split(StatusError)
            if refused is None or failures is not None:
                raise
            raise _first(refused) from failed
        return page


def _first(group: ExceptionGroup[StatusError]) -> StatusError:
    found: Any = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    error: StatusError = found
    return error
