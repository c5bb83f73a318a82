"""A snapshot of a running replica: the bytes of a file; and what a failed disk makes of a member."""

import contextlib
from pathlib import Path
from random import Random

import pytest
from store_sim import SimDisk
from store_world import SOCKET, StoreWorld
from virtual_loop import run

from wherry.api.errors import UnavailableError
from wherry.store.backup import snapshot_bytes
from wherry.store.image import ReplacedError
from wherry.store.kv import Put, Range
from wherry.store.mvcc import MvccState
from wherry.store.raft import snapshot
from wherry.store.raft.machine import RaftConfig
from wherry.store.replica import Replica
from wherry.store.tools import archive


async def filled(count: int = 1) -> StoreWorld:
    world = StoreWorld(("a", "b", "c")[:count], Random(1))
    world.start_all()
    client = world.client("a", timeout_s=60)
    for number in range(60):
        await client.txn([], [Put(b"/k/%d" % number, b"v" * 20_000)])
    await client.close()
    return world


def test_it_is_a_snapshot_file_of_one_moment_although_writes_go_on() -> None:
    async def main() -> None:
        world = await filled()
        replica = world.replicas["a"]
        before, revision = replica.state.digest(), replica.state.revision
        client = world.client("a")
        data = b""
        async with contextlib.aclosing(snapshot_bytes(replica)) as pieces:
            async for piece in pieces:
                data += piece
                await client.txn([], [Put(b"/later", piece[:100])])
        assert replica.state.revision > revision
        assert replica.state.pins == 0
        disk = SimDisk(Random(1))
        file = disk.create("x.snap")
        file.append(data)
        snapshot.verify(disk, "x.snap")
        header, chunks = snapshot.read(disk, "x.snap", "sim")
        assert header.index <= replica.node.applied
        state = MvccState()
        state.restore(chunks)
        assert (state.digest(), state.revision) == (before, revision)
        await client.close()
        await world.stop()

    run(main())


def test_a_state_that_is_replaced_meanwhile_ends_it() -> None:
    async def main() -> None:
        world = await filled()
        state = world.replicas["a"].state
        pieces = snapshot_bytes(world.replicas["a"])
        await anext(pieces)
        await anext(pieces)
        state.adopt(MvccState())
        with pytest.raises(ReplacedError, match="replaced while it was being read"):
            await anext(pieces)
        assert state.pins == 0
        await world.stop()

    run(main())


def test_a_member_that_has_not_recovered_has_none() -> None:
    async def main() -> None:
        world = StoreWorld(("a",), Random(1))
        replica = Replica(
            RaftConfig("a", ("a",), "sim"),
            world.disks["a"],
            world._link("a"),
            world.clocks["a"],
            Random(1),
        )
        with pytest.raises(UnavailableError, match="holds no state yet"):
            await anext(snapshot_bytes(replica))

    run(main())


def test_it_is_fetched_over_the_socket_and_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    async def main() -> None:
        world = await filled()
        network = world.streams.host("a")
        file = tmp_path / "backup.snap"
        await archive.save(file, archive.fetch(SOCKET, network))
        status = archive.status(file)
        assert (status.total_key, status.revision) == (60, 61)
        kept = file.read_bytes()
        pieces = archive.fetch(SOCKET, network)
        await anext(pieces)
        await world.kill("a")
        with pytest.raises(UnavailableError):
            await archive.save(file, pieces)
        assert file.read_bytes() == kept
        assert [one.name for one in tmp_path.iterdir()] == ["backup.snap"]
        with pytest.raises(UnavailableError, match="unix:///store"):
            await archive.save(file, archive.fetch(SOCKET, network))
        await world.stop()

    run(main())


def test_an_fsync_error_ends_the_member_before_it_says_anything_more() -> None:
    async def main() -> None:
        world = await filled(3)
        leader = next(name for name, one in world.replicas.items() if one.node.is_leader)
        ended: list[tuple[str, BaseException | None]] = []
        world.on_exit = lambda name, why: ended.append((name, why))
        world.disks[leader].broken = True
        outside = world.client("x", timeout_s=30)
        await outside.txn([], [Put(b"/after", b"1")])
        assert [name for name, _ in ended] == [leader]
        why = ended[0][1]
        assert isinstance(why, BaseExceptionGroup)
        assert why.subgroup(OSError) is not None
        assert (await outside.range(Range(b"/after"))).count == 1
        await outside.close()
        await world.stop()

    run(main())
