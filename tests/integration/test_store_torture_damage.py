"""Damaged files, and clocks that are set, under real members."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import store_process
from store_process import Processes, cluster
from store_recorder import TRIES, leader, recording

from wherry.store.client import StoreClient
from wherry.store.kv import Put, Range

pytestmark = pytest.mark.integration
KEYS = 600


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


async def fill(processes: Processes) -> None:
    client = processes.client("m1", timeout_s=60)
    for start in range(0, KEYS, 50):
        await asyncio.gather(
            *(client.txn([], [Put(b"/k/%d" % n, b"x" * 300)]) for n in range(start, start + 50))
        )
    for name in processes.names:
        own = processes.pinned(name, timeout_s=60)
        await own.range(Range(b"/k/1"))  # it has caught up
        await own.close()
    await client.close()


def snapshots(processes: Processes, name: str) -> list[Path]:
    """Return the snapshots of a member, the oldest first."""
    return sorted(processes.data(name).glob("*.snap"))


async def holds_everything(processes: Processes, name: str) -> None:
    own = processes.pinned(name, timeout_s=60)
    found = await own.range(Range(b"/k/", b"/k0", count_only=True))
    assert found.count == KEYS
    await own.close()


async def refuses(processes: Processes, name: str) -> str:
    """Start a member that must not run; return the line that says why."""
    processes.start(name)
    assert await asyncio.to_thread(processes.ended, name) == 2
    return processes.log(name).splitlines()[-1]


async def starts_over(processes: Processes, name: str) -> None:
    """Do what the refusal says."""
    shutil.rmtree(processes.data(name))
    processes.start(name)
    await holds_everything(processes, name)


def test_a_flipped_bit_in_the_log_is_refused_with_file_and_offset() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            await fill(processes)
            processes.kill("m2")
            (segment,) = processes.data("m2").glob("*.wal")
            written = len(segment.read_bytes().rstrip(b"\0"))
            flip(segment, written // 2)
            said = await refuses(processes, "m2")
            assert f"{segment.name} offset " in said
            offset = int(said.split("offset ")[1].split(":")[0])
            assert written // 2 - 400 < offset <= written // 2  # where the record begins
            assert "remove its data directory" in said
            await starts_over(processes, "m2")

    asyncio.run(main())


def test_a_flipped_bit_in_a_snapshot() -> None:
    """In the newest: the one before it and the log have everything. In both: refused."""

    async def main() -> None:
        async with cluster(3, flags=("--snapshot-count", "100")) as processes:
            await fill(processes)
            async with asyncio.timeout(60):
                while len(snapshots(processes, "m3")) < 2:
                    await asyncio.sleep(0.05)
            processes.kill("m3")
            newest = snapshots(processes, "m3")[-1]  # of two; or of three, before one is deleted
            flip(newest, newest.stat().st_size // 2)
            processes.start("m3")
            await holds_everything(processes, "m3")
            assert newest.name in processes.log("m3")  # it says which one it left aside
            processes.kill("m3")
            damaged = snapshots(processes, "m3")
            for path in damaged:
                flip(path, path.stat().st_size // 2)
            said = await refuses(processes, "m3")
            assert any(path.name in said for path in damaged)
            assert "offset " in said
            await starts_over(processes, "m3")

    asyncio.run(main())


@contextlib.asynccontextmanager
async def clocks(count: int) -> AsyncIterator[tuple[Processes, dict[str, Path]]]:
    """Run members each of which has a wall clock of its own, `offset` seconds wrong.

    They wait longer for their leader than a machine pauses: an election has another reason.
    """
    processes = Processes(count, flags=("--election-timeout", "5000"))
    offsets = {name: processes.directory / f"{name}.offset" for name in processes.names}
    program = str(Path(store_process.__file__).with_name("store_wall_clock.py"))
    try:
        for name, offset in offsets.items():
            offset.write_text("0")
            processes.wrapper = (sys.executable, program, str(offset))
            processes.start(name)
        await processes.ready()
        yield processes, offsets
    finally:
        processes.close()


def test_clocks_that_are_set_change_nothing() -> None:
    """By a day, forward under the leader and back under the others: no lease ends early or late."""

    async def main() -> None:
        async with clocks(3) as (processes, offsets), recording(processes) as record:
            client = processes.client("m1", timeout_s=60)
            for _ in range(TRIES):
                first = await leader(processes)
                await leases_last(client, offsets, first)
                await record.progress()
                if await leader(processes) == first:
                    break
            else:
                raise AssertionError("each time there was an election")
            await client.close()

    asyncio.run(main())


KEPT_S, LEFT_S = 20, 5
"""A lease that is renewed must outlive a pause of the machine; what a clock does to it is a day."""


async def leases_last(client: StoreClient, offsets: dict[str, Path], first: str) -> None:
    """Set the clocks, `first`'s forward, while one lease is kept and one runs out; set them back."""
    loop = asyncio.get_running_loop()
    asked = loop.time()
    left = await client.lease_grant(LEFT_S)
    kept = await client.lease_grant(KEPT_S)
    await client.txn([], [Put(b"/l/kept", b"", kept), Put(b"/l/left", b"", left)])
    for name, offset in offsets.items():
        offset.write_text("86400" if name == first else "-86400")
    while (await client.range(Range(b"/l/left"))).count:
        assert loop.time() - asked < 60, "a lease did not end"
        assert await client.lease_keepalive(kept) == KEPT_S
        await asyncio.sleep(0.2)
    assert loop.time() - asked >= 0.9 * LEFT_S, "a lease ended early"
    for offset in offsets.values():
        offset.write_text("0")
    for _ in range(10):
        assert await client.lease_keepalive(kept) == KEPT_S
        await asyncio.sleep(0.1)
    assert (await client.range(Range(b"/l/kept"))).count == 1
