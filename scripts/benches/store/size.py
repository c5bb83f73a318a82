"""100,000 keys of 2 KB: memory, disk after churn, restart, an empty member that catches up."""

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path

from _report import Report, rss_mb
from store.load import quantile
from store.rig import caught_up, leader_of
from store_process import Processes, cluster

from wherry.store.client import StoreClient
from wherry.store.kv import Put

VALUE_BYTES = 2048
_PER_TXN = 10
_OUTSTANDING = 16


async def fill(client: StoreClient, keys: int, rewrites: int = 1) -> float:
    """Write every key `rewrites` times with what no compressor makes smaller; return seconds."""
    began = time.perf_counter()
    slots = asyncio.Semaphore(_OUTSTANDING)

    async def some(first: int) -> None:
        async with slots:
            value = os.urandom(VALUE_BYTES)
            ops = [Put(b"/size/%07d" % n, value) for n in range(first, min(keys, first + _PER_TXN))]
            await client.txn([], ops)

    for _ in range(rewrites):
        async with asyncio.TaskGroup() as tasks:
            for first in range(0, keys, _PER_TXN):
                tasks.create_task(some(first))
    return time.perf_counter() - began


def disk_mb(directory: Path) -> float:
    """Return the blocks that a directory really has."""
    blocks = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            blocks += path.stat().st_blocks
    return blocks * 512 / 1e6


class Peak:
    """The most disk that any member had, looked at often."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.mb = 0.0

    def now_mb(self) -> float:
        return max(disk_mb(self._processes.data(name)) for name in self._processes.names)

    async def look(self) -> None:
        while True:
            self.mb = max(self.mb, self.now_mb())
            await asyncio.sleep(0.2)


async def size(report: Report, keys: int, rewrites: int) -> None:
    """Compaction, which is every five minutes by default, is compressed as the churn is."""
    live_mb = keys * VALUE_BYTES / 1e6
    flags = ("--compaction-interval", "5", "--compaction-retain", "1000")
    name = f"{keys} keys of 2 KB"
    async with cluster(3, flags=flags) as processes:
        client = processes.client(timeout_s=60)
        peak = Peak(processes)
        looking = asyncio.ensure_future(peak.look())
        report.add(f"{name}: written in", await fill(client, keys), "s")
        report.add(
            f"{name}: every key rewritten {rewrites}x", await fill(client, keys, rewrites), "s"
        )
        await asyncio.sleep(12)  # two compactions
        pids = [one.pid for one in processes.processes.values()]
        memory = max(map(rss_mb, pids)) * 1.048576
        report.add(f"{name}: memory, of live data", memory / live_mb, "x", "< 2.5")
        report.add(f"{name}: disk after churn, of live data", peak.now_mb() / live_mb, "x", "< 4")
        report.add(f"{name}: disk at most, of live data", peak.mb / live_mb, "x")
        looking.cancel()
        await client.close()
        await _restart(report, name, processes)
        await _catch_up(report, name, processes)


async def _restart(report: Report, name: str, processes: Processes) -> None:
    """One follower: process start to an answered linearizable read of its own."""
    leader = await leader_of(processes)
    follower = next(each for each in processes.names if each != leader)
    processes.kill(follower)
    began = time.perf_counter()
    processes.start(follower)
    await caught_up(processes, follower)
    report.add(f"{name}: restart of a member to serving", time.perf_counter() - began, "s", "< 3")
    for each in processes.names:
        processes.kill(each)
    began = time.perf_counter()
    processes.start_all()
    await processes.ready()
    report.add(f"{name}: restart of all three to serving", time.perf_counter() - began, "s")


async def _catch_up(report: Report, name: str, processes: Processes) -> None:
    """A wiped member comes back while somebody writes."""
    leader = await leader_of(processes)
    for each in processes.names:
        await caught_up(processes, each)
    follower = next(each for each in processes.names if each != leader)
    client = processes.client(leader, timeout_s=60)
    took: list[float] = []

    async def write() -> None:
        while True:
            began = time.perf_counter()
            await client.txn([], [Put(b"/size/%07d" % (len(took) % 1000), bytes(VALUE_BYTES))])
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)

    writing = asyncio.ensure_future(write())
    await asyncio.sleep(1)
    processes.kill(follower)
    shutil.rmtree(processes.data(follower))
    took.clear()
    began = time.perf_counter()
    processes.start(follower)
    await caught_up(processes, follower)
    report.add(f"{name}: an empty member catches up", time.perf_counter() - began, "s", "< 10")
    report.add(f"{name}: writes meanwhile p50", quantile(took, 0.5) * 1e3, "ms")
    report.add(f"{name}: writes meanwhile p99", quantile(took, 0.99) * 1e3, "ms")
    report.add(f"{name}: writes meanwhile, longest", max(took) * 1e3, "ms")
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await client.close()
