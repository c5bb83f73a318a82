"""Members come and go in the simulated world, one danger at a time."""

import asyncio
from typing import Any

import pytest
from store_members import (
    Cluster,
    Member,
    arrive,
    ask,
    change,
    cluster,
    core,
    learn,
    node,
    number,
    others,
    promote,
    propose,
    settled,
)
from store_sim import SimDisk
from virtual_loop import run, until

from wherry.store import membership
from wherry.store.membership import (
    NOT_IN_SYNC,
    UNHEALTHY,
    AddMember,
    Configuration,
    Progress,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    initial,
)
from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost
from wherry.store.raft.node import RemovedError
from wherry.store.raft.wal import CONFIGURATION


def split(world: Cluster, *apart: Member) -> None:
    names = {one.name for one in apart}
    world.network.partition(names, set(world.members) - names)


async def other_leader(world: Cluster, *old: Member) -> Member:
    def found() -> list[Member]:
        return [one for one in world.leaders() if one not in old and node(one).ready]

    await until(lambda: bool(found()))
    return found()[0]


def test_a_learner_is_given_everything_and_counts_for_nothing() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        await propose(leader, 1, 2)
        learner = await learn(world, "d")
        await until(lambda: learner.machine.log == [1, 2])
        asked = [*others(world, leader, learner)]
        taps = {one.name: world.network.tap(one.name) for one in world.members.values()}
        split(world, leader, learner)
        write: list[int | Lost] = []
        read: list[int | Lost] = []
        node(leader).propose(b"00000003", write.append)
        node(leader).read_index(read.append)
        await until(lambda: bool(write and read), within_s=2)
        assert (write, read) == ([Lost.UNKNOWN], [Lost.NOT_LEADER])
        await other_leader(world, leader)
        assert not any(isinstance(one, msg.PreVote | msg.RequestVote) for one in taps["d"])
        await world.kill(asked[0].name)
        await asyncio.sleep(5)
        assert not any(node(one).is_leader and node(one).ready for one in world.alive())
        assert not any(isinstance(one, msg.Vote | msg.PreVoteGranted) for one in taps["d"])
        await world.stop()

    run(main())


def test_one_grows_to_three_under_load() -> None:
    async def main() -> None:
        world = cluster("a", snapshot_count=20)
        leader = await world.leader()
        given: list[int | Lost] = []
        for value in range(1, 301):
            node(leader).propose(b"%08d" % value, given.append)
            if value == 100:
                await learn(world, "b")
            if value == 150:
                assert isinstance(await promote(world, "b"), tuple)
            if value == 200:
                await learn(world, "c")
            if value == 250:
                assert isinstance(await promote(world, "c"), tuple)
            await asyncio.sleep(0.001)
        await until(lambda: given == list(range(300)))
        await until(lambda: all(len(one.machine.log) == 300 for one in world.alive()))
        await until(lambda: not any(node(one).fresh for one in world.alive()))
        await world.kill("a")
        assert await propose(await world.leader(), 301) == [300]
        await world.stop()

    run(main())


def test_a_removed_member_stops_and_disturbs_nobody() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        term = node(leader).term
        gone = others(world, leader)[0]
        own = node(gone).member_id
        assert isinstance(await change(world, RemoveMember(own)), tuple)
        await until(lambda: gone.node is None)
        assert any(
            isinstance(one, RemovedError)
            for group in world.failures
            for one in group.exceptions  # type: ignore[attr-defined]  # it is a group
        )
        world.failures.clear()
        await asyncio.sleep(3)
        assert (node(leader).term, node(leader).is_leader) == (term, True)
        world.start(gone.name)  # it does not know better, and is told again
        await until(lambda: gone.node is None)
        assert (node(leader).term, node(leader).is_leader) == (term, True)
        await world.stop()

    run(main())


def test_no_leader_removes_itself() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        assert await change(world, RemoveMember(node(leader).member_id)) == UNHEALTHY
        assert node(leader).hand_over()
        await other_leader(world, leader)
        await change(world, RemoveMember(node(leader).member_id))
        await until(lambda: leader.node is None)
        assert await propose(await world.leader(), 1) == [0]
        await world.stop()

    run(main())


def test_the_leader_is_moved_to_whom_one_says_while_writes_go_on() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        target = others(world, leader)[-1]
        answers: list[int | Lost] = []
        for value in range(1, 200):
            if node(leader).is_leader:
                node(leader).propose(b"%08d" % value, answers.append)
            if value == 100:
                assert node(leader).hand_over(target.name)
            await asyncio.sleep(0.001)
        await until(lambda: world.leaders() == [target], within_s=0.3)
        assert Lost.UNKNOWN not in answers, "what is not appended may be asked of the next leader"
        await world.stop()

    run(main())


def test_a_learner_that_is_behind_is_not_promoted() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        await propose(leader, *range(1, 101))
        got = await change(world, AddMember("d", "d:1", learner=True))
        assert isinstance(got, tuple)
        own = number(node(leader).configuration, "d")
        assert await change(world, PromoteMember(own)) == NOT_IN_SYNC
        learner = arrive(world, "d", node(leader).configuration)
        await until(lambda: len(learner.machine.log) == 100)
        assert isinstance(await promote(world, "d"), tuple)
        await world.stop()

    run(main())


def test_two_changes_at_once_are_refused() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        first = ask(leader, AddMember("d", "d:1", learner=True))
        second = ask(leader, AddMember("e", "e:1"))
        assert second == [Lost.BUSY]
        await until(lambda: bool(first))
        assert isinstance(first[0], tuple)
        await world.stop()

    run(main())


def test_a_new_leader_changes_nothing_before_its_own_term_is_committed() -> None:
    """The bug of 2015: without this, majorities of two configurations need not meet."""

    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        split(world, leader)
        new = await other_leader(world, leader)
        raft = core(new)
        raft._SyncObj__noopIDx = raft.commit + 1
        assert ask(new, RemoveMember(node(leader).member_id)) == [Lost.BUSY]
        await world.stop()

    run(main())


def test_a_change_that_another_leader_cuts_off_is_reverted() -> None:
    async def main() -> None:
        world = cluster()
        old = await settled(world)
        before = node(old).configuration
        split(world, old)
        # Straight into the log: the rules refuse it, for the others are not heard.
        asked = ask(old, AddMember("d", "d:1"))
        assert node(old).configuration != before
        new = await other_leader(world, old)
        await propose(new, 1)
        world.network.heal()
        await until(lambda: old.machine.log == [1])
        assert node(old).configuration == before
        assert asked == [Lost.UNKNOWN]
        assert "d" not in core(old)._peers
        await world.stop()

    run(main())


@pytest.mark.parametrize("at", range(12))
def test_members_crash_at_any_sync_while_members_change(at: int) -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        await propose(leader, 1)
        for member in world.members.values():
            member.disk.crash_after = at
        ask(leader, AddMember("d", "d:1", learner=True))
        node(leader).propose(b"00000002", lambda _: None)
        await asyncio.sleep(1)
        for member in world.members.values():
            member.disk.crash_after = None
        world.start_all()
        now = await world.leader()
        await until(lambda: not any(node(one).fresh for one in world.alive()))
        got = await propose(now, 3)
        assert isinstance(got[0], int)
        await until(lambda: len({node(one).members for one in world.alive()}) == 1)
        wanted = {"a", "b", "c", "d"} if node(now).members.learners else {"a", "b", "c"}
        assert {one.key for one in node(now).members.members} == wanted
        await world.stop()

    run(main())


def test_a_snapshot_says_who_the_members_are() -> None:
    async def main() -> None:
        world = cluster(snapshot_count=10)
        leader = await settled(world)
        await learn(world, "d")
        await promote(world, "d")
        for first in range(1, 400, 20):
            await propose(await world.leader(), *range(first, first + 20))
        leader = await world.leader()
        wal: Any = node(leader)._wal
        held = [one for one in wal.entries if one[0][:1] == CONFIGURATION]
        assert not held, "only the snapshot knows"
        members = node(leader).members
        for name in list(world.members):
            await world.kill(name)
        world.start_all()
        leader = await world.leader()
        assert node(leader).members == members
        late = await learn(world, "e")
        await until(lambda: len(late.machine.log) == 400)
        await until(lambda: node(late).members == node(leader).members)
        await world.stop()

    run(main())


def test_a_wiped_member_returns_as_a_learner_under_a_new_id_and_is_promoted() -> None:
    async def main() -> None:
        world = cluster(snapshot_count=20)
        leader = await settled(world)
        await propose(leader, *range(1, 51))
        wiped = others(world, leader)[0]
        before = node(wiped).member_id
        await world.kill(wiped.name)
        wiped.disk.wipe()
        seen: set[tuple[bool, bool]] = set()
        world.start(wiped.name)

        def voter() -> bool:
            now = node(leader).members.named(wiped.name)
            assert now is not None
            seen.add((now.id == before, now.learner))
            return not now.learner and now.id != before

        await until(voter)
        assert seen == {(True, False), (False, True), (False, False)}
        assert before in node(leader).members.removed
        await until(lambda: not node(wiped).fresh)
        assert wiped.machine.log == list(range(1, 51))
        split(world, leader)  # it may vote now
        await other_leader(world, leader)
        await world.stop()

    run(main())


def test_nothing_acknowledged_is_lost_with_a_disk_while_another_is_behind() -> None:
    """The wiped member and the one behind are a majority, and must not decide alone."""

    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        wiped, behind = others(world, leader)
        await world.kill(behind.name)
        await propose(leader, *range(1, 31))
        await world.kill(wiped.name)
        wiped.disk.wipe()
        world.start(wiped.name)  # too few are up for a new id: it stays a voter that cannot vote
        await asyncio.sleep(3)
        assert node(leader).configuration.learners == ()
        await world.kill(leader.name)
        world.start(behind.name)
        await asyncio.sleep(10)
        assert not world.leaders()
        world.start(leader.name)
        now = await world.leader()
        await until(lambda: all(len(one.machine.log) == 30 for one in world.alive()))
        await until(lambda: not node(now).members.learners and bool(node(now).members.removed))
        await world.stop()

    run(main())


def test_an_old_disk_of_a_replaced_member_is_told_that_it_is_out() -> None:
    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        lost = others(world, leader)[0]
        await world.kill(lost.name)
        old = lost.disk
        lost.disk = SimDisk(world.rng)
        world.start(lost.name)
        await until(lambda: bool(node(leader).members.removed) and not node(lost).fresh)
        await world.kill(lost.name)
        lost.disk = old
        world.start(lost.name)
        await until(lambda: lost.node is None, within_s=20)
        await world.stop()

    run(main())


def test_a_new_disk_takes_an_id_only_when_that_is_agreed() -> None:
    """The entry that gives it may yet be cut off; the id that it took would be nobody's."""

    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        wiped = others(world, leader)[0]
        await world.kill(wiped.name)
        wiped.disk.wipe()
        split(world, wiped)
        world.start(wiped.name)
        await asyncio.sleep(0.01)
        term, raft = node(leader).term, core(wiped)
        before = raft.configuration
        active = Progress({one.id for one in before.members}, {}, 1)
        own = number(before, wiped.name)
        replaced = membership.change(before, ReplaceMember(own), raft.member_id, active)
        assert isinstance(replaced, Configuration)
        entry = (CONFIGURATION + membership.encode(replaced), 2, term)
        node(wiped).receive(leader.name, msg.Append(term, 0, 1, 1, 0, [entry]))
        await asyncio.sleep(0.1)
        assert raft.configuration == replaced
        assert raft._wal.member_id == 0
        node(wiped).receive(leader.name, msg.Append(term, 0, 2, 2, term, []))
        await asyncio.sleep(0.1)
        assert raft._wal.member_id == raft._wal.spare
        await world.stop()

    run(main())


def test_ids_follow_from_cluster_and_name() -> None:
    one = initial("c", ("a", "b"), ("h1:1", "h2:1"))
    assert [m.id for m in one.members] == [m.id for m in initial("c", ("b", "a")).members]
    assert one.members[0].id != initial("d", ("a",)).members[0].id
    assert isinstance(one, Configuration)
