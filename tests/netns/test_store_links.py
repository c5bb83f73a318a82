"""Links between members are cut, half cut, lossy and slow: one truth, and progress afterwards."""

import asyncio

import pytest
from store_hosts import Hosts, left_behind, members
from store_process import Processes
from store_recorder import TRIES, Record, leader, recording

from wherry.api.errors import UnavailableError
from wherry.store.kv import Put, Range

pytestmark = pytest.mark.netns
FLAGS = ("--snapshot-count", "500")


async def term(processes: Processes, name: str) -> int:
    client = processes.pinned(name, timeout_s=60)
    try:
        return (await client.status()).term
    finally:
        await client.close()


def test_an_isolated_leader() -> None:
    """It must neither acknowledge nor answer reads; the others go on, and it comes back."""

    async def main() -> None:
        async with members(3, flags=FLAGS) as (processes, hosts), recording(processes) as record:
            first = await leader(processes)
            hosts.isolate(first)
            second = await leader(processes, without=first)
            alone = processes.pinned(first, timeout_s=2)
            with pytest.raises(UnavailableError):
                await alone.range(Range(b"/r/1"))
            with pytest.raises(UnavailableError):
                await alone.txn([], [Put(b"/alone", b"1")])
            await alone.close()
            await record.served(second, times=50)
            hosts.heal()
            await record.progress()

    asyncio.run(main())
    assert not left_behind()


def test_half_cut_links() -> None:
    """First the leader is deaf, then a follower is; a deaf follower must depose nobody."""

    async def main() -> None:
        async with members(3, flags=FLAGS) as (processes, hosts), recording(processes) as record:
            first = await leader(processes)
            others = [name for name in processes.names if name != first]
            for name in others:
                hosts.half_cut(name, first)
            second = await leader(processes, without=first)
            await record.served(second, times=50)
            hosts.heal()
            await record.progress()
            for _ in range(TRIES):
                if await no_election_by_a_deaf_follower(processes, hosts, record):
                    return
            raise AssertionError("each time there was an election")

    asyncio.run(main())


async def no_election_by_a_deaf_follower(
    processes: Processes, hosts: Hosts, record: Record
) -> bool:
    first = await leader(processes)
    before = await term(processes, first)
    deaf = next(name for name in processes.names if name != first)
    for name in processes.names:
        if name != deaf:
            hosts.half_cut(name, deaf)
    try:
        await record.served(first, times=200)
        while_deaf = await term(processes, first)
    finally:
        hosts.heal()
    await record.progress()
    return while_deaf == before == await term(processes, first)


def test_two_of_three_that_hear_only_the_third() -> None:
    """One link is down: whoever leads, the cluster serves, and elections end."""

    async def main() -> None:
        async with members(3, flags=FLAGS) as (processes, hosts), recording(processes) as record:
            first = await leader(processes)
            other = next(name for name in processes.names if name != first)
            hosts.cut([first], [other])
            bridge = next(name for name in processes.names if name not in (first, other))
            await record.served(bridge, times=100)
            hosts.heal()
            await record.progress()

    asyncio.run(main())


def test_a_bridge_between_two_halves_of_five() -> None:
    """m1 m2 | m3 | m4 m5, where only m3 reaches everybody: it, or one of its halves, leads."""

    async def main() -> None:
        async with members(5, flags=FLAGS) as (processes, hosts), recording(processes) as record:
            hosts.cut(["m1", "m2"], ["m4", "m5"])
            await record.served("m3", times=100)
            hosts.cut(["m3"], ["m4", "m5"])  # now m1 m2 m3 are a majority
            await record.served("m1", "m2", "m3", times=30)
            hosts.heal()
            await record.progress()

    asyncio.run(main())


def test_loss_and_slow_links() -> None:
    """A tenth of all packets is lost, then all links are narrow and queue: slow, and right."""

    async def main() -> None:
        async with members(3, flags=FLAGS) as (processes, hosts), recording(processes) as record:
            hosts.lose(10)
            await record.progress(times=20)
            hosts.heal()
            hosts.narrow("400kbit")
            await record.progress(times=20)
            hosts.lose(5)
            await record.progress(times=5)
            hosts.heal()
            await record.progress()

    asyncio.run(main())
    assert not left_behind()
