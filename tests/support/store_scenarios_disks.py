"""Dangers of disks, set up by hand: see `store_scenarios.py`."""

import asyncio
from typing import Any

from store_members import Cluster, Member
from store_three import node, three, write
from virtual_loop import run, until

from wherry.store.raft import message as msg
from wherry.store.raft.disk import CorruptError
from wherry.store.raft.snapshot import snapshots


async def _survives(world: Cluster, value: int, alive: tuple[Member, Member]) -> None:
    """With these two only, what was acknowledged must be there."""
    world.network.heal()
    for member in world.members.values():
        if member not in alive:
            await world.kill(member.name)
        elif member.node is None:
            world.start(member.name)
    leader = await world.leader()
    done = await write(leader, 99)
    assert not world.failures, f"acknowledged write {value} is lost: {_first(world.failures)}"
    assert done, "no writes with a majority"
    assert value in leader.machine.seen, f"acknowledged write {value} is lost"
    await world.stop()


def _first(failures: list[BaseException]) -> BaseException:
    error = failures[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def a_follower_that_acknowledged_loses_power() -> None:
    async def main() -> None:
        world, leader, one, other = await three()
        world.network.partition({leader.name, one.name}, {other.name})
        one.disk.crash_after = 0  # in the very sync that makes the entry durable
        acknowledged = await write(leader, 2, within_s=0.3)
        one.disk.crash_after = None
        if acknowledged:
            await world.kill(leader.name)
            await world.kill(one.name)
            await _survives(world, 2, (one, other))
        await world.stop()

    run(main())


def a_leader_that_acknowledged_loses_power() -> None:
    async def main() -> None:
        world, leader, one, other = await three()
        world.network.partition({leader.name, one.name}, {other.name})
        await asyncio.sleep(7)  # even a leader that syncs rarely is no new disk any more
        assert await write(leader, 2)
        await world.kill(leader.name)
        await world.kill(one.name)
        await _survives(world, 2, (leader, other))

    run(main())


def a_voter_crashes_and_is_asked_again() -> None:
    async def main() -> None:
        world, leader, voter, rival = await three()
        sent = world.network.tap(voter.name)
        term = node(leader).term + 5
        ask = msg.RequestVote(term, 1000, term - 1, unanimous=False)
        node(voter).receive(leader.name, ask)
        assert msg.Vote(term) in sent
        await world.kill(voter.name)
        sent.clear()
        world.start(voter.name)
        await asyncio.sleep(0.01)
        node(voter).receive(rival.name, ask)
        await asyncio.sleep(0.01)
        assert msg.Vote(term) not in sent, "voted twice in one term"
        await world.stop()

    run(main())


def a_member_comes_back_to_damaged_snapshots() -> None:
    """Its log does not reach back. Without a good one it refuses; with one it needs no more."""

    async def main() -> None:
        world, leader, member = await _a_follower_with_a_past()
        kept = snapshots(member.disk)
        for damaged in kept:
            _change_a_number(member, damaged.name)
        await _refuses(world, member, "the checksum at offset")
        _change_a_number(member, kept[0].name)  # back again
        world.start(member.name)
        await until(lambda: member.machine.log == leader.machine.log, within_s=5)
        assert kept[-1] not in snapshots(member.disk), "somebody may be sent what is damaged"
        assert await write(leader, 60)
        await until(lambda: 60 in member.machine.seen, within_s=5)
        assert not world.failures, _first(world.failures)
        await world.stop()

    run(main())


def a_bit_of_the_log_flips() -> None:
    async def main() -> None:
        world, _, member = await _a_follower_with_a_past(snapshot_count=1000)
        _change_a_number(member, _segments(member)[0])
        await _refuses(world, member, "offset")
        await world.stop()

    run(main())


def the_last_segment_of_the_log_is_lost() -> None:
    async def main() -> None:
        world, _, member = await _a_follower_with_a_past(segment_bytes=1500)
        member.disk.delete(_segments(member)[-1])
        await _refuses(world, member, "segment")
        await world.stop()

    run(main())


async def _a_follower_with_a_past(**config: Any) -> tuple[Cluster, Member, Member]:
    """A leader, and a follower that has stopped: numbers 1 to 59 in its log or two snapshots."""
    world, leader, one, _ = await three(**{"snapshot_count": 10, **config})
    for value in range(2, 60):
        assert await write(leader, value)
    await until(lambda: len(one.machine.log) == 59)
    await asyncio.sleep(1)  # until snapshots are taken, and what is in them is forgotten
    await world.kill(one.name)
    return world, leader, one


async def _refuses(world: Cluster, member: Member, reason: str) -> None:
    """Start a damaged member: it must end by saying so."""
    world.start(member.name)
    await asyncio.sleep(1)
    assert world.failures, "serves what a damaged disk gave it"
    why = _first(world.failures)
    assert isinstance(why, CorruptError), f"what a damaged disk holds was applied: {why}"
    assert reason in str(why), f"refused for another reason: {why}"
    await world.kill(member.name)
    world.failures.clear()


def _segments(member: Member) -> list[str]:
    return [name for name in member.disk.names() if name.endswith(".wal")]


def _change_a_number(member: Member, name: str) -> None:
    """Flip a bit that makes 0 of the first number in a file, and 1 again: all else there fits."""
    member.disk.corrupt(name, member.disk.read(name).index(b"0000000") + 7)
