"""The alarm NOSPACE: when it is raised, what it refuses, how it ends."""

import asyncio
from random import Random

import pytest
from store_world import StoreWorld
from virtual_loop import run, until

from wherry.store.client import StoreClient
from wherry.store.entry import NOSPACE
from wherry.store.kv import DeleteRange, NoSpaceError, Put, Range
from wherry.store.replica import Replica
from wherry.store.space import Quota, Space, shortage

MB = 1 << 20
QUOTA = Quota(16 * MB)


@pytest.mark.parametrize(
    ("quota", "space", "alarms", "why"),
    [
        (QUOTA, Space(16 * MB, True, 8 * MB, None, True), (), None),
        (QUOTA, Space(16 * MB + 1, True, 8 * MB, None, True), (), "16777217 bytes are held"),
        (QUOTA, Space(17 * MB, False, 8 * MB, None, True), (), None),
        (QUOTA, Space(17 * MB, True, 8 * MB, None, True), ((7, NOSPACE),), None),
        (QUOTA, Space(17 * MB, True, 8 * MB, None, True), ((7, 2),), "the quota is 16777216"),
        (Quota(-1), Space(1 << 40, True, 8 * MB, None, True), (), None),
        (QUOTA, Space(2 * MB, True, 8 * MB, 11 * MB, False), (), None),
        (QUOTA, Space(2 * MB, True, 8 * MB, 11 * MB - 1, False), (), "the disk has"),
        (QUOTA, Space(MB, True, 8 * MB, 0, True), (), None),
        (QUOTA, Space(MB, True, 8 * MB, 0, False), ((7, NOSPACE),), None),
    ],
    ids=[
        "at the quota",
        "over it",
        "over it, but compacted a moment ago",
        "known",
        "another alarm",
        "no bound",
        "room for a segment and a snapshot",
        "not for both",
        "others go on without this member",
        "a full disk, known",
    ],
)
def test_shortage(
    quota: Quota, space: Space, alarms: tuple[tuple[int, int], ...], why: str | None
) -> None:
    found = shortage(quota, space, alarms)
    assert (found is None) if why is None else (found is not None and why in found)


async def fill(client: StoreClient) -> int:
    """Write until that is refused; return how often it was not."""
    for number in range(1000):
        try:
            await client.txn([], [Put(b"/big/%d" % number, bytes(10_000))])
        except NoSpaceError:
            return number
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("names", [("m1",), ("m1", "m2", "m3")], ids=["one", "three"])
def test_a_full_store_takes_deletions_only_until_the_alarm_is_ended(names: tuple[str, ...]) -> None:
    def bound(_name: str, replica: Replica) -> None:
        replica.quota = Quota(300_000)

    async def main() -> None:
        world = StoreWorld(names, Random(1))
        world.on_start = bound
        world.start_all()
        client = world.client("m1")
        assert 30 <= await fill(client) < 40
        state = world.replicas["m1"].state
        ((member, kind),) = state.alarms
        assert kind == NOSPACE
        leader = world.leader()
        assert leader is not None
        assert member == world.replicas[leader].member_id
        assert (await client.range(Range(b"/big/1"))).count == 1
        await client.alarm(member, NOSPACE, active=False)
        await until(lambda: bool(state.alarms))  # nothing has changed: it is raised again
        await client.txn([], [DeleteRange(b"/big/", b"/big0")])
        await client.compact(state.revision)
        await until(lambda: state.size_bytes == 0)
        assert await fill(client) == 0
        await client.alarm(member, NOSPACE, active=False)
        await client.txn([], [Put(b"/a", b"1")])
        await asyncio.sleep(2)
        assert not state.alarms
        await world.stop()

    run(main())


def test_a_member_alone_with_a_nearly_full_disk_says_so_before_it_is_full() -> None:
    async def main() -> None:
        for names, raised in ((("m1",), True), (("m1", "m2", "m3"), False)):
            world = StoreWorld(names, Random(1))
            world.on_start = lambda _name, replica: setattr(replica, "free_bytes", lambda: MB)
            world.start_all()
            await asyncio.sleep(5)
            assert bool(world.replicas["m1"].state.alarms) is raised, names
            await world.stop()

    run(main())


def test_the_last_two_of_three_cannot_be_spared() -> None:
    async def main() -> None:
        world = StoreWorld(("m1", "m2", "m3"), Random(1))
        world.on_start = lambda _name, replica: setattr(replica, "free_bytes", lambda: MB)
        world.start_all()
        await until(lambda: world.leader() is not None)
        leader = world.leader()
        other = next(name for name in world.names if name != leader)
        await world.kill(other)
        assert leader is not None
        await until(lambda: bool(world.replicas[leader].state.alarms))
        await world.stop()

    run(main())
