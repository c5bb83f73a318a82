"""A registry over a store in memory, in virtual time: what most API server tests run against."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import virtual_loop

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.local_api import LocalApi
from wherry.apiserver.registry import Registry, RegistryConfig
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, User
from wherry.store.kv import Compare, Op, Range, RangeResult, Store, TxnResult, WatchBatch
from wherry.store.memory import MemoryStore

ADMIN = User("admin", ("system:masters",))


class SlowStore:
    """A store that takes its time, before and after, so that everything interleaves."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store = store
        self._rng = rng

    async def _dawdle(self) -> None:
        await asyncio.sleep(self._rng.random() * 0.01)

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        await self._dawdle()
        answer = await self._store.range(request, serializable=serializable)
        await self._dawdle()
        return answer

    def known_revision(self) -> int:
        return self._store.known_revision() if self._rng.random() < 0.5 else 0

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        await self._dawdle()
        answer = await self._store.txn(compares, success, failure)
        await self._dawdle()
        return answer

    async def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        async for batch in self._store.watch(key, end, revision=revision, progress_s=progress_s):
            await self._dawdle()
            yield batch

    async def lease_grant(self, ttl_s: int, lease: int = 0) -> int:
        return await self._store.lease_grant(ttl_s, lease)

    async def lease_keepalive(self, lease: int) -> int:
        return await self._store.lease_keepalive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._store.lease_revoke(lease)

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()


@dataclass(slots=True)
class World:
    """Everything that a test may want to touch."""

    clock: virtual_loop.VirtualClock
    store: MemoryStore
    registry: Registry
    api: LocalApi

    async def create(self, kind: Kind, namespace: str = "", **obj: Any) -> dict[str, Any]:
        """Create an object from keyword arguments; `name=` is short for its metadata."""
        name = obj.pop("name", "")
        if name:
            obj.setdefault("metadata", {})["name"] = name
        written = await self.registry.create(Context(ADMIN), BY_KIND[kind], namespace, obj)
        decoded: dict[str, Any] = orjson.loads(written.object)
        return decoded

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        decoded: dict[str, Any] = orjson.loads(await self.api.get(kind, name, namespace))
        return decoded


@asynccontextmanager
async def world(
    *,
    seed: int = 1,
    config: RegistryConfig | None = None,
    namespace: str = "default",
    slow: bool = False,
) -> AsyncIterator[World]:
    """Run a registry; namespace `default` exists."""
    clock = virtual_loop.VirtualClock()
    store = MemoryStore(clock)
    behind: Store = SlowStore(store, random.Random(seed)) if slow else store
    registry = Registry(behind, clock=clock, rng=random.Random(seed), config=config)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(registry.run())
        await registry.synced.wait()
        here = World(clock, store, registry, LocalApi(registry, ADMIN))
        if namespace:
            await here.create(kinds.NAMESPACE, name=namespace)
        try:
            yield here
        finally:
            running.cancel()
            await store.close()


def in_world(
    test: Callable[[World], Awaitable[None]],
    *,
    config: RegistryConfig | None = None,
    slow: bool = False,
    seed: int = 1,
) -> None:
    """Run one test in a world of its own."""

    async def main() -> None:
        async with world(config=config, slow=slow, seed=seed) as here:
            await test(here)

    try:
        virtual_loop.run(main())
    except BaseExceptionGroup as group:  # the world's own task group adds a layer: show the cause
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
