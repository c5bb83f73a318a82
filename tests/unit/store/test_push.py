"""Watches of a connection: sent at once, held back for who is slow, ended with a reason."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from virtual_loop import run

from wherry.store import push, rpc
from wherry.store.entry import NOBODY, Compact, encode_command, transaction
from wherry.store.kv import Put, WatchBatch
from wherry.store.mvcc import MvccState
from wherry.store.push import Push
from wherry.store.watch import WatchHub


@dataclass
class Peer:
    """A connection whose peer takes what was sent when it is told to."""

    identity: None = None
    sent: list[WatchBatch] = field(default_factory=list)
    buffered_bytes: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, frame: bytes) -> None:
        self.buffered_bytes += len(frame)

    def encode(self, _number: int, batch: WatchBatch) -> bytes:
        self.sent.append(batch)
        return bytes(sum(len(event.kv.value) for event in batch.events))

    def published(self) -> int:
        return 0

    async def drained(self) -> None:
        await self.room.wait()
        self.buffered_bytes = 0

    def pause(self) -> None:
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError

    @property
    def revisions(self) -> list[int]:
        return [batch.revision for batch in self.sent]


class World:
    """A state, and one watch of everything below /a/ from the beginning."""

    def __init__(self, tasks: asyncio.TaskGroup, progress_s: float) -> None:
        self.state = MvccState()
        self.hub = WatchHub(self.state, max_lag=50)
        self.peer = Peer()
        self.ended: list[rpc.Failed] = []
        request = rpc.Watch(7, b"/a/", b"/a0", 1, progress_s)
        watcher = self.hub.watch(request.key, request.end, request.revision)
        self.push = Push(request, watcher, self.peer, self.peer.encode, self.ended.append, tasks)

    def put(self, key: bytes, size: int = 1) -> None:
        self.state.apply(encode_command(transaction(NOBODY, [], [Put(key, bytes(size))], [])))
        self.hub.advance()


@asynccontextmanager
async def world(progress_s: float = 60.0) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        made = World(tasks, progress_s)
        yield made
        made.push.close()


def test_what_there_is_and_what_comes_is_sent_in_the_same_turn() -> None:
    async def main() -> None:
        async with world() as w:
            w.put(b"/a/1")
            w.push.begin()
            assert w.peer.revisions == [2]
            w.put(b"/b/1")
            w.put(b"/a/2")
            assert w.peer.revisions == [2, 4]

    run(main())


def test_who_is_slow_is_waited_for_and_then_reads_on() -> None:
    async def main() -> None:
        async with world() as w:
            w.push.begin()
            w.put(b"/a/1", push.MOST_UNSENT_BYTES + 1)
            w.put(b"/a/2")
            w.put(b"/a/3")
            assert w.peer.revisions == [2], "it has not taken that yet"
            w.peer.room.set()
            await asyncio.sleep(1)
            assert w.peer.revisions == [2, 4]
            assert len(w.peer.sent[-1].events) == 2
            w.put(b"/a/4")
            assert w.peer.revisions == [2, 4, 5]

    run(main())


def test_who_is_too_slow_is_told_from_where_it_can_read() -> None:
    async def main() -> None:
        async with world() as w:
            w.push.begin()
            w.put(b"/a/1", push.MOST_UNSENT_BYTES + 1)
            for _ in range(60):
                w.put(b"/a/2")
            w.peer.room.set()
            await asyncio.sleep(1)
            (why,) = w.ended
            assert (why.id, why.code) == (7, rpc.COMPACTED)
            assert w.peer.revisions == [2]
            assert len(w.hub) == 0

    run(main())


def test_compaction_of_what_was_sent_ends_nothing() -> None:
    async def main() -> None:
        async with world() as w:
            w.push.begin()
            for _ in range(5):
                w.put(b"/a/1")
            w.state.apply(encode_command(Compact(NOBODY, 6)))
            w.put(b"/a/1")
            assert w.peer.revisions == [2, 3, 4, 5, 6, 7]
            assert w.ended == []

    run(main())


def test_progress_is_told_when_nothing_else_was() -> None:
    async def main() -> None:
        async with world(progress_s=10) as w:
            w.push.begin()
            await asyncio.sleep(6)
            w.put(b"/a/1")
            await asyncio.sleep(9)
            assert w.peer.revisions == [2]
            w.put(b"/b/1")
            await asyncio.sleep(2)
            assert w.peer.revisions == [2, 3]
            assert list(w.peer.sent[-1].events) == []
            await asyncio.sleep(30)
            assert w.peer.revisions == [2, 3, 3, 3, 3]

    run(main())


def test_a_closed_store_ends_it() -> None:
    async def main() -> None:
        async with world() as w:
            w.push.begin()
            w.hub.close()
            assert [why.code for why in w.ended] == [rpc.RETRY]

    run(main())
