"""Raft, one danger at a time, in the simulated world."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pysyncobj.syncobj import SyncObj
from store_members import Cluster, Member, cluster, node, others, propose
from virtual_loop import run, until

from wherry.api.errors import ConfigError
from wherry.store.raft import core, stock
from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost, RaftConfig
from wherry.store.raft.snapshot import snapshots, verify


def test_a_single_member_leads_at_once_and_commits_without_waiting_for_ticks() -> None:
    async def main() -> None:
        world = cluster("a")
        leader = await world.leader()
        began = asyncio.get_running_loop().time()
        assert began < 0.1
        assert await propose(leader, 1, 2) == [0, 1]
        assert asyncio.get_running_loop().time() - began < 0.02
        await world.stop()

    run(main())


def test_a_deposed_leader_refuses_reads_and_writes_within_its_lease() -> None:
    async def main() -> None:
        world = cluster()
        old = await world.leader()
        await propose(old, 1)
        world.network.partition({old.name}, {m.name for m in others(world, old)})
        read: list[int | Lost] = []
        node(old).read_index(read.append)
        write: list[int | Lost] = []
        node(old).propose(b"00000002", write.append)
        await until(lambda: bool(read and write), within_s=1.5)
        assert read == [Lost.NOT_LEADER]
        assert write == [Lost.UNKNOWN], "it may yet be applied, or not"
        new = await world.leader()
        assert new is not old
        await propose(new, 3)
        world.network.heal()
        await until(lambda: old.machine.log == [1, 3])
        await world.stop()

    run(main())


def test_a_member_that_cannot_hear_does_not_raise_the_term() -> None:
    async def main() -> None:
        world = cluster()
        leader = await world.leader()
        deaf = others(world, leader)[0]
        term = node(leader).term
        world.network.cut = {(m.name, deaf.name) for m in others(world, deaf)}
        await asyncio.sleep(10)
        assert world.leaders() == [leader]
        assert node(leader).term == term
        await world.stop()

    run(main())


def test_what_is_sent_again_in_a_shorter_message_takes_nothing_back() -> None:
    """PySyncObj's blind truncation: 70 of 192 acknowledged writes lost, on a perfect disk."""

    async def main() -> None:
        world = cluster()
        leader = await world.leader()
        follower = others(world, leader)[0]
        await propose(leader, *range(1, 9))
        await until(lambda: follower.machine.log == list(range(1, 9)))
        wal: Any = node(follower)._wal
        held = list(wal.entries)
        first, shorter = held[0], held[1:4]
        term = node(leader).term
        again = msg.Append(term, 0, held[-1][1], first[1], first[2], shorter)
        node(follower).receive(leader.name, again)
        assert wal.entries == held
        await world.stop()

    run(main())


def test_a_heartbeat_commits_nothing_that_was_not_compared() -> None:
    """A follower with entries of its own that nobody else has, in touch with a new leader."""

    async def main() -> None:
        world = cluster()
        old = await world.leader()
        await propose(old, 1)
        await until(lambda: all(m.machine.log == [1] for m in world.alive()))
        world.network.partition({old.name}, {m.name for m in others(world, old)})
        for value in range(100, 120):
            node(old).propose(b"%08d" % value, lambda _: None)
        await asyncio.sleep(0.05)
        new = await until_other_leads(world, old)
        await propose(new, *range(2, 40))
        commit = node(old).commit
        node(old).receive(new.name, msg.Heartbeat(node(new).term, 0))
        assert node(old).commit == commit
        world.network.heal()
        await until(lambda: old.machine.log == list(range(1, 40)))
        await world.stop()

    run(main())


async def until_other_leads(world: Cluster, old: Member) -> Member:
    def found() -> list[Member]:
        return [m for m in world.leaders() if m is not old and node(m).ready]

    await until(lambda: bool(found()))
    return found()[0]


def test_a_vote_survives_a_crash() -> None:
    async def main() -> None:
        world = cluster()
        leader = await world.leader()
        await propose(leader, 1)
        voter = others(world, leader)[0]
        await until(lambda: not node(voter)._wal.fresh)  # type: ignore[union-attr]
        sent = world.network.tap(voter.name)
        rival_a, rival_b = (m.name for m in others(world, voter))
        term = node(leader).term + 5
        node(voter).receive(rival_a, msg.RequestVote(term, 1000, term - 1, unanimous=False))
        assert msg.Vote(term) in sent
        await world.kill(voter.name)
        sent.clear()
        world.start(voter.name)
        await asyncio.sleep(0.01)
        node(voter).receive(rival_b, msg.RequestVote(term, 1000, term - 1, unanimous=False))
        await asyncio.sleep(0.01)
        assert msg.Vote(term) not in sent
        await world.stop()

    run(main())


def test_an_acknowledgement_of_an_older_term_counts_for_nothing() -> None:
    async def main() -> None:
        world = cluster()
        leader = await world.leader()
        await propose(leader, 1)
        world.network.partition({leader.name}, {m.name for m in others(world, leader)})
        got: list[int | Lost] = []
        node(leader).propose(b"00000002", got.append)
        await asyncio.sleep(0.05)
        raft: Any = node(leader)._core
        term, last = node(leader).term, raft.last
        before = raft.commit
        for member in others(world, leader):
            stale = msg.Ack(term - 1, 99, last + 1, success=True, reset=False)
            node(leader).receive(member.name, stale)
        await asyncio.sleep(0.05)
        assert raft.commit == before
        assert not got
        await world.stop()

    run(main())


def test_a_wiped_member_is_given_everything_before_it_may_vote() -> None:
    async def main() -> None:
        world = cluster(snapshot_count=20)
        leader = await world.leader()
        await propose(leader, *range(1, 101))
        wiped, behind = others(world, leader)
        await world.kill(behind.name)
        await propose(leader, *range(101, 131))  # acknowledged by `wiped` and the leader
        await world.kill(wiped.name)
        await world.kill(leader.name)
        wiped.disk.wipe()
        world.start(wiped.name)
        world.start(behind.name)
        await asyncio.sleep(20)
        assert not world.leaders(), "who forgot and who was behind must not decide alone"
        world.start(leader.name)
        await until(lambda: wiped.machine.log == list(range(1, 131)))
        await until(lambda: not node(wiped)._wal.fresh)  # type: ignore[union-attr]
        await world.stop()

    run(main())


async def one_is_late() -> tuple[Cluster, Member, Member]:
    """Return a leader whose log begins behind 1, and a member that has stopped and has nothing."""
    world = cluster(snapshot_count=10)
    leader = await world.leader()
    late = others(world, leader)[0]
    await world.kill(late.name)
    late.disk.wipe()
    for first in range(1, 200, 10):
        await propose(leader, *range(first, first + 10))
    return world, leader, late


def test_an_empty_member_gets_a_snapshot_and_the_log_behind_it() -> None:
    async def main() -> None:
        world, leader, late = await one_is_late()
        assert node(leader).log_length < 150, "snapshots shorten the log"
        world.start(late.name)
        await until(lambda: late.machine.log == list(range(1, 201)))
        assert world.network.sent["SnapshotChunk"] >= 1
        await world.stop()

    run(main())


def test_a_damaged_newest_snapshot_costs_nothing() -> None:
    async def main() -> None:
        world = cluster("a", snapshot_count=10)
        leader = await world.leader()
        for value in range(1, 60):
            await propose(leader, value)
        await world.kill("a")
        newest = [name for name in leader.disk.names() if name.endswith(".snap")][-1]
        leader.disk.corrupt(newest, 40)
        world.start("a")
        await until(lambda: leader.machine.log == list(range(1, 60)))
        await world.stop()

    run(main())


def test_nobody_is_sent_a_damaged_snapshot_for_ever() -> None:
    async def main() -> None:
        world, leader, late = await one_is_late()
        damaged = snapshots(leader.disk)[-1]
        leader.disk.corrupt(damaged.name, 40)
        world.start(late.name)
        await until(lambda: late.machine.log == list(range(1, 201)), within_s=10)
        for kept in snapshots(leader.disk):
            verify(leader.disk, kept.name)
        await world.stop()

    run(main())


def test_a_snapshot_damaged_on_its_way_is_sent_again() -> None:
    async def main() -> None:
        world, leader, late = await one_is_late()
        newest = snapshots(leader.disk)[-1]
        whole = leader.disk.read(newest.name)
        world.start(late.name)
        await until(lambda: late.node is not None and late.node.leader == leader.name)
        node(late).receive(
            leader.name,
            msg.SnapshotChunk(node(leader).term, 0, newest.index, newest.term, 0, 100, bytes(100)),
        )
        await until(lambda: late.machine.log == list(range(1, 201)), within_s=10)
        assert leader.disk.read(newest.name) == whole, "what is good here is kept"
        await world.stop()

    run(main())


def test_leadership_is_handed_over_without_a_timeout() -> None:
    async def main() -> None:
        world = cluster()
        leader = await world.leader()
        await propose(leader, 1)
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        assert node(leader).hand_over()
        new = await until_other_leads(world, leader)
        assert asyncio.get_running_loop().time() - began < 0.2
        assert new is not leader
        await world.stop()

    run(main())


def test_a_new_leader_is_there_within_two_seconds() -> None:
    async def main() -> None:
        world = cluster()
        await world.leader()
        await until(lambda: not any(node(m).fresh for m in world.alive()))
        for _ in range(10):
            leader = await world.leader()
            world.network.partition({leader.name}, {m.name for m in others(world, leader)})
            began = asyncio.get_running_loop().time()
            await until_other_leads(world, leader)
            assert asyncio.get_running_loop().time() - began < 2
            world.network.heal()
            await asyncio.sleep(1)
        await world.stop()

    run(main())


@pytest.mark.parametrize(
    "kind", [b"\x02", b"\x03", b"\x00"], ids=["membership", "version", "pickle"]
)
def test_commands_that_pysyncobj_would_unpickle_stop_the_process(kind: bytes) -> None:
    async def main() -> None:
        world = cluster("a")
        leader = await world.leader()
        wal: Any = node(leader)._wal
        wal.append(kind + b"cos\nsystem\n", wal.entries[-1][1] + 1, node(leader).term)
        node(leader).wake()
        await until(lambda: bool(world.failures))
        assert "has a command of type" in str(world.failures[0].exceptions[0])  # type: ignore[attr-defined]

    run(main())


def test_an_exception_in_apply_stops_the_member() -> None:
    async def main() -> None:
        world = cluster("a")
        leader = await world.leader()
        node(leader).propose(b"not a number", lambda _: None)
        await until(lambda: bool(world.failures))
        assert leader.node is None

    run(main())


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (RaftConfig("x", ("a", "b", "c"), "c"), "is not in the cluster"),
        (RaftConfig("a", ("a", "b"), "c"), "1, 3 or 5 members"),
        (RaftConfig("a", ("a", "a", "b"), "c"), "different names"),
        (RaftConfig("a", ("a",), "c", heartbeat_s=0.2), "3 heartbeats"),
    ],
)
def test_a_configuration_that_cannot_work(config: RaftConfig, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        config.check()


def test_pysyncobj_is_the_one_that_was_audited() -> None:
    check: Callable[[], None] = stock._check_audited
    check()
    assert SyncObj._SyncObj__applyLogEntries is not core.RaftCore._SyncObj__applyLogEntries
