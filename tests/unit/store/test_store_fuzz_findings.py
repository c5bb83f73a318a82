"""What the simulator found, each as small as it can be told."""

import asyncio
from random import Random

import pytest
from store_files import put
from store_members import cluster, core, learn, node, others, promote, propose, settled, tell
from store_sim import SimDisk
from virtual_loop import run, until

from wherry.store.membership import MemberInfo, decode
from wherry.store.raft import message as msg
from wherry.store.raft.core import COMMAND
from wherry.store.raft.disk import CorruptError
from wherry.store.raft.wal import CONFIGURATION, NOOP, Wal


def open_log(disk: SimDisk) -> Wal:
    return Wal(disk, cluster="c", member="m", fresh=False, segment_bytes=600)


def test_a_log_of_which_only_an_empty_segment_is_left_is_refused() -> None:
    """A snapshot hid it: the entries behind that were gone, and acknowledged (seed 2000)."""
    disk = SimDisk(Random(1))
    log = open_log(disk)
    log.append(NOOP, 1, 1)
    index = 1
    while len(disk.names()) < 3:  # until the log goes on in a new segment
        index += 1
        log.append(COMMAND + put(index), index, 1)
        log.sync()
    log.close()
    assert open_log(disk.copy()).entries[-1][1] == index
    for lost in disk.names()[:-1]:
        disk.delete(lost)
    with pytest.raises(CorruptError, match=r"\.wal offset 0: the log holds no entry"):
        open_log(disk)


def test_a_member_that_loses_its_disk_again_while_it_returns_still_returns() -> None:
    """The new id was that of the first new disk; the second one waited for ever (seed 2029)."""

    async def main() -> None:
        world = cluster()
        leader = await settled(world)
        await propose(leader, 1)
        (name, *_) = (one.name for one in others(world, leader))

        def place() -> MemberInfo:
            found = node(leader).members.named(name)
            assert found is not None
            return found

        for _ in range(2):
            await world.kill(name)
            world.members[name].disk.wipe()
            world.start(name)
            await until(lambda: place().learner, within_s=20)
        twice = world.members[name]
        await until(lambda: not place().learner and not node(twice).fresh, within_s=20)
        assert place().id == node(twice).member_id
        await world.stop()

    run(main())


def test_who_began_alone_and_lost_its_disk_does_not_lead_by_its_old_log() -> None:
    """It is told who belongs, and given a log in which it was once the only voter (seed 1014)."""

    async def main() -> None:
        world = cluster("a")
        first = await settled(world)
        await propose(first, *range(1, 20))
        for name in "bc":
            await learn(world, name)
            await promote(world, name)
        await propose(first, *range(20, 40))
        await world.kill("a")
        first.disk.wipe()
        leader = await world.leader()
        configuration = node(leader).configuration
        tell(world, "a", configuration)
        world.network.partition({"a"}, {"b", "c"})
        world.start("a")
        await until(lambda: core(first) is not None)
        begin, *_ = entries = core(leader)._wal.entries
        two = next(i for i, (command, _, _) in enumerate(entries) if len(_voters(command)) == 2)
        assert any(len(_voters(command)) == 1 for command, _, _ in entries[:two])
        node(first).receive(
            leader.name,
            msg.Append(
                node(leader).term, 0, entries[two - 1][1], begin[1], begin[2], entries[1:two]
            ),
        )
        await asyncio.sleep(5)
        assert core(first).last == entries[two - 1][1]
        assert not node(first).is_leader
        world.network.heal()
        await until(lambda: not node(first).fresh)
        assert first.machine.log == list(range(1, 40))
        assert await world.leader() is not first
        await world.stop()

    run(main())


def test_everybody_in_a_configuration_of_the_past_is_not_everybody() -> None:
    """b still thinks that a and it are all; what a and c acknowledged is on c's disk only."""

    async def main() -> None:
        world = cluster("a")
        first = await settled(world)
        await propose(first, *range(1, 20))
        await learn(world, "b")
        await promote(world, "b")
        await learn(world, "c")
        behind, other = world.members["b"], world.members["c"]
        await until(lambda: len(node(behind).configuration.voters) == 2)
        world.network.partition({"b"}, {"a", "c"})
        got = await promote(world, "c")
        assert isinstance(got, tuple), got
        await propose(first, *range(20, 40))
        configuration = node(first).configuration
        assert len(node(behind).configuration.voters) == 2
        await world.kill("c")
        await world.kill("a")
        first.disk.wipe()
        tell(world, "a", configuration)
        world.network.heal()
        world.start("a")
        await asyncio.sleep(10)
        assert not world.leaders(), "b knows nothing of what c has"
        world.start("c")
        await until(lambda: len(first.machine.log) == 39, within_s=20)
        assert other.machine.log == behind.machine.log == list(range(1, 40))
        await world.stop()

    run(main())


def _voters(command: bytes) -> tuple[MemberInfo, ...]:
    return decode(command[1:]).voters if command[:1] == CONFIGURATION else ()
