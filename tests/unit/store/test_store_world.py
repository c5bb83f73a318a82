"""Whole stores and their clients under faults: applied exactly once, watched without a gap."""

import asyncio
from random import Random

import pytest
from store_world import StoreWorld
from virtual_loop import run, until

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.compaction import Compaction
from wherry.store.kv import CompactedError, Compare, Put, Range, RangeResult, Target

NAMES = ("m1", "m2", "m3")


async def ready(world: StoreWorld) -> str:
    await until(lambda: any(one.ready and one.node.is_leader for one in world.replicas.values()))
    leader = world.leader()
    assert leader is not None
    return leader


async def increment(client: StoreClient, key: bytes) -> int:
    """Add one, by comparing what was read: wrong if any attempt is applied twice or lost."""
    while True:
        found = await client.range(Range(key))
        old = int(found.kvs[0].value) if found.kvs else 0
        revision = found.kvs[0].mod_revision if found.kvs else 0
        done = await client.txn(
            [Compare(key, Target.MOD, "=", revision)], [Put(key, b"%d" % (old + 1))]
        )
        if done.succeeded:
            return old + 1


class Load:
    """Clients on every host that put unique values and count; and one that watches."""

    def __init__(self, world: StoreWorld, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.acknowledged: list[int] = []
        self.uncertain = 0
        self.counted = dict.fromkeys(NAMES, 0)
        self.watched: list[int] = []

    async def put(self, host: str) -> None:
        client = self.world.client(host, timeout_s=20)
        for number in range(60):
            value = number * 10 + NAMES.index(host)
            try:
                await client.txn([], [Put(b"/v/%d" % value, b"%d" % value)])
                self.acknowledged.append(value)
                self.counted[host] = await increment(client, b"/count/" + host.encode())
            except UnavailableError:
                self.uncertain += 1
            await asyncio.sleep(self.rng.uniform(0, 0.1))

    async def watch(self) -> None:
        client = self.world.client("m2")
        async for batch in client.watch(b"/v/", b"/v0", revision=1, progress_s=0.5):
            self.watched.extend(int(event.kv.value) for event in batch.events)
            assert all(event.kv.version == 1 for event in batch.events), "applied twice"

    async def trouble(self) -> None:
        for _ in range(8):
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))
            victim = self.rng.choice(NAMES)
            if self.rng.random() < 0.5:
                await self.world.kill(victim)
                await asyncio.sleep(self.rng.uniform(0, 1.5))
                self.world.start(victim)
            else:
                self.world.streams.isolate(victim, NAMES)
                await asyncio.sleep(self.rng.uniform(0, 3))
                self.world.streams.heal()
            await asyncio.sleep(self.rng.uniform(0.3, 1.5))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self.watch())
            work = [tasks.create_task(self.put(host)) for host in NAMES]
            await tasks.create_task(self.trouble())
            await asyncio.gather(*work)
            await until(lambda: set(self.watched) >= set(self.acknowledged))
            watching.cancel()

    async def check(self) -> None:
        assert not self.world.failures, self.world.failures
        assert len(self.watched) == len(set(self.watched)), "an event was delivered twice"
        assert len(self.acknowledged) > 100
        reader = self.world.client("elsewhere")
        found: RangeResult = await reader.range(Range(b"/v/", b"/v0"))
        assert {int(kv.value) for kv in found.kvs} >= set(self.acknowledged)
        for host in NAMES:
            (kv,) = (await reader.range(Range(b"/count/" + host.encode()))).kvs
            assert self.counted[host] <= int(kv.value) <= self.counted[host] + self.uncertain
            assert kv.version == int(kv.value), "every increment is one write"
        replicas = self.world.replicas.values()
        await until(lambda: len({replica.state.digest() for replica in replicas}) == 1)


@pytest.mark.parametrize("seed", range(8))
def test_writes_reads_and_watches_through_crashes_and_cuts(seed: int) -> None:
    async def main() -> None:
        rng = Random(seed)
        world = StoreWorld(NAMES, rng)
        world.start_all()
        await ready(world)
        load = Load(world, rng)
        await load.run()
        await load.check()
        await world.stop()

    run(main())


def test_a_follower_serves_everything() -> None:
    async def main() -> None:
        world = StoreWorld(NAMES, Random(1))
        world.start_all()
        leader = await ready(world)
        follower = next(name for name in NAMES if name != leader)
        client = world.client(follower)
        done = await client.txn([], [Put(b"/a", b"1")])
        assert (await client.range(Range(b"/a"))).kvs[0].mod_revision == done.revision
        lease = await client.lease_grant(2)
        await client.txn([], [Put(b"/l", b"", lease)])
        for _ in range(5):
            await asyncio.sleep(1)
            assert await client.lease_keepalive(lease) == 2
        assert (await client.range(Range(b"/l"))).count == 1
        await asyncio.sleep(3)
        assert (await client.range(Range(b"/l"))).count == 0
        await world.stop()

    run(main())


def test_followers_hear_of_commits_at_once_not_with_the_next_heartbeat() -> None:
    async def main() -> None:
        world = StoreWorld(NAMES, Random(1))
        world.start_all()
        leader = await ready(world)
        loop = asyncio.get_running_loop()
        writer = world.client(leader)
        follower = next(name for name in NAMES if name != leader)
        await writer.txn([], [Put(b"/w", b"")])
        lags: list[float] = []

        async def watch() -> None:
            async for batch in world.client(follower).watch(b"/w", revision=1):
                lags.extend(
                    loop.time() - float(e.kv.value or b"0") for e in batch.events if e.kv.value
                )
                if len(lags) >= 20:
                    return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch())
            await asyncio.sleep(0.1)
            for _ in range(20):
                await writer.txn([], [Put(b"/w", b"%f" % loop.time())])
                await asyncio.sleep(0.033)
        assert max(lags) < 0.02
        await world.stop()

    run(main())


def test_a_new_leader_gives_leases_their_full_time_again() -> None:
    async def main() -> None:
        world = StoreWorld(NAMES, Random(1))
        world.start_all()
        leader = await ready(world)
        client = world.client("elsewhere")
        lease = await client.lease_grant(5)
        await client.txn([], [Put(b"/l", b"", lease)])
        await asyncio.sleep(4)
        await world.kill(leader)
        await asyncio.sleep(3)
        assert (await client.range(Range(b"/l"))).count == 1
        await asyncio.sleep(4)
        assert (await client.range(Range(b"/l"))).count == 0
        await world.stop()

    run(main())


def test_the_leader_compacts_and_a_watcher_that_is_too_late_is_told() -> None:
    async def main() -> None:
        policy = Compaction(interval_s=10, retain=5, burst=1000)
        world = StoreWorld(("m1",), Random(1), compaction=policy)
        world.start_all()
        client = world.client("m1")
        for number in range(30):
            await client.txn([], [Put(b"/a", b"%d" % number)])
        await asyncio.sleep(11)
        assert world.replicas["m1"].state.compact_revision == 31 - 5
        with pytest.raises(CompactedError):
            async for _ in client.watch(b"/a", revision=3):
                pass
        await world.stop()

    run(main())


def test_without_a_majority_everything_is_unavailable_in_time() -> None:
    async def main() -> None:
        world = StoreWorld(NAMES, Random(1))
        world.start_all()
        leader = await ready(world)
        for name in NAMES:
            if name != leader:
                await world.kill(name)
        await asyncio.sleep(2)
        client = world.client(leader, timeout_s=3)
        loop = asyncio.get_running_loop()
        for request in (client.txn([], [Put(b"/a", b"")]), client.range(Range(b"/a"))):
            began = loop.time()
            with pytest.raises(UnavailableError, match="does not answer"):
                await request
            assert loop.time() - began < 4
        stale = await client.range(Range(b"/a"), serializable=True)
        assert stale.count == 0
        await world.stop()

    run(main())


def test_a_member_of_one_has_nobody_to_hand_over_to() -> None:
    async def main() -> None:
        world = StoreWorld(("m1",), Random(1))
        world.start_all()
        leader = await ready(world)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await world.replicas[leader].hand_over()
        assert loop.time() == began, "it stops at once"
        await world.stop()

    run(main())
