"""Measures the store against Debian's etcd on this machine, in the same run, alternating.

    scripts/bench store [--json FILE] [--seconds S]

Three members of each on loopback, 1 KB values, every write durable (fdatasync) on a majority.
Ours is asked as an API server asks it: framed msgpack on the leader's Unix socket. etcd is
asked as a Python client must ask it: gRPC (grpc.aio) on its leader. So clients differ, and
only the ratio says anything about this machine.

Prints lines for people, and with --json a list of {"line", "value", "unit", "goal", "holds"}.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import SystemRandom

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests" / "support"))

import uvloop
from store_process import Processes, cluster, free_ports

from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Put, Range, Store
from wherry.store.net import Sockets

VALUE = bytes(1024)
CONCURRENCY = (1, 16, 64, 256)
KEYS = 1000


@dataclass(frozen=True)
class Result:
    """One measured line; `goal` in words, `holds` None where there is none."""

    line: str
    value: float
    unit: str
    goal: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Rate:
    """What one closed loop of `concurrency` workers got."""

    per_second: float
    p50_ms: float
    p99_ms: float


async def measure(call: Callable[[int], Awaitable[object]], workers: int, seconds: float) -> Rate:
    """Call as fast as `workers` can."""
    took: list[float] = []
    count = 0
    end = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal count
        while (began := time.perf_counter()) < end:
            count += 1
            await call(count)
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    elapsed = time.perf_counter() - began
    took.sort()
    return Rate(
        len(took) / elapsed,
        took[len(took) // 2] * 1e3,
        took[min(len(took) - 1, int(len(took) * 0.99))] * 1e3,
    )


def put(store: Store) -> Callable[[int], Awaitable[object]]:
    return lambda n: store.txn([], [Put(b"/registry/bench/%d" % (n % KEYS), VALUE)])


def get(store: Store) -> Callable[[int], Awaitable[object]]:
    return lambda n: store.range(Range(b"/registry/bench/%d" % (n % KEYS)))


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time that processes used so far, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def etcd_cluster() -> AsyncIterator[tuple[list[str], list[int]]]:
    """Run three members of Debian's etcd; yields endpoints (the leader first) and pids."""
    directory = Path(tempfile.mkdtemp(prefix="wherry-bench-etcd-"))
    ports = free_ports(6)
    names = [f"e{n}" for n in range(3)]
    peers = {n: f"http://127.0.0.1:{ports[2 * i + 1]}" for i, n in enumerate(names)}
    everyone = ",".join(f"{name}={url}" for name, url in peers.items())
    processes = []
    try:
        for i, name in enumerate(names):
            url = f"http://127.0.0.1:{ports[2 * i]}"
            with (directory / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(  # noqa: ASYNC220  # before anything is measured
                        [
                            *("etcd", "--name", name, "--data-dir", str(directory / name)),
                            *("--listen-client-urls", url, "--advertise-client-urls", url),
                            *("--listen-peer-urls", peers[name]),
                            *("--initial-advertise-peer-urls", peers[name]),
                            *("--initial-cluster", everyone, "--log-level", "error"),
                        ],
                        stdout=log,
                        stderr=log,
                    )
                )
        endpoints = [f"127.0.0.1:{ports[2 * i]}" for i in range(3)]
        leader = await asyncio.to_thread(_etcd_leader, endpoints)
        ordered = sorted(range(3), key=lambda i: endpoints[i] != leader)
        yield [endpoints[i] for i in ordered], [processes[i].pid for i in ordered]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _etcd_leader(endpoints: Sequence[str]) -> str:
    for _ in range(100):
        done = subprocess.run(
            ["etcdctl", "--endpoints", ",".join(endpoints), "endpoint", "status"],
            capture_output=True,
            text=True,
            env={**os.environ, "ETCDCTL_API": "3"},
            check=False,
        )
        for line in done.stdout.splitlines():
            fields = [field.strip() for field in line.split(",")]
            if len(fields) > 4 and fields[4] == "true":
                return fields[0]
        time.sleep(0.1)
    raise SystemExit("etcd has no leader")


async def leader_of(processes: Processes) -> str:
    client = processes.client()
    while not (leader := (await client.status()).leader):  # noqa: ASYNC110  # another process
        await asyncio.sleep(0.05)
    await client.close()
    return leader


class Bench:
    """Both clusters at once; each line is measured on one and then the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.results: list[Result] = []

    def add(
        self, line: str, value: float, unit: str, goal: str = "", *, holds: bool | None = None
    ) -> None:
        self.results.append(Result(line, round(value, 3), unit, goal, holds))
        mark = {None: "", True: "  ok", False: "  MISSED"}[holds]
        print(f"{line:<44} {value:>12.2f} {unit:<8} {goal}{mark}", flush=True)

    async def run(self) -> None:
        async with cluster(3) as processes, etcd_cluster() as (endpoints, etcd_pids):
            leader = await leader_of(processes)
            follower = next(name for name in processes.names if name != leader)
            ours = StoreClient([processes.socket(leader)], Sockets(), SystemRandom())
            far = StoreClient([processes.socket(follower)], Sockets(), SystemRandom())
            theirs = EtcdStore(endpoints, SystemRandom())
            pids = [processes.processes[name].pid for name in (leader, follower)]
            try:
                await self.puts(ours, theirs, pids[0], etcd_pids[0])
                await self.gets(ours, far, theirs)
                await self.lists(ours, theirs)
                await self.watch_lag(ours, far)
            finally:
                for store in (ours, far, theirs):
                    await store.close()
        await self.failover()

    async def puts(self, ours: Store, theirs: Store, pid: int, etcd_pid: int) -> None:
        for workers in CONCURRENCY:
            before = cpu_s([pid])
            mine = await measure(put(ours), workers, self.seconds)
            mine_us = (cpu_s([pid]) - before) / (mine.per_second * self.seconds) * 1e6
            before = cpu_s([etcd_pid])
            etcds = await measure(put(theirs), workers, self.seconds)
            etcd_us = (cpu_s([etcd_pid]) - before) / (etcds.per_second * self.seconds) * 1e6
            self.add(f"put C={workers}", mine.per_second, "/s")
            self.add(f"put C={workers} p50", mine.p50_ms, "ms")
            self.add(f"put C={workers} p99", mine.p99_ms, "ms")
            self.add(f"put C={workers} CPU of the leader", mine_us, "us/op")
            self.add(f"put C={workers} etcd", etcds.per_second, "/s")
            self.add(f"put C={workers} etcd p99", etcds.p99_ms, "ms")
            self.add(f"put C={workers} etcd CPU of the leader", etcd_us, "us/op")
            wanted = 1.0 if workers == 1 else 2.0
            ratio = mine.per_second / etcds.per_second
            self.add(
                f"put C={workers} / etcd",
                ratio,
                "x",
                f">= {wanted:.0f}x etcd",
                holds=ratio >= wanted,
            )

    async def gets(self, ours: Store, far: Store, theirs: Store) -> None:
        for workers in (1, 64):
            near = await measure(get(ours), workers, self.seconds)
            self.add(f"linearizable get C={workers} leader", near.per_second, "/s")
            away = await measure(get(far), workers, self.seconds)
            goal, holds = (
                (">= 10000/s a master", away.per_second >= 10_000) if workers > 1 else ("", None)
            )
            self.add(
                f"linearizable get C={workers} follower", away.per_second, "/s", goal, holds=holds
            )
            etcds = await measure(get(theirs), workers, self.seconds)
            self.add(f"linearizable get C={workers} etcd", etcds.per_second, "/s")

    async def lists(self, ours: Store, theirs: Store) -> None:
        page = Range(b"/registry/bench/", b"/registry/bench0", limit=500)
        mine = await measure(lambda _: ours.range(page), 1, self.seconds)
        self.add("list of 500 p50", mine.p50_ms, "ms", "< 5 ms", holds=mine.p50_ms < 5)
        etcds = await measure(lambda _: theirs.range(page), 1, self.seconds)
        self.add("list of 500 etcd p50", etcds.p50_ms, "ms")

    async def watch_lag(self, writer: Store, reader: Store) -> None:
        """From before the put on the leader to the event from a follower."""
        lags: list[float] = []
        start = (await writer.txn([], [Put(b"/lag", b"0")])).revision

        async def watch() -> None:
            async for batch in reader.watch(b"/lag", revision=start):
                now = time.perf_counter()
                lags.extend(now - float(event.kv.value) for event in batch.events)
                if len(lags) >= 300:
                    return

        watching = asyncio.ensure_future(watch())
        while not watching.done():
            await writer.txn([], [Put(b"/lag", b"%f" % time.perf_counter())])
            await asyncio.sleep(0.003)
        await watching
        lags.sort()
        p99_ms = lags[int(len(lags) * 0.99)] * 1e3
        self.add("watch on a follower, put to event p50", lags[len(lags) // 2] * 1e3, "ms")
        self.add(
            "watch on a follower, put to event p99", p99_ms, "ms", "< 20 ms", holds=p99_ms < 20
        )

    async def failover(self) -> None:
        """kill -9 of the leader until the next acknowledged write."""
        async with cluster(3) as processes:
            client = processes.client(timeout_s=30)
            took = []
            for _ in range(7):
                await client.txn([], [Put(b"/a", b"1")])
                leader = await leader_of(processes)
                began = time.perf_counter()
                processes.kill(leader)
                await client.txn([], [Put(b"/a", b"2")])
                took.append(time.perf_counter() - began)
                processes.start(leader)
                while (await client.status()).leader in ("", leader):  # noqa: ASYNC110  # likewise
                    await asyncio.sleep(0.05)
                await asyncio.sleep(2)
            await client.close()
        took.sort()
        middle, most = took[len(took) // 2], took[-1]
        self.add("failover after kill -9, p50", middle, "s", "< 1 s", holds=middle < 1)
        self.add("failover after kill -9, max", most, "s", "< 2 s", holds=most < 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options = parser.parse_args()
    bench = Bench(options.seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bench.run())
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in bench.results], indent=1))


if __name__ == "__main__":
    main()
