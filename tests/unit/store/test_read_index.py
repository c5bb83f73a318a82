"""Linearizable reads that a follower vouches for: when that is enough, and when it is not.

Of five members, and of a disk that was lost: `store_scenarios.py`.
"""

import asyncio
from collections.abc import Callable

import pytest
from store_members import Cluster, Member, cluster, core, learn, node, others, propose, settled
from virtual_loop import run, until

from wherry.store.raft import message as msg
from wherry.store.raft.core import Vouch
from wherry.store.raft.machine import Lost


async def three(names: str = "abc") -> tuple[Cluster, Member, Member]:
    """A leader and one of its followers, with everything settled; one entry is committed."""
    world = cluster(names)
    leader = await settled(world)
    assert not isinstance((await propose(leader, 1))[0], Lost)
    await until(lambda: all(member.machine.log == [1] for member in world.alive()))
    return world, leader, others(world, leader)[0]


def read(leader: Member, vouch: Vouch | None) -> list[int | Lost]:
    got: list[int | Lost] = []
    node(leader).read_index(got.append, vouch)
    return got


def vouch_of(member: Member) -> Vouch:
    return Vouch(member.name, node(member).vouching_term)


def test_two_of_three_need_no_round() -> None:
    async def main() -> None:
        world, leader, follower = await three()
        assert read(leader, vouch_of(follower)) == [node(leader).commit]
        assert read(leader, None) == [], "alone it must ask"
        await world.stop()

    run(main())


@pytest.mark.parametrize(
    "vouch",
    [
        lambda leader, follower: Vouch(follower.name, 0),
        lambda leader, follower: Vouch(follower.name, node(leader).term - 1),
        lambda leader, follower: Vouch(follower.name, node(leader).term + 1),
        lambda leader, follower: Vouch(leader.name, node(leader).term),
        lambda leader, follower: Vouch("stranger", node(leader).term),
    ],
    ids=["it does not", "an older term", "a newer term", "of itself", "a stranger"],
)
def test_what_does_not_vouch_for_this_term_needs_a_round(
    vouch: Callable[[Member, Member], Vouch],
) -> None:
    async def main() -> None:
        world, leader, follower = await three()
        got = read(leader, vouch(leader, follower))
        assert got == []
        await until(lambda: got == [node(leader).commit])
        await world.stop()

    run(main())


def test_a_learner_vouches_for_nothing() -> None:
    async def main() -> None:
        world, leader, _ = await three()
        learner = await learn(world, "d")
        await until(lambda: learner.machine.log == [1] and not node(learner).fresh)
        assert read(leader, vouch_of(learner)) == []
        await world.stop()

    run(main())


def test_before_the_first_entry_of_the_term_is_committed_a_vouch_is_not_enough() -> None:
    async def main() -> None:
        world, leader, follower = await three()
        vouch = vouch_of(follower)
        core(leader)._SyncObj__noopIDx = node(leader).commit + 1
        assert read(leader, vouch) == []
        await world.stop()

    run(main())


def test_a_new_disk_does_not_vouch_nor_confirm() -> None:
    """It may have voted for another leader, and forgotten that."""

    async def main() -> None:
        world, leader, follower = await three()
        third = others(world, leader, follower)[0]
        await world.kill(third.name)
        core(follower)._wal.fresh = True
        assert vouch_of(follower).term == 0
        got = read(leader, None)
        ack = msg.Ack(node(leader).term, 1 << 40, node(leader).commit + 1, True, False, fresh=True)
        node(leader).receive(follower.name, ack)
        await asyncio.sleep(0.01)
        assert got == []
        assert read(leader, Vouch(follower.name, node(leader).term)) == [], "it said that it is new"
        await world.stop()

    run(main())


@pytest.mark.parametrize("fresh", [True, False])
def test_who_is_sent_a_snapshot_confirms_reads_unless_its_disk_is_new(fresh: bool) -> None:
    async def main() -> None:
        world, leader, follower = await three()
        for other in others(world, leader):
            await world.kill(other.name)
        got = read(leader, None)
        ack = msg.SnapshotAck(node(leader).term, 1 << 40, 1, 1, 0, fresh)
        node(leader).receive(follower.name, ack)
        await asyncio.sleep(0.01)
        assert bool(got) is not fresh
        await world.stop()

    run(main())


def test_a_single_member_reads_by_itself() -> None:
    async def main() -> None:
        world = cluster("a")
        leader = await world.leader()
        got = read(leader, None)
        await until(lambda: got == [node(leader).commit])
        await world.stop()

    run(main())
