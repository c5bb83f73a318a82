"""One watch of the whole store, for all caches of this process.

Every write to the store shows up in this one stream, so one number, `revision`, says how far
*all* caches have come, and a linearizable read of any resource waits for it at most as long
as an event takes from the store. (With a watch for each resource, a cache would learn of
revisions that touch other resources only by progress notes, seconds later: ADR 0010.)

The feed reads everything once, then follows the watch for ever. When the store has
compacted what it would need next, it reads everything again and all watches end with
`ExpiredError`; a store that is merely away costs nothing but time.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Protocol

from sortedcontainers import SortedKeyList

from wherry.api.errors import InternalError, UnavailableError
from wherry.apiserver.cache.cache import Progress, WatchCache
from wherry.apiserver.resources import Resource
from wherry.apiserver.storage import Entry
from wherry.client.backoff import Backoff
from wherry.store.kv import (
    CompactedError,
    Event,
    FutureRevisionError,
    KeyValue,
    Range,
    Store,
    WatchBatch,
    prefix_end,
)

_LOG = logging.getLogger(__name__)
_ALL = b"\0"
"""As key and end of a range: every key there is."""
_PAGE = 5_000


class Follower(Protocol):
    """Who wants to know everything below one prefix."""

    @property
    def prefix(self) -> bytes:
        """The keys wanted."""
        ...

    def owns(self, key: bytes) -> bool:
        """Tell whether a key below the prefix is really this follower's."""
        ...

    def reset(self, kvs: Iterable[KeyValue], revision: int) -> None:
        """Begin anew from the state at `revision`."""
        ...

    def follow(self, events: Sequence[Event], revision: int) -> None:
        """Apply changes in order; called only when there are some. The state is then at `revision`."""
        ...


class CacheFollower:
    """Feeds one `WatchCache`."""

    def __init__(self, cache: WatchCache) -> None:
        self.cache = cache

    @property
    def prefix(self) -> bytes:
        """The resource's keys."""
        return self.cache.resource.prefix()

    def owns(self, key: bytes) -> bool:
        """Leave the keys of resources below this one to them."""
        return self.cache.resource.owns(key)

    def reset(self, kvs: Iterable[KeyValue], revision: int) -> None:
        """Rebuild the cache."""
        entries = (self._entry(kv) for kv in kvs)
        self.cache.replace((e for e in entries if e is not None), revision)

    def follow(self, events: Sequence[Event], revision: int) -> None:
        """Apply a batch."""
        changes = [
            (e.kv.key, None if e.deleted else self._entry(e.kv), e.kv.mod_revision) for e in events
        ]
        self.cache.apply(changes, revision)

    def _entry(self, kv: KeyValue) -> Entry | None:
        """Decode; what is not an object of ours (someone used etcdctl) is treated as absent."""
        try:
            return self.cache.codec.entry(kv.key, kv.value, kv.mod_revision)
        except InternalError as error:
            _LOG.warning("ignored: %s", error)
            return None


class Feed:
    """Keeps every follower at the store's state. `run()` is the only writer."""

    def __init__(self, store: Store, followers: Sequence[Follower], *, rng: random.Random) -> None:
        self._store = store
        self._followers = followers
        self._backoff = Backoff(rng, first_s=0.05, most_s=5.0)
        self._waiting = SortedKeyList(key=itemgetter(0))  # (revision, future): some wait for years
        self._routes: dict[bytes, list[Follower]] = {}
        self._progress = Progress()
        self._loaded = False  # until everything has been read, and while it must be read again
        self.synced = asyncio.Event()
        for follower in followers:
            if isinstance(follower, CacheFollower):
                follower.cache.progress = self._progress

    @property
    def revision(self) -> int:
        """Return the revision that all followers have reached."""
        return self._progress.revision

    async def run(self) -> None:
        """Load, follow, and begin anew when the store has compacted; never returns."""
        while True:
            try:
                if not self._loaded:
                    await self._load()
                    self._backoff.reset()
                async for batch in self._store.watch(_ALL, _ALL, revision=self.revision):
                    self._apply(batch)
            except (CompactedError, FutureRevisionError) as error:
                # The second only happens when a store was restored from an older copy.
                _LOG.warning("reading everything again, was at %d: %s", self.revision, error)
                self._loaded = False
            except UnavailableError as error:
                _LOG.warning("the store is away: %s", error)
                await asyncio.sleep(self._backoff.next_s())

    def current_at(self, revision: int) -> bool:
        """Tell whether the caches have reached `revision`; 0 is any state that they have had."""
        current = self._loaded and self.revision >= revision
        return self.synced.is_set() and (current or not revision)

    async def wait_for(self, revision: int, timeout_s: float | None) -> bool:
        """Wait until the caches have reached `revision`; False when they did not in time (None: for ever)."""
        if self.current_at(revision):
            return True
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (revision, moved)
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await moved
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiter)
        return True

    async def _load(self) -> None:
        revision = 0
        loaded: list[tuple[Follower, list[KeyValue]]] = []
        for follower in self._followers:
            kvs, revision = await self._read(follower, revision)
            loaded.append((follower, kvs))
        for follower, kvs in loaded:
            follower.reset(kvs, revision)
        self._progress.revision = revision
        self._loaded = True
        self.synced.set()
        self._wake()

    async def _read(self, follower: Follower, revision: int) -> tuple[list[KeyValue], int]:
        """Read one follower's keys at `revision` (0: now, and say which that is)."""
        kvs: list[KeyValue] = []
        start, end = follower.prefix, prefix_end(follower.prefix)
        while True:
            page = await self._store.range(Range(start, end, limit=_PAGE, revision=revision))
            revision = revision or page.revision
            kvs += [kv for kv in page.kvs if follower.owns(kv.key)]
            if not page.more:
                return kvs, revision
            start = page.kvs[-1].key + b"\0"

    def _apply(self, batch: WatchBatch) -> None:
        concerned: dict[Follower, list[Event]] = {}
        for event in batch.events:
            for follower in self._route(event.kv.key):
                concerned.setdefault(follower, []).append(event)
        for follower, events in concerned.items():
            follower.follow(events, batch.revision)
        self._progress.reach(batch.revision)
        self._wake()

    def _route(self, key: bytes) -> list[Follower]:
        """Return who wants the key; remembered for each directory, as there are few."""
        directory = key[: key.rfind(b"/") + 1]
        found = self._routes.get(directory)
        if found is None:
            found = [f for f in self._followers if key.startswith(f.prefix) and f.owns(key)]
            if len(self._routes) > 10_000:
                self._routes.clear()
            self._routes[directory] = found
        return found

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.revision:
            _, moved = self._waiting.pop(0)
            if not moved.done():
                moved.set_result(None)


def caches_for(resources: Sequence[Resource], **limits: int) -> dict[Resource, WatchCache]:
    """Build an empty cache for each resource."""
    return {resource: WatchCache(resource, **limits) for resource in resources}
