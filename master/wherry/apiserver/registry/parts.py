"""What the registry's verbs work with: one store's reader and writer, admission, addresses."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherry.api.clock import Clock
from wherry.apiserver.admission import Chain
from wherry.apiserver.cache.cache import WatchCache
from wherry.apiserver.registry.addresses import ServiceAddresses
from wherry.apiserver.registry.events import EventLease
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.registry.read import Reader
from wherry.apiserver.registry.token_request import TokenRequests
from wherry.apiserver.registry.write import Outcome, Writer
from wherry.apiserver.resources import Resource
from wherry.apiserver.storage import Entry, with_revision
from wherry.apiserver.strategy import strategy_for
from wherry.apiserver.verbs import Written


@dataclass(frozen=True, slots=True)
class Parts:
    """Shared by all verbs; also how admission sees other objects (`admission.View`)."""

    clock: Clock
    rng: random.Random
    caches: Mapping[Resource, WatchCache]
    reader: Reader
    writer: Writer
    admission: Chain
    addresses: ServiceAddresses
    event_lease: EventLease
    tokens: TokenRequests
    root_ca: str

    async def find(
        self, resource: Resource, namespace: str, name: str, *, fresh: bool = False
    ) -> Entry | None:
        """Return an object from the cache, or with `fresh` (or when it is not there) from the store."""
        key = resource.key(namespace, name)
        cache = self.caches[resource]
        if not fresh and (entry := cache.get(key)) is not None:
            return entry
        kv = await self.reader.find(key)
        return None if kv is None else cache.codec.entry(key, kv.value, kv.mod_revision)

    def known(self, resource: Resource) -> Sequence[Entry]:
        """Return all objects of a kind, as the cache has them."""
        return self.caches[resource].scan()


def target_of(resource: Resource, namespace: str, name: str) -> Target:
    """Return what a request is about."""
    return Target(resource, strategy_for(resource.kind), namespace, name)


def written(outcome: Outcome, *, created: bool = False) -> Written:
    """Return an outcome as the doors want it."""
    raw = with_revision(outcome.value, outcome.revision) if outcome.revision else outcome.value
    return Written(raw, created=created, deleted=outcome.deleted)
