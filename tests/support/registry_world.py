"""A registry over a store in memory, in virtual time: what most API server tests run against."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
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
from wherry.store.memory import MemoryStore

ADMIN = User("admin", ("system:masters",))


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
    *, seed: int = 1, config: RegistryConfig | None = None, namespace: str = "default"
) -> AsyncIterator[World]:
    """Run a registry; namespace `default` exists."""
    clock = virtual_loop.VirtualClock()
    store = MemoryStore(clock)
    registry = Registry(store, clock=clock, rng=random.Random(seed), config=config)
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
    test: Callable[[World], Awaitable[None]], *, config: RegistryConfig | None = None
) -> None:
    """Run one test in a world of its own."""

    async def main() -> None:
        async with world(config=config) as here:
            await test(here)

    try:
        virtual_loop.run(main())
    except BaseExceptionGroup as group:  # the world's own task group adds a layer: show the cause
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
