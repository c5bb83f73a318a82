"""How long nobody can write: after kill -9 of the leader, and when it hands over."""

import asyncio
import contextlib
import signal
import time
from itertools import pairwise
from typing import Protocol

from _report import Report
from store.load import quantile
from store.rig import caught_up, etcdctl, leader_of
from store_process import Processes, cluster

from wherry.store.client import StoreClient
from wherry.store.kv import Put


class Gaps:
    """Writes all the time, one after the other, and remembers when each was acknowledged."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._done: list[float] = []

    async def write(self) -> None:
        while True:
            await self._client.txn([], [Put(b"/failover", b"1")])
            self._done.append(time.perf_counter())

    def longest_s(self, since: float) -> float:
        """Return the longest time without an acknowledged write that ended after `since`."""
        after = [done for done in self._done if done > since]
        before = [done for done in self._done if done <= since][-1:] or [since]
        times = [*before, *after]
        return max(b - a for a, b in pairwise(times))


async def _gap(processes: Processes, first: str, act: "Act", *, leader: str) -> float:
    """Return how long a client that prefers `first` could not write around `act`."""
    client = processes.client(first, timeout_s=30)
    gaps = Gaps(client)
    writing = asyncio.ensure_future(gaps.write())
    try:
        await asyncio.sleep(0.2)
        began = time.perf_counter()
        await act(processes, leader)
        await leader_of(processes, but=leader)
        await asyncio.sleep(0.3)
        return gaps.longest_s(began)
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        await client.close()


class Act(Protocol):
    """What happens to a leader."""

    async def __call__(self, processes: Processes, leader: str) -> None:
        """Do it."""
        ...


class Kill:
    """`kill -9`, or SIGTERM."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def __call__(self, processes: Processes, leader: str) -> None:
        await asyncio.to_thread(processes.kill, leader, self._number)


class MoveLeader:
    """`etcdctl move-leader`, as an operator does it."""

    async def __call__(self, processes: Processes, leader: str) -> None:
        tls = processes.tls("admin")
        flags = [
            *("--endpoints", processes.etcd(leader), "--cacert", str(tls.ca)),
            *("--cert", str(tls.cert), "--key", str(tls.key)),
        ]
        listed = await etcdctl([*flags, "member", "list"])
        lines = [line.split(", ") for line in listed.stdout.splitlines()]
        other = next(line[0] for line in lines if line[2] != leader)
        done = await etcdctl([*flags, "move-leader", other])
        if done.returncode:
            raise SystemExit(f"etcdctl move-leader: {done.stderr}")


async def trials(processes: Processes, act: Act, count: int, *, near: bool) -> list[float]:
    """`near`: the client prefers the leader, else a follower, as on another master."""
    gaps = []
    for _ in range(count):
        leader = await leader_of(processes)
        others = [name for name in processes.names if name != leader]
        first = leader if near else others[0]
        gaps.append(await _gap(processes, first, act, leader=leader))
        processes.start_missing()
        for name in processes.names:
            await caught_up(processes, name)
    return gaps


async def failover(report: Report, count: int) -> None:
    """A cluster of its own: its members die often."""
    async with cluster(3) as processes:
        killed = await trials(processes, Kill(signal.SIGKILL), count, near=True)
        planned = {
            "SIGTERM, client elsewhere": await trials(
                processes, Kill(signal.SIGTERM), max(2, count // 2), near=False
            ),
            "SIGTERM, client of the leader": await trials(
                processes, Kill(signal.SIGTERM), max(2, count // 4), near=True
            ),
            "move-leader": await trials(processes, MoveLeader(), max(2, count // 4), near=False),
        }
    report.add(f"failover after kill -9, p50 of {count}", quantile(killed, 0.5), "s", "< 1")
    report.add(f"failover after kill -9, max of {count}", max(killed), "s", "< 2")
    for name, gaps in planned.items():
        report.add(f"hand-over, {name}, p50", quantile(gaps, 0.5) * 1e3, "ms")
        report.add(f"hand-over, {name}, max", max(gaps) * 1e3, "ms", "< 100")
