"""Watchers: woken for what concerns them only, told when they are too slow."""

import asyncio

import pytest
from virtual_loop import run

from wherry.store.entry import NOBODY, encode_command, transaction
from wherry.store.keyspace import Lease
from wherry.store.kv import CompactedError, Put, WatchBatch
from wherry.store.lessor import Lessor
from wherry.store.mvcc import MvccState
from wherry.store.watch import MAX_BATCH_EVENTS, WatchHub


def put(state: MvccState, *keys: bytes) -> None:
    state.apply(encode_command(transaction(NOBODY, [], [Put(key, b"v") for key in keys], [])))


def test_a_watcher_sleeps_through_what_does_not_concern_it() -> None:
    async def main() -> None:
        state = MvccState()
        hub = WatchHub(state)
        watcher = hub.watch(b"/a", b"/b", 1)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(watcher.next(60))
            await asyncio.sleep(1)
            put(state, b"/z")
            hub.advance()
            await asyncio.sleep(1)
            assert not waiting.done()
            assert watcher.position == 2, "but it knows that it missed nothing"
            put(state, b"/a1", b"/c", b"/a2")
            hub.advance()
        batch = waiting.result()
        assert (batch.revision, [e.kv.key for e in batch.events]) == (3, [b"/a1", b"/a2"])
        assert await watcher.next(1) == WatchBatch(3, [])

    run(main())


def test_batches_are_bounded_and_of_whole_revisions() -> None:
    state = MvccState()
    watcher = WatchHub(state).watch(b"/", b"0", 1)
    for _ in range(10):
        put(state, *(b"/%d" % n for n in range(100)))
    sizes = []
    while (batch := watcher.poll()) is not None:
        sizes.append(len(batch.events))
    assert sizes == [MAX_BATCH_EVENTS, MAX_BATCH_EVENTS]


def test_a_watcher_that_is_too_slow_is_told() -> None:
    state = MvccState()
    hub = WatchHub(state, max_lag=5)
    watcher = hub.watch(b"/", b"0", 1)
    for _ in range(6):
        put(state, b"/a")
    with pytest.raises(CompactedError):
        watcher.poll()


def test_a_watch_may_begin_in_the_future() -> None:
    state = MvccState()
    watcher = WatchHub(state).watch(b"/a", None, 3)
    put(state, b"/a")
    put(state, b"/a")
    assert watcher.poll() is None
    put(state, b"/a")
    batch = watcher.poll()
    assert batch is not None
    assert [e.kv.mod_revision for e in batch.events] == [4]


def test_deadlines_of_leases() -> None:
    lessor = Lessor()
    leases = {1: Lease(10, 1), 2: Lease(20, 2)}
    lessor.sync(leases, 1, now=100.0)
    assert lessor.next_deadline() == 110.0
    lessor.renew(1, leases[1], now=105.0)
    assert lessor.remaining_s(1, now=107.0) == 8.0
    assert lessor.expired(114.0) == []
    assert lessor.expired(115.0) == [(1, 1)]
    assert lessor.expired(116.0) == [(1, 1)], "until the state no longer has it"
    leases[1] = Lease(10, 7)  # ended, and granted anew
    lessor.sync(leases, 2, now=117.0)
    assert lessor.expired(120.0) == [(2, 2)]
    del leases[2]
    lessor.sync(leases, 3, now=121.0)
    assert (lessor.expired(126.0), lessor.next_deadline()) == ([], 127.0)
    for _ in range(500):
        lessor.renew(1, leases[1], now=122.0)
    assert len(lessor._queue) < 100, "renewals do not pile up"
