"""Members whose disks lose power, fill up and fail; the verdict is that of `store_recorder.py`.

On loopback, but they need root: loop devices and mounts.
"""

import asyncio
from pathlib import Path

import pytest
from store_powerloss import Image, disks, left_behind, small_memory_disk
from store_process import Processes
from store_recorder import leader, recording

from wherry.api.errors import UnavailableError
from wherry.store.kv import Put

pytestmark = pytest.mark.netns
FLAGS = ("--snapshot-count", "400")


def test_power_loss_of_the_leader_then_of_all(tmp_path: Path) -> None:
    """What was acknowledged is on the disks, though their page caches are gone."""

    async def main() -> None:
        processes = Processes(3, flags=FLAGS)
        with disks(processes, processes.names, tmp_path) as disk:
            try:
                processes.start_all()
                await processes.ready()
                async with recording(processes) as record:
                    await record.progress(times=40)
                    first = await leader(processes)
                    disk.power_off(first)
                    await leader(processes, without=first)
                    processes.start(first)
                    await record.progress(times=40)
                    disk.power_off(*processes.names)
                    processes.start_all()
                    await record.progress()
            finally:
                processes.close()

    asyncio.run(main())


def test_a_full_disk_stops_its_member_alone(tmp_path: Path) -> None:
    """It says what is full and ends; the others go on; with room again it comes back."""

    async def main() -> None:
        processes = Processes(3, flags=FLAGS)
        with disks(processes, ("m1",), tmp_path) as disk:
            try:
                processes.start_all()
                await processes.ready()
                async with recording(processes) as record:
                    disk.images["m1"].fill()
                    code = await asyncio.to_thread(processes.ended, "m1")
                    said = processes.log("m1")
                    assert code == 2, said
                    (said,) = (one for one in said.splitlines() if "wherry store: cannot " in one)
                    assert f"{disk.images['m1'].mount}/data/" in said
                    assert "No space left on device; this member stops" in said
                    await record.served("m2", "m3", times=30)
                    processes.start("m1")
                    assert await asyncio.to_thread(processes.ended, "m1") == 2  # still full
                    disk.images["m1"].free()
                    processes.start("m1")
                    await record.progress()
            finally:
                processes.close()

    asyncio.run(main())


def test_an_fsync_that_fails_is_the_last(tmp_path: Path) -> None:
    """The process ends at the first error; nothing that it did not sync was acknowledged."""

    async def main() -> None:
        processes = Processes(3)
        with small_memory_disk(tmp_path / "small", "24m") as small:
            image = Image(small / "m1.img")
            image.make()
            image.up()
            processes.places["m1"] = image.mount / "data"
            try:
                processes.start_all()
                await processes.ready()
                client = processes.client("m2", timeout_s=60)
                written = 0
                while processes.processes["m1"].poll() is None and written < 60:
                    await client.txn([], [Put(b"/f/%d" % written, bytes(1_000_000))])
                    written += 1
                assert await asyncio.to_thread(processes.ended, "m1") == 2
                (said,) = (one for one in processes.log("m1").splitlines() if "cannot" in one)
                assert "wherry store: cannot fdatasync" in said
                assert "this member stops" in said
                await client.txn([], [Put(b"/f/after", b"1")])  # by the other two
                with pytest.raises(UnavailableError):
                    await processes.pinned("m1", timeout_s=0.5).status()
                await client.close()
            finally:
                processes.close()
                image.down()

    asyncio.run(main())
    assert not left_behind(tmp_path)
