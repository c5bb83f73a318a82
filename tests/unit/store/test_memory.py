"""MemoryStore: leases end by the loop's timers, and a closed store says so."""

import asyncio

import pytest

from wherry.api.errors import UnavailableError
from wherry.store.kv import DeleteRange, LeaseNotFoundError, Put, Range
from wherry.store.memory import MemoryStore


class LoopClock:
    def now(self) -> float:
        return 1e9 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def test_a_lease_that_is_not_renewed_takes_its_keys_along() -> None:
    async def main() -> None:
        store = MemoryStore(LoopClock())
        lease = await store.lease_grant(1)
        wrote = await store.txn([], [Put(b"/a", b"1", lease), Put(b"/b", b"2")])
        async for batch in store.watch(b"/", b"0", revision=wrote.revision):
            if batch.events:
                break
        assert [(e.kv.key, e.deleted) for e in batch.events] == [(b"/a", True)]
        assert [kv.key for kv in (await store.range(Range(b"/", b"0"))).kvs] == [b"/b"]
        with pytest.raises(LeaseNotFoundError):
            await store.lease_keepalive(lease)
        await store.close()

    asyncio.run(main())


def test_close_ends_watches_and_refuses_requests() -> None:
    async def main() -> None:
        store = MemoryStore(LoopClock())

        async def watch() -> bool:
            with pytest.raises(UnavailableError):
                async for _ in store.watch(b"/a", revision=0):
                    pass
            return True

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            await asyncio.sleep(0)
            await store.close()
        assert watching.result()
        with pytest.raises(UnavailableError):
            await store.txn([], [DeleteRange(b"/a")])

    asyncio.run(main())
