"""`Registry`: the verbs (`wherry.apiserver.verbs`) over a store, and the caches behind them.

Each verb is performed by one of the classes beside this file; here they are put together.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.apiserver.admission import Chain, default_chain
from wherry.apiserver.allocator import ServiceAllocator
from wherry.apiserver.cache.feed import CacheFollower, Feed, Follower, caches_for
from wherry.apiserver.registry import scale
from wherry.apiserver.registry.actions import Actions
from wherry.apiserver.registry.addresses import ServiceAddresses
from wherry.apiserver.registry.change import Changer
from wherry.apiserver.registry.compaction import Compactor
from wherry.apiserver.registry.config import RegistryConfig
from wherry.apiserver.registry.create import Creator
from wherry.apiserver.registry.events import EventLease
from wherry.apiserver.registry.parts import Parts
from wherry.apiserver.registry.read import Reader
from wherry.apiserver.registry.remove import Remover
from wherry.apiserver.registry.request import VIEWS, not_served
from wherry.apiserver.registry.service_ip import first_address
from wherry.apiserver.registry.token_request import TokenRequests
from wherry.apiserver.registry.write import Writer
from wherry.apiserver.resources import BY_KIND, RESOURCES, Resource
from wherry.apiserver.storage import Entry
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    Page,
    Push,
    WatchOptions,
    Written,
)
from wherry.client.api import PatchType, WatchEvent
from wherry.store.kv import Store

Object = dict[str, Any]


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
        self._rng = rng
        self.config = config or RegistryConfig()
        self.caches = caches_for(
            RESOURCES,
            ring_events=self.config.ring_events,
            ring_bytes=self.config.ring_bytes,
            queue_events=self.config.queue_events,
        )
        services = ServiceAllocator(
            BY_KIND[kinds.SERVICE],
            cidr=self.config.service_cidr,
            node_ports=self.config.node_ports,
            reserved=(first_address(self.config.service_cidr), self.config.dns_ip),
            rng=rng,
        )
        followers: list[Follower] = [CacheFollower(cache) for cache in self.caches.values()]
        followers += [services.ips, services.ports]
        self.feed = Feed(store, followers, rng=rng)
        self._reader = Reader(
            store, self.feed, self.caches, fresh_timeout_s=self.config.fresh_timeout_s
        )
        self._compactor = Compactor(store, interval_s=self.config.compact_s)
        self._parts = Parts(
            clock=clock,
            rng=rng,
            caches=self.caches,
            reader=self._reader,
            writer=Writer(store, self._reader, self.caches),
            admission=admission or default_chain(rng),
            addresses=ServiceAddresses(services, self._reader),
            event_lease=EventLease(store, clock, self.config.event_ttl_s),
            tokens=TokenRequests(self.config.tokens, clock=clock, rng=rng),
            root_ca=self.config.root_ca,
        )
        self._creator = Creator(self._parts)
        self._changer = Changer(self._parts, self._creator)
        self._remover = Remover(self._parts)
        self._actions = Actions(self._parts, self._remover)

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
        revision: str = "",
    ) -> bytes:
        """See `Verbs.get`."""
        raw = await self._reader.get(resource, namespace, name, revision)
        if subresource == "scale":
            return orjson.dumps(scale.scale_of(orjson.loads(raw)))
        if subresource not in VIEWS:
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
        push: Push | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Verbs.watch`."""
        return self._reader.watch(resource, namespace, options, push)

    async def find(
        self, resource: Resource, namespace: str, name: str, *, fresh: bool = False
    ) -> Entry | None:
        """Return an object for authentication; see `admission.Lookup`."""
        return await self._parts.find(resource, namespace, name, fresh=fresh)

    # -- writing ----------------------------------------------------------------------------

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
            return await self._actions.perform(ctx, resource, namespace, name, obj, subresource)
        return await self._creator.create(ctx, resource, namespace, obj, name)

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
        return await self._changer.update(ctx, resource, namespace, name, obj, subresource)

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
        return await self._changer.patch(
            ctx, resource, namespace, name, patch, patch_type, subresource
        )

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        """See `Verbs.delete`."""
        return await self._remover.delete(ctx, resource, namespace, name, options)

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        """See `Verbs.delete_collection`."""
        return await self._remover.delete_collection(ctx, resource, namespace, selection, options)
