"""Dangers that chance meets too rarely, set up by hand: each raises `AssertionError` if met.

They are run on the store as it is, where they must pass, and with the protection switched off
(`store_mutations.py`), where they must not.
"""

import asyncio
from random import Random

from store_members import Member, ask, change, cluster, learn, number, others, settled
from store_three import node, three, write
from store_world import StoreWorld
from virtual_loop import run, until

from wherry.store.entry import NOBODY, Expire, Grant, Revoke, encode_command
from wherry.store.kv import Put
from wherry.store.membership import AddMember, RemoveMember
from wherry.store.mvcc import MvccState
from wherry.store.raft import message as msg
from wherry.store.raft.core import Vouch
from wherry.store.raft.machine import Lost


def a_late_acknowledgement_of_an_older_term() -> None:
    async def main() -> None:
        world, leader, one, other = await three()
        world.network.partition({leader.name}, {one.name, other.name})
        got: list[int | Lost] = []
        node(leader).propose(b"00000002", got.append)
        await asyncio.sleep(0.05)
        stale = msg.Ack(node(leader).term - 1, 99, node(leader)._core.last + 1, True, False)
        node(leader).receive(one.name, stale)
        await asyncio.sleep(0.05)
        assert not got, "committed by the word of an older term"
        await world.stop()

    run(main())


def a_shorter_message_comes_again() -> None:
    async def main() -> None:
        world, leader, one, other = await three()
        world.network.partition({other.name}, {leader.name, one.name})
        for value in range(2, 9):
            assert await write(leader, value), f"write {value} finds no majority"
        wal = node(one)._wal
        held = list(wal.entries)
        prev = held[-4]
        world.network.partition({"a"}, {"b"}, {"c"})
        node(one)._core._SyncObj__raftCommitIndex = prev[1]  # it has not heard of the rest yet
        again = msg.Append(node(leader).term, 0, prev[1], prev[1], prev[2], held[-3:-2])
        node(one).receive(leader.name, again)
        assert wal.entries == held, "what was acknowledged was cut off"
        await world.stop()

    run(main())


def a_heartbeat_to_who_has_entries_of_its_own() -> None:
    async def main() -> None:
        world, old, one, other = await three()
        world.network.partition({old.name}, {one.name, other.name})
        common = node(old)._wal.entries[-1]
        for value in range(100, 110):
            node(old).propose(b"%08d" % value, lambda _: None)
        await asyncio.sleep(0.05)
        beat = msg.Append(node(old).term + 1, 0, common[1] + 5, common[1], common[2], [])
        node(old).receive(one.name, beat)
        commit = node(old).commit
        assert commit <= common[1], f"committed {commit}, and compared up to {common[1]}"
        await world.stop()

    run(main())


def an_entry_of_an_older_term_on_a_majority() -> None:
    """Figure 8: it may still be overwritten, until one of the new term stands behind it."""

    async def main() -> None:
        world, leader, one, other = await three()
        term = node(leader).term
        world.network.partition({leader.name}, {one.name, other.name})
        node(leader).propose(b"00000002", lambda _: None)
        await asyncio.sleep(0.05)
        entry = node(leader)._wal.entries[-1]
        await world.kill(other.name)
        await until(lambda: not node(leader).is_leader)
        world.network.heal()
        await until(lambda: node(leader).is_leader and node(leader).term > term, step_s=0.0001)
        world.network.partition({leader.name}, {one.name})  # nothing of it arrives
        ack = msg.Ack(node(leader).term, 0, entry[1] + 1, success=True, reset=False)
        node(leader).receive(one.name, ack)
        await asyncio.sleep(0.05)
        assert node(leader).commit < entry[1], "an entry of an older term was counted"
        await world.stop()

    run(main())


def a_member_that_cannot_hear() -> None:
    async def main() -> None:
        world, leader, deaf, other = await three()
        term = node(leader).term
        world.network.cut = {(leader.name, deaf.name), (other.name, deaf.name)}
        await asyncio.sleep(5)
        now = {node(m).term for m in world.alive()}
        assert now == {term}, f"the term went from {term} to {now}"
        await world.stop()

    run(main())


def a_deposed_leader_is_asked_to_read() -> None:
    async def main() -> None:
        world, old, one, other = await three()
        world.network.partition({old.name}, {one.name, other.name})
        await asyncio.sleep(0.3)  # it believes for a while yet that it leads
        got: list[int | Lost] = []
        node(old).read_index(got.append)
        await until(lambda: bool(got), within_s=3)
        assert isinstance(got[0], Lost), "a leader without a majority answered a read"
        await world.stop()

    run(main())


def two_of_five_are_asked_to_read() -> None:
    """The other three have a leader of their own, and an entry that these two do not know."""

    async def main() -> None:
        world = cluster("abcde")
        old = await settled(world)
        follower, *rest = others(world, old)
        vouch = Vouch(follower.name, node(follower).vouching_term)
        world.network.partition({old.name, follower.name}, {member.name for member in rest})
        await until(lambda: any(node(member).is_leader for member in rest))
        (new,) = (member for member in rest if node(member).is_leader)
        assert await write(new, 2)
        assert node(old).is_leader, "it believes for a while yet that it leads"
        got: list[int | Lost] = []
        node(old).read_index(got.append, vouch)
        await until(lambda: bool(got), within_s=3)
        assert isinstance(got[0], Lost), "a leader without a majority answered a read"
        await world.stop()

    run(main())


def a_follower_forgot_whom_it_follows() -> None:
    """It voted for another leader, lost its disk, and meets the old one."""

    async def main() -> None:
        world, old, new, voter = await three()
        world.network.partition({old.name}, {new.name, voter.name})
        node(new).receive(old.name, msg.TimeoutNow(node(new).term))  # no need to wait for it
        await until(lambda: node(new).is_leader, step_s=0.001)
        assert await write(new, 2)
        await world.kill(voter.name)
        voter.disk.wipe()
        world.network.partition({old.name, voter.name}, {new.name})
        world.start(voter.name)
        assert node(old).is_leader, "it believes for a while yet that it leads"
        got: list[int | Lost] = []
        node(old).read_index(got.append)
        await until(lambda: node(voter).leader == old.name, step_s=0.001)
        await asyncio.sleep(3)
        assert all(isinstance(one, Lost) for one in got), "a stale read: 2 was acknowledged"
        await world.stop()

    run(main())


def a_new_leader_is_asked_before_its_first_entry_is_committed() -> None:
    async def main() -> None:
        world, leader, one, other = await three()
        term = node(leader).term
        assert await write(leader, 2)
        world.network.partition({leader.name}, {one.name, other.name})
        await world.kill(leader.name)  # nobody else knows yet that it is committed
        assert not {2} & (one.machine.seen | other.machine.seen)

        def new() -> list[Member]:
            return [m for m in (one, other) if node(m).is_leader and node(m).term > term]

        await until(lambda: bool(new()), step_s=0.0001)
        (now,) = new()
        behind = other if now is one else one
        world.network.partition({now.name}, {behind.name})
        got: list[int | Lost] = []
        node(now).read_index(got.append)
        await asyncio.sleep(0.01)
        # A follower that is behind says so first: that confirms who leads, and commits nothing.
        node(now).receive(behind.name, msg.Ack(node(now).term, 10_000, 2, False, True))
        await asyncio.sleep(0.05)
        if got and not isinstance(got[0], Lost):
            assert 2 in now.machine.seen, "stale read: an acknowledged write is not there"
        await world.stop()

    run(main())


def who_forgot_and_who_was_behind_meet() -> None:
    async def main() -> None:
        world, leader, wiped, behind = await three()
        await world.kill(behind.name)
        assert await write(leader, 2)
        await world.kill(wiped.name)
        await world.kill(leader.name)
        wiped.disk.wipe()
        world.start(wiped.name)
        world.start(behind.name)
        await asyncio.sleep(10)
        assert not world.leaders(), "they lead, and lost what was acknowledged"
        await world.stop()

    run(main())


def a_leader_comes_back_and_remembers_old_deadlines() -> None:
    async def main() -> None:
        world = StoreWorld(("a", "b", "c"), Random(1))
        world.start_all()
        await until(lambda: any(one.ready for one in world.replicas.values()))
        await until(lambda: world.leader() is not None)
        first = str(world.leader())
        client = world.client("client")
        lease = await client.lease_grant(4)
        await client.txn([], [Put(b"/l", b"", lease)])
        second, third = (name for name in world.names if name != first)
        await until(lambda: world.replicas[second].state.applied > 2)
        await world.kill(third)
        await _hand_over(world, first)
        await asyncio.sleep(3)
        await client.lease_keepalive(lease)
        await _hand_over(world, second)
        await asyncio.sleep(2)
        assert lease in world.replicas[first].state.leases, "a lease ended early"
        await world.stop()

    run(main())


async def _hand_over(world: StoreWorld, leader: str) -> None:
    await world.replicas[leader].hand_over()
    await until(lambda: world.leader() not in (None, leader), within_s=10)


def a_lease_ends_after_it_was_granted_anew() -> None:
    state = MvccState()
    for command in (Grant(NOBODY, 10, 7), Revoke(NOBODY, 7), Grant(NOBODY, 10, 7)):
        state.apply(encode_command(command))
    state.apply(encode_command(Expire(((7, 1),))))
    assert 7 in state.leases, "the end of one grant hit the next"


def a_leader_is_alone_with_a_learner() -> None:
    """Of two voters and a learner: counted as three, it would be with one of the others."""

    async def main() -> None:
        world, leader, one, other = await three()
        removed = number(node(leader).configuration, other.name)
        assert isinstance(await change(world, RemoveMember(removed)), tuple)
        learner = await learn(world, "d")
        await until(lambda: learner.machine.log == [1])
        world.network.partition({leader.name, "d"}, {one.name})
        assert not await write(leader, 2, within_s=0.5), "acknowledged with one voter of two"
        await world.stop()

    run(main())


def a_second_change_is_asked_for_at_once() -> None:
    async def main() -> None:
        world, leader, _, _ = await three()
        ask(leader, AddMember("d", "d:1", learner=True))
        assert ask(leader, AddMember("e", "e:1")) == [Lost.BUSY], "two changes at once"
        await world.stop()

    run(main())
