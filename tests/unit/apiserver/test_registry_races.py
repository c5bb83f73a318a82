"""Writers that meet, stores that go silent, caches that lag: nothing is lost or done twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
import virtual_loop
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServiceUnavailableError,
    StatusError,
    TimeoutStatusError,
    UnavailableError,
)
from wherry.apiserver.local_api import LocalApi
from wherry.apiserver.registry import Registry
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context
from wherry.store.kv import Compare, Op, Range, RangeResult, Store, TxnResult, WatchBatch
from wherry.store.memory import MemoryStore


class Silent:
    """A store between us and the real one that loses answers, or requests, or both.

    `lose` holds what happens to the next writes: "answer" (done, but nobody is told),
    "request" (not done, and nobody is told); `away` loses every read as well.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lose: list[str] = []
        self.away = False

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        if self.away:
            raise UnavailableError("no quorum")
        return await self._store.range(request, serializable=serializable)

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        lost = self.lose.pop(0) if self.lose else ""
        if lost == "request" or self.away:
            raise UnavailableError("no quorum")
        answer = await self._store.txn(compares, success, failure)
        if lost == "answer":
            raise UnavailableError("no answer")
        return answer

    def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        return self._store.watch(key, end, revision=revision, progress_s=progress_s)

    def known_revision(self) -> int:
        return 0 if self.away else self._store.known_revision()

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


def with_silent_store(test: object) -> None:
    async def main() -> None:
        clock = virtual_loop.VirtualClock()
        store = MemoryStore(clock)
        silent = Silent(store)
        registry = Registry(silent, clock=clock, rng=random.Random(1))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(registry.run())
            await registry.synced.wait()
            api = LocalApi(registry, ADMIN)
            await api.create(kinds.NAMESPACE, b'{"metadata":{"name":"default"}}')
            await test(api, silent)  # type: ignore[operator]
            running.cancel()

    virtual_loop.run(main())


BODY = b'{"metadata":{"name":"a"},"data":{"k":"1"}}'


def test_a_create_whose_answer_was_lost_is_recognised() -> None:
    async def run(api: LocalApi, store: Silent) -> None:
        store.lose = ["answer"]
        made = await api.create(kinds.CONFIG_MAP, BODY, "default")
        assert await api.get(kinds.CONFIG_MAP, "a", "default") == made

    with_silent_store(run)


def test_a_create_that_nobody_knows_about_is_reported_as_unknown() -> None:
    async def run(api: LocalApi, store: Silent) -> None:
        store.lose = ["request"]
        with pytest.raises(TimeoutStatusError, match="it may have happened"):
            await api.create(kinds.CONFIG_MAP, BODY, "default")
        await api.create(kinds.CONFIG_MAP, BODY, "default")

    with_silent_store(run)


def test_a_patch_whose_answer_was_lost_is_recognised() -> None:
    async def run(api: LocalApi, store: Silent) -> None:
        await api.create(kinds.CONFIG_MAP, BODY, "default")
        store.lose = ["answer"]
        raw = await api.patch(kinds.CONFIG_MAP, "a", b'{"data":{"k":"2"}}', "default")
        assert orjson.loads(raw)["data"] == {"k": "2"}

    with_silent_store(run)


def test_without_a_store_reads_and_writes_say_so_and_cached_lists_go_on() -> None:
    async def run(api: LocalApi, store: Silent) -> None:
        await api.create(kinds.CONFIG_MAP, BODY, "default")
        await api.list(kinds.CONFIG_MAP)
        store.away = True
        with pytest.raises(ServiceUnavailableError):
            await api.get(kinds.CONFIG_MAP, "a", "default")
        with pytest.raises(ServiceUnavailableError):
            await api.list(kinds.CONFIG_MAP)
        with pytest.raises(TimeoutStatusError):
            await api.patch(kinds.CONFIG_MAP, "a", b'{"data":{"k":"2"}}', "default")
        assert len((await api.list(kinds.CONFIG_MAP, cached=True)).items) == 1

    with_silent_store(run)


def test_increments_by_many_writers_are_all_counted() -> None:
    """Patches without a resourceVersion never conflict; updates with one never overwrite."""

    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="n", data={"n": "0"})

        async def patcher(key: str) -> None:
            body = orjson.dumps({"data": {key: "1"}})
            await w.api.patch(kinds.CONFIG_MAP, "n", body, "default")

        async def counter() -> None:
            for _ in range(10):
                while True:
                    obj = await w.get(kinds.CONFIG_MAP, "n", "default")
                    await asyncio.sleep(0)
                    obj["data"]["n"] = str(int(obj["data"]["n"]) + 1)
                    try:
                        await w.api.update(kinds.CONFIG_MAP, "n", orjson.dumps(obj), "default")
                        break
                    except ConflictError:
                        await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for index in range(5):
                tasks.create_task(patcher(f"p{index}"))
                tasks.create_task(counter())
        data = (await w.get(kinds.CONFIG_MAP, "n", "default"))["data"]
        assert data == {"n": "50"} | {f"p{i}": "1" for i in range(5)}

    in_world(run, slow=True)


def test_a_decision_on_a_stale_cache_is_made_again() -> None:
    """The cache has not seen yet that the object is gone, is there again, or may be written."""

    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="a")
        await asyncio.sleep(1)
        # From here on the feed does not get a turn.
        await w.api.delete(kinds.CONFIG_MAP, "a", "default")
        with pytest.raises(NotFoundError):
            await w.api.patch(kinds.CONFIG_MAP, "a", b'{"data":{"k":"2"}}', "default")
        with pytest.raises(NotFoundError):
            await w.api.delete(kinds.CONFIG_MAP, "a", "default")
        again = await w.create(kinds.CONFIG_MAP, "default", name="a")
        await w.api.delete(kinds.CONFIG_MAP, "a", "default", uid=again["metadata"]["uid"])

    in_world(run)


def test_a_get_is_of_now_whether_the_cache_has_seen_it_or_not() -> None:
    async def run(w: World) -> None:
        resource = BY_KIND[kinds.CONFIG_MAP]
        cache, key = w.registry.caches[resource], resource.key("default", "a")

        async def get() -> bytes:
            return await w.registry.get(Context(ADMIN), resource, "default", "a")

        await w.create(kinds.CONFIG_MAP, "default", name="a")
        await asyncio.sleep(1)
        seen = cache.get(key)
        assert seen is not None
        assert await get() is seen.object
        # From here on the feed does not get a turn.
        changed = await w.api.patch(kinds.CONFIG_MAP, "a", b'{"data":{"k":"2"}}', "default")
        assert await get() == changed
        await w.api.delete(kinds.CONFIG_MAP, "a", "default")
        with pytest.raises(NotFoundError):
            await get()
        assert cache.get(key) is seen

    in_world(run)


def test_no_object_slips_into_a_namespace_that_ends() -> None:
    """However creates and the end of the namespace interleave: after it, none succeeds."""

    async def run(w: World) -> None:
        rng = random.Random(1)
        for turn in range(20):
            name = f"ns{turn}"
            await w.create(kinds.NAMESPACE, name=name)
            ended: list[int] = []

            async def creator(which: int, ns: str = name, over: list[int] = ended) -> None:
                for index in range(10):
                    obj = f'{{"metadata":{{"name":"c{which}-{index}"}}}}'.encode()
                    began_after = bool(over)
                    try:
                        made = await w.api.create(kinds.CONFIG_MAP, obj, ns)
                    except ForbiddenError:
                        return
                    assert not began_after
                    revision = int(orjson.loads(made)["metadata"]["resourceVersion"])
                    assert not over or revision < over[0]
                    await asyncio.sleep(0)

            async def ender(ns: str = name, over: list[int] = ended) -> None:
                for _ in range(rng.randrange(10)):
                    await asyncio.sleep(0)
                raw = await w.api.delete(kinds.NAMESPACE, ns)
                over.append(int(orjson.loads(raw)["metadata"]["resourceVersion"]))

            async with asyncio.TaskGroup() as tasks:
                for which in range(3):
                    tasks.create_task(creator(which))
                tasks.create_task(ender())

    in_world(run, slow=True)


def test_pods_deleted_and_bound_at_once_are_one_or_the_other() -> None:
    async def run(w: World) -> None:
        for index in range(20):
            name = f"p{index}"
            spec = {"containers": [{"name": "c", "image": "i"}]}
            await w.create(kinds.POD, "default", name=name, spec=spec)
            outcomes: dict[str, object] = {}

            async def attempt(
                what: str, pod: str = name, seen: dict[str, object] = outcomes
            ) -> None:
                try:
                    if what == "bind":
                        body = b'{"target":{"name":"n1"}}'
                        await w.api.create(
                            kinds.POD, body, "default", name=pod, subresource="binding"
                        )
                    else:
                        await w.api.delete(kinds.POD, pod, "default")
                    seen[what] = True
                except StatusError as error:
                    seen[what] = error

            async with asyncio.TaskGroup() as tasks:
                for what in (["bind", "delete"], ["delete", "bind"])[index % 2]:
                    tasks.create_task(attempt(what))
            assert outcomes["delete"] is True
            if outcomes["bind"] is True:  # then the agent has to agree
                meta = (await w.get(kinds.POD, name, "default"))["metadata"]
                assert meta["deletionTimestamp"]
            else:
                assert isinstance(outcomes["bind"], NotFoundError)

    in_world(run, slow=True)
