"""One suite for every `Store`: what the API server relies on, whatever stands behind it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random

import pytest
import store_process
from store_world import StoreWorld
from virtual_loop import VirtualClock, run

from wherry.api.errors import TooLargeError
from wherry.store.entry import LeaseExistsError
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    Nested,
    NestedResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Store,
    Target,
    TxnResult,
    prefix_end,
)
from wherry.store.memory import MemoryStore

Body = Callable[[Store], Awaitable[None]]


def on_memory(body: Body) -> None:
    async def main() -> None:
        store = MemoryStore(VirtualClock())
        await body(store)
        await store.close()

    run(main())


def on_world(*names: str) -> Callable[[Body], None]:
    def with_body(body: Body) -> None:
        async def main() -> None:
            world = StoreWorld(names, Random(1))
            world.start_all()
            store = world.client(names[-1])
            await body(store)
            await store.close()
            await world.stop()
            assert not world.failures

        run(main())

    return with_body


def on_real(
    make: Callable[[], contextlib.AbstractAsyncContextManager[Store]],
) -> Callable[[Body], None]:
    def with_body(body: Body) -> None:
        async def main() -> None:
            async with make() as store, asyncio.timeout(180):
                await body(store)

        asyncio.run(main())

    return with_body


@pytest.fixture(
    params=[
        pytest.param(on_memory, id="memory"),
        pytest.param(on_world("m1"), id="raft-1-simulated"),
        pytest.param(on_world("m1", "m2", "m3"), id="raft-3-simulated"),
        pytest.param(on_real(store_process.one), id="raft-1", marks=pytest.mark.integration),
        pytest.param(on_real(store_process.three), id="raft-3", marks=pytest.mark.integration),
        pytest.param(on_real(store_process.etcd), id="etcd", marks=pytest.mark.integration),
        pytest.param(
            on_real(store_process.through_etcd_door), id="etcd-door", marks=pytest.mark.integration
        ),
    ]
)
def on(request: pytest.FixtureRequest) -> Callable[[Body], None]:
    """Run a test body on one kind of store."""
    kind: Callable[[Body], None] = request.param
    return kind


async def now(store: Store) -> int:
    return (await store.range(Range(b"/", count_only=True))).revision


async def changes(
    store: Store, key: bytes, end: bytes | None, revision: int, count: int
) -> list[Event]:
    """Watch until `count` events came."""
    found: list[Event] = []
    watch = store.watch(key, end, revision=revision)
    async with contextlib.aclosing(watch) as batches:  # type: ignore[type-var]  # they are generators
        async for batch in batches:
            found += batch.events
            if len(found) >= count:
                return found
    raise AssertionError("the watch ended")


def test_create_only_if_absent(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        absent = [Compare(b"/a", Target.MOD, "=", 0)]
        first = await store.txn(absent, [Put(b"/a", b"1")], [Range(b"/a")])
        assert first.succeeded
        assert first.results == [PutResult(None)]
        again = await store.txn(absent, [Put(b"/a", b"2")], [Range(b"/a")])
        assert not again.succeeded
        assert again.revision == first.revision
        (found,) = again.results
        assert isinstance(found, RangeResult)
        (kv,) = found.kvs
        assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (
            b"1",
            first.revision,
            first.revision,
            1,
        )

    on(body)


def test_update_and_delete_return_what_was_there(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        one = await store.txn([], [Put(b"/a", b"1")])
        two = await store.txn([Compare(b"/a", Target.MOD, "=", one.revision)], [Put(b"/a", b"2")])
        assert two.revision == one.revision + 1
        (put,) = two.results
        assert isinstance(put, PutResult)
        assert put.prev is not None
        assert put.prev.value == b"1"
        three = await store.txn([], [DeleteRange(b"/", prefix_end(b"/")), Range(b"/a")])
        gone, left = three.results
        assert isinstance(gone, DeleteResult)
        assert isinstance(left, RangeResult)
        assert [(kv.key, kv.value, kv.version) for kv in gone.deleted] == [(b"/a", b"2", 2)]
        assert left.count == 0

    on(body)


def test_comparisons(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        done = await store.txn([], [Put(b"/a", b"v")])
        rows: list[tuple[Compare, bool]] = [
            (Compare(b"/a", Target.VALUE, "=", b"v"), True),
            (Compare(b"/a", Target.VALUE, "!=", b"v"), False),
            (Compare(b"/a", Target.VERSION, "=", 1), True),
            (Compare(b"/a", Target.CREATE, "<", done.revision + 1), True),
            (Compare(b"/a", Target.MOD, ">", done.revision), False),
            (Compare(b"/a", Target.LEASE, "=", 0), True),
            (Compare(b"/x", Target.VERSION, "=", 0), True),
            (Compare(b"/x", Target.CREATE, "!=", 0), False),
            (Compare(b"/x", Target.VALUE, "=", b""), False),
        ]
        for compare, holds in rows:
            assert (await store.txn([compare], [])).succeeded is holds, compare

    on(body)


def test_comparisons_of_ranges(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        for key in (b"/r/a", b"/r/b", b"/r/b"):
            await store.txn([], [Put(key, b"v")])
        end = prefix_end(b"/r/")
        rows: list[tuple[Compare, bool]] = [
            (Compare(b"/r/", Target.VALUE, "=", b"v", end), True),
            (Compare(b"/r/", Target.VERSION, "=", 1, end), False),
            (Compare(b"/r/", Target.VERSION, "=", 1, b"/r/b"), True),
            (Compare(b"/s/", Target.CREATE, "=", 0, b"/s0"), True),
            (Compare(b"/s/", Target.VALUE, "=", b"", b"/s0"), False),
        ]
        for compare, holds in rows:
            assert (await store.txn([compare], [])).succeeded is holds, compare

    on(body)


def test_a_transaction_inside_of_one(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        await store.txn([], [Put(b"/a", b"1")])
        before = [Compare(b"/a", Target.VALUE, "=", b"1")]
        nested = Nested(before, [Put(b"/n", b"then"), Range(b"/n")], [Put(b"/n", b"else")])
        first = await store.txn([], [Put(b"/a", b"2"), nested])
        inner = first.results[1]
        assert isinstance(inner, NestedResult)
        assert inner.succeeded, "decided by what was there before"
        found = inner.results[1]
        assert isinstance(found, RangeResult)
        assert [(kv.value, kv.mod_revision) for kv in found.kvs] == [(b"then", first.revision)]
        second = await store.txn([], [nested])
        assert second.results == [NestedResult(False, [PutResult(found.kvs[0])])]
        events = await changes(store, b"/n", None, first.revision - 1, 2)
        assert [event.kv.value for event in events] == [b"then", b"else"]
        with pytest.raises(ValueError, match="duplicate key"):
            await store.txn([], [Put(b"/n", b""), nested])

    on(body)


def test_a_put_keeps_what_it_ignores(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(KeyNotFoundError):
            await store.txn([], [Put(b"/a", b"", ignore_value=True)])
        lease = await store.lease_grant(60)
        await store.txn([], [Put(b"/a", b"1", lease)])
        await store.txn([], [Put(b"/a", b"2", ignore_lease=True)])
        (kept,) = (await store.range(Range(b"/a"))).kvs
        assert (kept.value, kept.lease) == (b"2", lease)
        await store.txn([], [Put(b"/a", b"", ignore_value=True)])
        (freed,) = (await store.range(Range(b"/a"))).kvs
        assert (freed.value, freed.lease, freed.version) == (b"2", 0, 3)

    on(body)


def test_a_revision_that_is_known_is_the_newest(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        for number in range(20):
            done = await store.txn([], [Put(b"/a", str(number).encode())])
            assert store.known_revision() in (0, done.revision)
            assert await now(store) == done.revision
        await store.close()
        assert store.known_revision() == 0

    on(body)


def test_pages_are_of_one_revision(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        for name in b"abcdef":
            await store.txn([], [Put(b"/p/%c" % name, b"1")])
        end = prefix_end(b"/p/")
        first = await store.range(Range(b"/p/", end, limit=4))
        assert (len(first.kvs), first.count, first.more) == (4, 6, True)
        await store.txn([], [DeleteRange(b"/p/f"), Put(b"/p/ea", b"new")])
        rest = await store.range(
            Range(first.kvs[-1].key + b"\0", end, limit=4, revision=first.revision)
        )
        assert [kv.key for kv in rest.kvs] == [b"/p/e", b"/p/f"]
        assert not rest.more
        keys = await store.range(Range(b"/p/", end, keys_only=True))
        assert {kv.value for kv in keys.kvs} == {b""}
        assert (await store.range(Range(b"/p/", end, count_only=True))).count == 6

    on(body)


def test_a_watch_has_every_change_in_order_with_what_was_before(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        start = await now(store)
        await store.txn([], [Put(b"/w/a", b"1"), Put(b"/x", b"other")])
        await store.txn([], [Put(b"/w/a", b"2")])
        await store.txn([], [DeleteRange(b"/w/a")])
        events = await changes(store, b"/w/", prefix_end(b"/w/"), start, 3)
        assert [(e.kv.key, e.kv.value, e.deleted, e.prev and e.prev.value) for e in events] == [
            (b"/w/a", b"1", False, None),
            (b"/w/a", b"2", False, b"1"),
            (b"/w/a", b"", True, b"2"),
        ]
        assert [e.kv.mod_revision for e in events] == [start + 1, start + 2, start + 3]
        later = await changes(store, b"/w/a", None, start + 2, 1)
        assert later[0].deleted

    on(body)


def test_a_watch_tells_progress(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        start = await now(store)
        watch = store.watch(b"/quiet", revision=start, progress_s=0.2)
        async with contextlib.aclosing(watch) as batches:  # type: ignore[type-var]
            async for batch in batches:
                assert (list(batch.events), batch.revision) == ([], start)
                return

    on(body)


def test_a_watch_that_waits_sees_what_comes(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        start = await now(store)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(changes(store, b"/w", None, start, 2))
            await asyncio.sleep(0.1)
            await store.txn([], [Put(b"/w", b"1")])
            await store.txn([], [Put(b"/w", b"2")])
        assert [event.kv.value for event in waiting.result()] == [b"1", b"2"]

    on(body)


def test_leases(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(LeaseNotFoundError):
            await store.txn([], [Put(b"/l", b"", 4711)])
        lease = await store.lease_grant(60)
        assert await store.lease_keepalive(lease) == 60
        done = await store.txn([], [Put(b"/l", b"1", lease)])
        assert (await store.range(Range(b"/l"))).kvs[0].lease == lease
        await store.lease_revoke(lease)
        (event,) = await changes(store, b"/l", None, done.revision, 1)
        assert event.deleted
        taken = await store.lease_grant(60, 12345)
        assert taken == 12345
        with pytest.raises(LeaseExistsError):
            await store.lease_grant(60, 12345)
        for call in (store.lease_keepalive, store.lease_revoke):
            with pytest.raises(LeaseNotFoundError):
                await call(lease)

    on(body)


def test_a_lease_ends_by_itself(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        async with asyncio.timeout(90):
            done = await put_with_a_short_lease(store)
            (event,) = await changes(store, b"/l", None, done.revision, 1)
        assert event.deleted

    on(body)


async def put_with_a_short_lease(store: Store) -> TxnResult:
    """Put /l; again where the lease was over before that, as the machine had paused."""
    while True:
        lease = await store.lease_grant(2)
        with contextlib.suppress(LeaseNotFoundError):
            return await store.txn([], [Put(b"/l", b"1", lease)])


def test_compaction(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        start = await now(store)
        for number in range(5):
            await store.txn([], [Put(b"/c", b"%d" % number)])
        await store.compact(start + 3)
        assert (await store.range(Range(b"/c", revision=start + 3))).kvs[0].value == b"2"
        with pytest.raises(CompactedError):
            await store.range(Range(b"/c", revision=start + 2))
        with pytest.raises(CompactedError):
            await changes(store, b"/c", None, start, 1)
        with pytest.raises(CompactedError):
            await store.compact(start + 2)
        with pytest.raises(FutureRevisionError):
            await store.compact(start + 100)
        with pytest.raises(FutureRevisionError):
            await store.range(Range(b"/c", revision=start + 100))

    on(body)


def test_what_is_refused(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(ValueError, match="duplicate key"):
            await store.txn([], [Put(b"/a", b""), Put(b"/a", b"")])
        with pytest.raises(ValueError, match="key is not provided"):
            await store.txn([], [Put(b"", b"")])
        with pytest.raises(TooLargeError):
            await store.txn([], [Put(b"/big", bytes(2 << 20))])
        assert (await store.range(Range(b"/", b"0"))).count == 0

    on(body)


def test_many_at_once(on: Callable[[Body], None]) -> None:
    async def body(store: Store) -> None:
        async def add(number: int) -> None:
            for _ in range(5):
                while True:
                    found = await store.range(Range(b"/n"))
                    old = int(found.kvs[0].value) if found.kvs else 0
                    mod = found.kvs[0].mod_revision if found.kvs else 0
                    done = await store.txn(
                        [Compare(b"/n", Target.MOD, "=", mod)],
                        [Put(b"/n", b"%d" % (old + 1)), Put(b"/by/%d" % number, b"%d" % old)],
                    )
                    if done.succeeded:
                        break

        await asyncio.gather(*(add(number) for number in range(8)))
        assert (await store.range(Range(b"/n"))).kvs[0].value == b"40"
        assert (await store.range(Range(b"/by/", b"/by0"))).count == 8

    on(body)
