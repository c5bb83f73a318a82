"""The way back: a snapshot of a busy member restored elsewhere, and a cluster out of one disk."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ports import claim
from store_process import Processes, cluster

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.kv import CompactedError, Put, Range

pytestmark = pytest.mark.integration


async def wherry(*arguments: str | Path, code: int = 0) -> str:
    """Run `wherry store ...`; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wherry.cli", "store", *map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == code, said.decode()
    return said.decode()


class Load:
    """Clients that put and remember what was acknowledged."""

    def __init__(self, clients: Sequence[StoreClient]) -> None:
        self._clients = clients
        self.asked: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.revision = 0
        self._stop = asyncio.Event()

    async def _write(self, client: StoreClient, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            key = b"/v/%d-%d" % (number, count)
            count += 1
            self.asked.add(key)
            done = await client.txn([], [Put(key, key * 20)])
            self.acknowledged.add(key)
            self.revision = max(self.revision, done.revision)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            for number, client in enumerate(self._clients):
                tasks.create_task(self._write(client, number))
            yield
            self._stop.set()


async def keys(client: StoreClient) -> tuple[set[bytes], int]:
    found = await client.range(Range(b"/v/", b"/v0", keys_only=True))
    return {kv.key for kv in found.kvs}, found.revision


def flags(processes: Processes, name: str, token: str) -> list[str]:
    peers = ",".join(f"{n}=127.0.0.1:{processes.ports[n][0]}" for n in processes.names)
    return [
        *("--data-dir", str(processes.directory / name), "--name", name),
        *("--initial-cluster", peers, "--initial-cluster-token", token),
    ]


async def written(load: Load, count: int) -> None:
    """Wait until so many writes were acknowledged."""
    async with asyncio.timeout(120):
        while len(load.acknowledged) < count:  # a count
            await asyncio.sleep(0.02)


def test_a_snapshot_of_a_busy_member_starts_a_new_cluster() -> None:
    async def main() -> None:
        async with cluster(3, flags=("--snapshot-count", "300")) as processes:
            file = processes.directory / "backup.snap"
            socket = processes.directory / "m2.sock"
            load = Load([processes.client(name, timeout_s=60) for name in processes.names * 4])
            async with load.running():
                await written(load, 51)
                before = set(load.acknowledged)
                await wherry("snapshot", "save", file, "--socket", socket)
                after = set(load.acknowledged)
            assert len(after) > len(before) > 50, "it was to be taken while writes went on"
            assert file.stat().st_mode & 0o777 == 0o600
            status = json.loads(await wherry("snapshot", "status", file, "-w", "json"))
            assert status["totalKey"] >= len(before)
            restored = Processes(3, flags=("--initial-cluster-token", "restored"))
            try:
                for name in restored.names:
                    await wherry("snapshot", "restore", file, *flags(restored, name, "restored"))
                    assert "good" in await wherry("verify", restored.directory / name)
                restored.start_all()
                client = restored.client(timeout_s=60)
                found, revision = await keys(client)
                assert before <= found, "acknowledged before the snapshot was asked for"
                assert found <= load.asked, "nobody wrote that"
                assert len(found) == status["totalKey"]
                assert revision > load.revision, "a revision was used twice"
                await client.txn([], [Put(b"/v/new", b"1")])
                await client.close()
                for name in restored.names:
                    own = restored.client(name, timeout_s=60)
                    assert (await keys(own))[0] == found | {b"/v/new"}
                    await own.close()
            finally:
                restored.close()

    asyncio.run(main())


def test_a_backup_is_possible_when_the_majority_is_gone() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            client = processes.pinned("m1", timeout_s=60)
            await client.txn([], [Put(b"/v/a", b"1")])
            await client.range(Range(b"/v/a"))  # it has applied that itself
            await client.close()
            for name in ("m2", "m3"):
                processes.kill(name)
            file = processes.directory / "backup.snap"
            said = await wherry(
                "snapshot", "save", file, "--socket", processes.directory / "m1.sock"
            )
            assert "no majority answers" in said
            assert 'totalKey":1' in await wherry("snapshot", "status", file, "-w", "json")

    asyncio.run(main())


def test_verify_and_dump_look_at_a_running_member() -> None:
    async def main() -> None:
        async with cluster(1) as processes:
            client = processes.client(timeout_s=60)
            await client.txn([], [Put(b"/v/a", b"12345")])
            await client.close()
            said = await wherry("verify", processes.directory / "m1")
            assert "a store is running" in said
            assert "good" in said
            assert "put /v/a, 5 bytes" in await wherry("dump", processes.directory / "m1")
            assert "in use by a store process: stop it first" in await wherry(
                "recover", "--data-dir", processes.directory / "m1", code=2
            )

    asyncio.run(main())


async def listed(processes: Processes, name: str) -> str:
    """Return what a member says that the members are, "" while it does not answer."""
    client = processes.pinned(name, timeout_s=5)
    try:
        await client.status()
    except UnavailableError:
        return ""
    finally:
        await client.close()
    return await wherry("member", "list", "--socket", processes.directory / f"{name}.sock")


async def settled_members(processes: Processes, count: int) -> list[str]:
    """Wait until every member says that there are `count` voters."""
    async with asyncio.timeout(120):
        while True:
            said = [await listed(processes, name) for name in processes.processes]
            if all(one.count(", started, ") == count and "true" not in one for one in said):
                return said
            await asyncio.sleep(0.2)


def test_a_cluster_comes_back_from_one_disk() -> None:
    async def main() -> None:
        async with cluster(3, flags=("--snapshot-count", "400")) as processes:
            load = Load([processes.client(name, timeout_s=60) for name in processes.names * 4])
            async with load.running():
                await written(load, 1000)  # so that there are snapshots, and a log behind them
            survivor, *lost = processes.names
            caught_up = processes.pinned(
                survivor, timeout_s=60
            )  # of what it lacks nobody could tell
            assert (await keys(caught_up))[0] == load.acknowledged
            await caught_up.close()
            for name in processes.names:
                processes.kill(name, signal.SIGKILL)
            for name in lost:
                shutil.rmtree(processes.directory / name)
            path = processes.directory / survivor
            peers = flags(processes, survivor, "wherry")[5]
            report = json.loads(
                await wherry("recover", "--inspect", "-o", "json", "--data-dir", path)
            )
            assert report["keys"] == len(load.acknowledged)
            said = await wherry("recover", "--data-dir", path, "--initial-cluster", peers, "--yes")
            assert "nobody can say" in said
            processes.start(survivor)
            alone = processes.client(survivor, timeout_s=60)
            found, revision = await keys(alone)
            assert found == load.acknowledged
            assert revision > load.revision, "a revision was used twice"
            with pytest.raises(CompactedError):  # who watched is told to read again
                await anext(alone.watch(b"/v/", b"/v0", revision=load.revision))
            await alone.txn([], [Put(b"/v/alone", b"1")])
            for name in lost:
                tls = processes.tls(name)
                await wherry(
                    *("rejoin", "--name", name, "--data-dir", processes.directory / name),
                    *("--initial-cluster", peers, "--ca-file", tls.ca),
                    *("--cert-file", tls.cert, "--key-file", tls.key),
                )
                processes.start(name)
            await settled_members(processes, 3)
            processes.kill(survivor)  # who is back can go on without the one that had it all
            client = processes.client(lost[0], timeout_s=60)
            await client.txn([], [Put(b"/v/without", b"1")])
            assert (await keys(client))[0] == load.acknowledged | {b"/v/alone", b"/v/without"}
            await client.close()
            await alone.close()

    asyncio.run(main())


def test_a_disk_that_fails_stops_the_process_with_one_line(tmp_path: Path) -> None:
    """No file may grow beyond 1 MB here, so that the log cannot be made."""
    done = subprocess.run(
        [
            *("prlimit", "--fsize=1000000", sys.executable, "-m", "wherry.cli", "store"),
            *("--data-dir", tmp_path / "d", "--socket", tmp_path / "s.sock", "--health-port", "0"),
            *("--listen-peer", f"127.0.0.1:{claim(1)[0]}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("wherry store:")]
    assert f"cannot create {tmp_path}/d/0000000000000001.wal: File too large" in said
    assert "this member stops" in said
    assert "Traceback" not in done.stderr
