"""Watchers of the store's door: what a slow one costs, and what it is told."""

import asyncio
from random import Random

from store_sim import SimDisk
from virtual_loop import VirtualClock, run, until

from wherry.store import rpc
from wherry.store.entry import NOBODY, encode_command, transaction
from wherry.store.kv import Put
from wherry.store.membership import Configuration
from wherry.store.net import Identity
from wherry.store.raft.link import Receiver
from wherry.store.raft.machine import RaftConfig
from wherry.store.raft.message import Message
from wherry.store.replica import Replica
from wherry.store.server import Client, StoreServer

HIGH_WATER_BYTES = 1 << 20


class Alone:
    """A link without members."""

    def follow(self, configuration: Configuration) -> None: ...

    def send(self, member: str, message: Message) -> bool:
        return False

    async def run(self, receiver: Receiver) -> None:
        await asyncio.get_running_loop().create_future()


class Wire:
    """A connection whose client reads only when it is told to."""

    identity: Identity | None = None

    def __init__(self, *, reads: bool) -> None:
        self.reads = asyncio.Event()
        if reads:
            self.reads.set()
        self.frames: list[bytes] = []
        self.buffered_bytes = 0
        self.most_bytes = 0

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.buffered_bytes += len(frame)
        self.most_bytes = max(self.most_bytes, self.buffered_bytes)

    def published(self) -> int:
        return 0

    async def drained(self) -> None:
        if self.buffered_bytes > HIGH_WATER_BYTES:
            await self.reads.wait()
        if self.reads.is_set():
            self.buffered_bytes = 0

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...

    def answers(self) -> list[rpc.Answer]:
        return [rpc.decode_answer(frame) for frame in self.frames]


class Nowhere:
    """A network on which nobody listens."""


def put(server: StoreServer, number: int) -> None:
    command = transaction(NOBODY, [], [Put(b"/a/%d" % (number % 7), bytes(2000))], [])
    server.replica.propose(encode_command(command), lambda _: None)


def watch(server: StoreServer, wire: Wire) -> None:
    client = Client(server, wire)
    server._connections[client] = None
    client.frames([rpc.encode(rpc.Watch(1, b"/a/", b"/a0", 1, 60.0))])


async def serving() -> tuple[StoreServer, "asyncio.Task[None]"]:
    config = RaftConfig("m1", ("m1",), "00")
    loop = asyncio.get_running_loop()
    replica = Replica(config, SimDisk(Random(1)), Alone(), VirtualClock(loop), Random(1))
    replica.hub.max_lag = 2000
    server = StoreServer(replica, Nowhere(), [])  # type: ignore[arg-type]  # it listens nowhere
    task = asyncio.ensure_future(server.run())
    await until(lambda: replica.ready)
    return server, task


def test_a_slow_watcher_is_cancelled_with_a_revision_and_keeps_little_memory() -> None:
    async def main() -> None:
        server, task = await serving()
        slow, quick = Wire(reads=False), Wire(reads=True)
        watch(server, slow)
        watch(server, quick)
        for number in range(4000):
            put(server, number)
            await asyncio.sleep(0.001)
        state = server.replica.state
        await until(lambda: state.revision == 4001)
        await asyncio.sleep(1)
        assert slow.most_bytes < HIGH_WATER_BYTES + (2 << 20), "one batch beyond its bound"
        slow.reads.set()
        await asyncio.sleep(1)
        last = slow.answers()[-1]
        assert isinstance(last, rpc.Failed)
        assert (last.code, last.detail) == (rpc.COMPACTED, state.revision - 2000)
        seen = [
            event for one in quick.answers() if isinstance(one, rpc.Batch) for event in one.events
        ]
        assert [event.kv.mod_revision for event in seen] == list(range(2, 4002))
        task.cancel()
        await asyncio.wait([task])

    run(main())


def test_watchers_of_the_same_range_are_sent_the_same_frame() -> None:
    async def main() -> None:
        server, task = await serving()
        wires = [Wire(reads=True) for _ in range(3)]
        for wire in wires:
            watch(server, wire)
        put(server, 0)
        await until(lambda: all(wire.frames for wire in wires))
        assert wires[0].frames[0] is wires[1].frames[0] is wires[2].frames[0]
        task.cancel()
        await asyncio.wait([task])

    run(main())
