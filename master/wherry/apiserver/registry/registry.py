"""`Registry`: the verbs (`wherry.apiserver.verbs`) over a store.

Reads are `Reader`'s, transactions `Writer`'s, decisions pure functions; this file says in
which order they are taken for each verb.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    NotFoundError,
    StatusError,
)
from wherry.apiserver import refusal
from wherry.apiserver.admission import Chain, Operation, Request, default_chain
from wherry.apiserver.allocator import Allocation, ServiceAllocator
from wherry.apiserver.cache.feed import CacheFollower, Feed, Follower, caches_for
from wherry.apiserver.patch import copy_json
from wherry.apiserver.plan import Current, Plan
from wherry.apiserver.registry import approval, deletion, managed, prepare, scale
from wherry.apiserver.registry.binding import bound
from wherry.apiserver.registry.compaction import Compactor
from wherry.apiserver.registry.config import RegistryConfig
from wherry.apiserver.registry.events import EventLease
from wherry.apiserver.registry.managed import Edited
from wherry.apiserver.registry.name import generate_name, new_uid
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.registry.read import Reader
from wherry.apiserver.registry.request import (
    apply_patch,
    check_delete_preconditions,
    check_subresource,
    eviction_options,
    not_served,
)
from wherry.apiserver.registry.service_ip import first_address
from wherry.apiserver.registry.token_request import TokenRequests
from wherry.apiserver.registry.write import Outcome, Writer
from wherry.apiserver.resources import BY_KIND, RESOURCES, Resource
from wherry.apiserver.storage import Entry, encode, with_revision
from wherry.apiserver.strategy import strategy_for
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    Page,
    WatchOptions,
    Written,
)
from wherry.client.api import PatchType, WatchEvent
from wherry.store.kv import Store

Object = dict[str, Any]

_NAME_ATTEMPTS = 8
"""How often a generated name may be taken (kube-apiserver's number)."""
_APPLY_ATTEMPTS = 8
"""How often an object may appear and vanish under an apply."""
_DELETES_AT_ONCE = 10
_SUCCESS = {"metadata": {}, "kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}


class Registry:
    """Implements `Verbs`. `run()` keeps the caches; until it has synced, reads wait."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        rng: random.Random,
        config: RegistryConfig | None = None,
        admission: Chain | None = None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self.config = config or RegistryConfig()
        self._admission = admission or default_chain()
        self.caches = caches_for(
            RESOURCES,
            ring_events=self.config.ring_events,
            ring_bytes=self.config.ring_bytes,
            queue_events=self.config.queue_events,
        )
        self._services = ServiceAllocator(
            BY_KIND[kinds.SERVICE],
            cidr=self.config.service_cidr,
            node_ports=self.config.node_ports,
            reserved=(first_address(self.config.service_cidr), self.config.dns_ip),
            rng=rng,
        )
        followers: list[Follower] = [CacheFollower(cache) for cache in self.caches.values()]
        followers += [self._services.ips, self._services.ports]
        self.feed = Feed(store, followers, rng=rng)
        self._reader = Reader(
            store, self.feed, self.caches, fresh_timeout_s=self.config.fresh_timeout_s
        )
        self._writer = Writer(store, self._reader, self.caches)
        self._compactor = Compactor(store, interval_s=self.config.compact_s)
        self._event_lease = EventLease(store, clock, self.config.event_ttl_s)
        self._tokens = TokenRequests(self.config.tokens, clock=clock, rng=rng)

    @property
    def synced(self) -> asyncio.Event:
        """Set once the caches hold the store's state: the server is ready."""
        return self.feed.synced

    async def run(self) -> None:
        """Follow the store, send bookmarks and compact, until cancelled; then every watch ends."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.feed.run())
                tasks.create_task(self._send_bookmarks())
                tasks.create_task(self._compactor.run())
        finally:
            for cache in self.caches.values():
                cache.end_watches()

    async def _send_bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*self.config.bookmark_s))
            for cache in self.caches.values():
                cache.send_bookmarks()

    # -- reading ----------------------------------------------------------------------------

    async def get(
        self,
        ctx: Context,  # noqa: ARG002
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str = "",
    ) -> bytes:
        """See `Verbs.get`."""
        raw = await self._reader.get(resource, namespace, name)
        if subresource == "scale":
            return orjson.dumps(scale.scale_of(orjson.loads(raw)))
        if subresource not in ("", "status"):
            raise not_served(resource, "get", subresource)
        return raw

    async def list(
        self,
        ctx: Context,  # noqa: ARG002
        resource: Resource,
        namespace: str,
        options: ListOptions,
    ) -> Page:
        """See `Verbs.list`."""
        return await self._reader.list(resource, namespace, options)

    def watch(
        self,
        ctx: Context,  # noqa: ARG002
        resource: Resource,
        namespace: str,
        options: WatchOptions,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Verbs.watch`."""
        return self._reader.watch(resource, namespace, options)

    async def find(
        self, resource: Resource, namespace: str, name: str, *, fresh: bool = False
    ) -> Entry | None:
        """Return an object for admission and authentication; see `admission.Lookup`."""
        key = resource.key(namespace, name)
        cache = self.caches[resource]
        if not fresh and (entry := cache.get(key)) is not None:
            return entry
        kv = await self._reader.find(key)
        return None if kv is None else cache.codec.entry(key, kv.value, kv.mod_revision)

    # -- creating ---------------------------------------------------------------------------

    async def create(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: Object,
        name: str = "",
        subresource: str = "",
    ) -> Written:
        """See `Verbs.create`. `obj` is the registry's from now on."""
        if subresource:
            return await self._act(ctx, resource, namespace, obj, name, subresource)
        obj = prepare.check_types(ctx, resource, obj)
        meta = obj["metadata"]
        generated = not (meta.get("name") or name) and meta.get("generateName")
        for attempt in range(_NAME_ATTEMPTS):
            if generated:
                meta["name"] = generate_name(meta["generateName"], self._rng)
            try:
                return await self._create(ctx, resource, namespace, obj, name)
            except AlreadyExistsError:
                if not generated or attempt == _NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _create(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: Object,
        name: str,
        managers: Sequence[Object] | None = None,
    ) -> Written:
        name = name or obj["metadata"].get("name", "")
        target = Target(resource, strategy_for(resource.kind), namespace, name)
        now = self._clock.now()
        prepare.begin_create(target, obj, now=now, uid=new_uid(self._rng))
        managed.on_create(ctx, resource, obj, managers, now=now)

        async def make(attempt: int) -> Plan:
            request = Request(
                Operation.CREATE, ctx.user, resource, namespace, name, object=obj, fresh=attempt > 0
            )
            self._admission.mutate(request)
            if attempt == 0:
                prepare.finish_create(target, obj)
            await self._admission.validate(request, self)
            # A guess at a free address that fails must leave no trace in the object.
            new = copy_json(obj) if resource.kind == kinds.SERVICE else obj
            allocation = await self._allocate(resource, new, None, again=attempt > 0)
            lease = await self._event_lease.current() if resource.kind == kinds.EVENT else 0
            guards = [*request.guards, *allocation.guards]
            return Plan(encode(new), guards, allocation.ops, lease)

        outcome = await self._writer.create(resource, namespace, name, make, dry_run=ctx.dry_run)
        return _written(outcome, created=True)

    async def _allocate(
        self, resource: Resource, new: Object, old: Object | None, *, again: bool
    ) -> Allocation:
        """Claim addresses for a Service; `again`: the caches were behind, let them catch up."""
        if resource.kind != kinds.SERVICE:
            return Allocation()
        if again:
            await self._reader.catch_up_to_now()
        return self._services.allocate(new, old)

    async def _act(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        body: Object,
        name: str,
        subresource: str,
    ) -> Written:
        if subresource == "binding" and resource.kind == kinds.POD:
            return await self._bind(ctx, resource, namespace, name, body)
        if subresource == "eviction" and resource.kind == kinds.POD:
            options = eviction_options(body)
            await self.delete(ctx, resource, namespace, name, options)
            return Written(orjson.dumps(_SUCCESS), created=True)
        if subresource == "token" and resource.kind == kinds.SERVICE_ACCOUNT:
            raw = await self._reader.get(resource, namespace, name)
            answer = await self._tokens.answer(orjson.loads(raw), body, self)
            return Written(orjson.dumps(answer), created=True)
        raise not_served(resource, "create", subresource)

    async def _bind(
        self, ctx: Context, resource: Resource, namespace: str, name: str, body: Object
    ) -> Written:
        target = Target(resource, strategy_for(resource.kind), namespace, name)

        async def transform(current: Current) -> Plan:
            pod = bound(target, current.decode(), body, now=self._clock.now())
            return Plan(encode(pod))

        await self._writer.change(resource, namespace, name, transform, dry_run=ctx.dry_run)
        return Written(orjson.dumps(_SUCCESS), created=True)

    # -- changing ---------------------------------------------------------------------------

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

        def replace(old: Object) -> Edited:  # noqa: ARG001  (a PUT is what it is)
            return Edited(obj)

        target = Target(resource, strategy_for(resource.kind), namespace, name)
        try:
            return await self._change(ctx, target, replace, subresource)
        except NotFoundError:
            stated = (obj.get("metadata") or {}).get("resourceVersion")
            if subresource or stated or not target.strategy.create_on_update:
                raise
            if ctx.may_create is not None:
                ctx.may_create()
            return await self.create(ctx, resource, namespace, obj, name)

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
            return Edited(apply_patch(resource, subresource, old, patch, patch_type))

        target = Target(resource, strategy_for(resource.kind), namespace, name)
        if patch_type is PatchType.APPLY:
            return await self._apply(ctx, target, patch, subresource)
        return await self._change(ctx, target, patched, subresource)

    async def _apply(self, ctx: Context, target: Target, patch: Any, subresource: str) -> Written:
        """Apply a configuration; the object is created where it is missing."""
        resource, now = target.resource, self._clock.now()
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
                return await self._create(
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
            old, now = current.decode(), self._clock.now()

            def planned(new: Object, edited: Edited) -> Plan:
                tracked = managed.on_change(ctx, resource, subresource, new, old, edited, now=now)
                return _plan(resource, tracked, old, current)

            if subresource == "scale":
                edited = edit(old if ctx.applies else scale.scale_of(old))
                new = edited.object if ctx.applies else scale.scaled(target, old, edited.object)
                return await self._plan_update(ctx, target, new, current, edited, subresource)
            edited = edit(old)
            sent = prepare.check_types(ctx, resource, edited.object)
            if subresource == "status":
                return planned(prepare.update_status(target, sent, old), edited)
            if subresource == "approval":
                return planned(approval.decided(target, sent, old, now=now), edited)
            if subresource == "finalize":
                return planned(_finalized(target, sent, old), edited)
            return await self._plan_update(ctx, target, sent, current, edited, subresource)

        outcome = await self._writer.change(
            resource, target.namespace, target.name, transform, dry_run=ctx.dry_run
        )
        written = _written(outcome)
        if subresource == "scale":
            return Written(orjson.dumps(scale.scale_of(orjson.loads(written.object))))
        return written

    async def _plan_update(
        self,
        ctx: Context,
        target: Target,
        new: Object,
        current: Current,
        edited: Edited,
        subresource: str,
    ) -> Plan:
        old = current.decode()
        sent = Edited(new, edited.managers, new["metadata"].get("managedFields"))
        prepare.begin_update(target, new, old)
        new = managed.on_change(
            ctx, target.resource, subresource, new, old, sent, now=self._clock.now()
        )
        request = Request(
            Operation.UPDATE, ctx.user, target.resource, target.namespace, target.name,
            object=new, old=old,
        )  # fmt: skip
        self._admission.mutate(request)
        prepare.finish_update(target, new, old)
        await self._admission.validate(request, self)
        allocation = await self._allocate(target.resource, new, old, again=current.fresh)
        plan = _plan(target.resource, new, old, current)
        also = self._freed(target.resource, old) if plan.value is None else allocation.ops
        guards = [*request.guards, *allocation.guards]
        return Plan(plan.value, guards, also)

    def _freed(self, resource: Resource, old: Object) -> Sequence[Any]:
        return self._services.release(old) if resource.kind == kinds.SERVICE else ()

    # -- deleting ---------------------------------------------------------------------------

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        """See `Verbs.delete`."""
        request = Request(Operation.DELETE, ctx.user, resource, namespace, name)
        await self._admission.validate(request, self)
        target = Target(resource, strategy_for(resource.kind), namespace, name)

        async def transform(current: Current) -> Plan:
            old = current.decode()
            check_delete_preconditions(target, old, options)
            decision = deletion.decide(resource.kind, old, options, now=self._clock.now())
            if isinstance(decision, deletion.Mark):
                return _plan(resource, decision.object, old, current)
            return Plan(None, also=self._freed(resource, old))

        outcome = await self._writer.change(
            resource, namespace, name, transform, dry_run=ctx.dry_run
        )
        return _written(outcome)

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        """See `Verbs.delete_collection`; what vanishes meanwhile is as good as deleted."""
        page = await self.list(ctx, resource, namespace, selection)
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
        except* StatusError as failed:
            raise _first(failed) from failed
        return page


def _first(group: BaseExceptionGroup[StatusError]) -> StatusError:
    found: Any = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    error: StatusError = found
    return error


def _plan(resource: Resource, new: Object, old: Object, current: Current) -> Plan:
    """Plan to store `new`, to remove it where its last finalizer went, or to leave all as it is."""
    if new == old:
        return Plan(current.value)
    if deletion.released(resource.kind, new):
        return Plan(None)
    return Plan(encode(new))


def _finalized(target: Target, sent: Object, old: Object) -> Object:
    """Return a namespace with the `spec.finalizers` that were sent."""
    prepare.check_preconditions(target, sent, old)
    finalizers = sent.get("spec", {}).get("finalizers", [])
    return {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}


def _written(outcome: Outcome, *, created: bool = False) -> Written:
    raw = with_revision(outcome.value, outcome.revision) if outcome.revision else outcome.value
    return Written(raw, created=created, deleted=outcome.deleted)
