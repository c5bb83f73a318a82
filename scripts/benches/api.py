"""The API server, its store included: CPU per operation of both processes.

One store with fsync, one API server, TLS, keep-alive connections. Upstream's figures
(kube-apiserver 1.36 on etcd 3.6, a machine of this kind) were measured once
and are not repeated here: only CPU per operation can be compared with them, and the goals are
what is asked of it. Whoever else uses the machine makes an operation dearer and never cheaper, so
each phase has rounds, and the cheapest one counts; "fixed work" says how fast the machine was.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import uvloop
from _api_load import CONFIG_MAPS, PODS, ROUNDS, ask, config_map, pod
from _api_server import LOCALHOST, Servers
from _api_workers import scaling
from _report import Report

from lablib.chaos.rest import Connection

WATCHERS, WRITES_PER_S = 200, 50
Once = Callable[[Connection, int], Awaitable[None]]


class Bench:
    """Runs phases against `servers` and reports them."""

    def __init__(self, servers: Servers, report: Report, phase_s: float) -> None:
        self._servers = servers
        self._report = report
        self._phase_s = phase_s
        self._round_s = phase_s / ROUNDS
        self.connections = [servers.connection() for _ in range(64)]

    async def phase(
        self,
        name: str,
        clients: int,
        once: Once,
        *,
        goal_ms: float | None = None,
        numbers: Iterator[int] | None = None,
    ) -> int:
        """Repeat `once` on so many connections until the phase is over or `numbers` end.

        Returns:
            How many operations were done.
        """
        numbers = numbers or count()
        await asyncio.gather(*[ask(c, "GET", "/version") for c in self.connections[:clients]])
        costs: list[float] = []
        rates: list[float] = []
        latencies: list[float] = []
        for _ in range(ROUNDS):
            used, began = self._servers.cpu_s(), time.perf_counter()
            waited = await self._round(clients, once, numbers)
            if not waited:  # the numbers have ended
                break
            costs.append((self._servers.cpu_s() - used) / len(waited))
            rates.append(len(waited) / (time.perf_counter() - began))
            latencies += waited
        label = f"{name}, {clients} client{'s' if clients > 1 else ''}"
        goal = f"<= {goal_ms}" if goal_ms else ""
        self._report.add(f"{label}: server CPU", min(costs) * 1000, "ms/op", goal)
        self._report.add(f"{label}: rate", max(rates), "op/s")
        done = len(latencies)
        p99 = statistics.quantiles(latencies, n=100)[98] if done > 1 else latencies[0]
        self._report.add(f"{label}: p99", p99 * 1000, "ms")
        return done

    async def _round(self, clients: int, once: Once, numbers: Iterator[int]) -> list[float]:
        """Return how long each operation of one round took, in seconds."""
        end = time.perf_counter() + self._round_s
        latencies: list[float] = []

        async def client(connection: Connection) -> None:
            for number in numbers:
                sent = time.perf_counter()
                await once(connection, number)
                done = time.perf_counter()
                latencies.append(done - sent)
                if done > end:
                    break

        await asyncio.gather(*[client(c) for c in self.connections[:clients]])
        return latencies

    async def config_maps(self) -> None:
        """Create, get, update and delete."""
        made = 0
        for clients in (1, 16, 64):
            made += await self.phase(
                "create ConfigMap 1 KB",
                clients,
                lambda c, n: _drop(ask(c, "POST", CONFIG_MAPS, config_map(n))),
                goal_ms=0.5,
                numbers=count(made),
            )
            made += ROUNDS * clients  # numbers that were taken when a round ended
        for clients in (1, 64):
            await self.phase(
                "get ConfigMap",
                clients,
                lambda c, n: _drop(ask(c, "GET", f"{CONFIG_MAPS}/cm-{n % 100}")),
                goal_ms=0.1,
            )
        for clients in (1, 64):
            await self.phase(
                "update ConfigMap",
                clients,
                lambda c, n: _drop(
                    ask(c, "PUT", f"{CONFIG_MAPS}/cm-{n % 100}", config_map(n % 100, n))
                ),
                goal_ms=0.6,
            )
        body = await ask(self.connections[0], "GET", f"{CONFIG_MAPS}?limit=100000")
        names = [item["metadata"]["name"] for item in json.loads(body)["items"]]
        names = [name for name in names if name.startswith("cm-")]
        await self.phase(
            "delete ConfigMap",
            16,
            lambda c, n: _drop(ask(c, "DELETE", f"{CONFIG_MAPS}/{names[n]}")),
            goal_ms=0.5,
            numbers=iter(range(len(names))),
        )

    async def pods(self, many: int) -> None:
        """Create pods, and list 1,000 and 5,000 of them."""
        made = await self.phase(
            "create Pod", 16, lambda c, n: _drop(ask(c, "POST", PODS, pod(n))), goal_ms=1.0
        )
        made += ROUNDS * 16
        for size, goal in ((1000, 3.0), (5000, 15.0)):
            made = await self._fill(made, size)
            await self.phase(f"list {size} pods", 1, _lister(size), goal_ms=goal)
        await self._fill(made, many)

    async def _fill(self, made: int, size: int) -> int:
        numbers = iter(range(made, size + 16))

        async def client(connection: Connection) -> None:
            for number in numbers:
                await ask(connection, "POST", PODS, pod(number))

        await asyncio.gather(*[client(c) for c in self.connections[:16]])
        return max(made, size + 16)

    async def watch(self, pods: int) -> None:
        """See how long each of many watchers waits for each event, and what that costs."""
        delays: list[float] = []
        seen = [0] * WATCHERS
        writes = int(WRITES_PER_S * self._round_s)
        alone = min([await self._paced(100_000 + n * writes, writes) for n in range(ROUNDS)])
        listed = json.loads(await ask(self.connections[0], "GET", f"{CONFIG_MAPS}?limit=1"))
        path = f"{CONFIG_MAPS}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
        watchers = [
            asyncio.create_task(self._watcher(path, index, delays, seen))
            for index in range(WATCHERS)
        ]
        await asyncio.sleep(2.0)  # handshakes are no part of what is measured
        costs: list[float] = []
        for each in range(1, ROUNDS + 1):
            used, before = self._servers.cpu_s(), sum(seen)
            await self._paced(200_000 + each * writes, writes)
            deadline = time.perf_counter() + 5
            while min(seen) < each * writes and time.perf_counter() < deadline:  # noqa: ASYNC110  # a count
                await asyncio.sleep(0.05)
            costs.append((self._servers.cpu_s() - used) / max(1, sum(seen) - before))
        name = f"{WATCHERS} watchers, {WRITES_PER_S} writes/s"
        cost = min(costs)
        self._report.add(f"{name}: CPU per event", cost * 1000, "ms", "<= 0.02")
        share = cost - alone / WATCHERS
        self._report.add(f"{name}: CPU per event, without its write", share * 1000, "ms")
        lost = ROUNDS * WATCHERS * writes - sum(seen)
        self._report.add(f"{name}: lost", lost, "events", "<= 0")
        delays.sort()
        self._report.add(f"{name}: p99", delays[int(len(delays) * 0.99)] * 1000, "ms", "< 20")
        self._report.add(f"RSS with these and {pods} pods", self._servers.rss_mb(), "MB", "< 250")
        for task in watchers:
            task.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    async def _paced(self, first: int, writes: int) -> float:
        """Write so often at `WRITES_PER_S`; return the CPU seconds of one write and its events."""
        used, began = self._servers.cpu_s(), time.perf_counter()
        for number in range(writes):
            await asyncio.sleep(max(0.0, began + number / WRITES_PER_S - time.perf_counter()))
            body = config_map(first + number, time.perf_counter())
            await ask(self.connections[0], "POST", CONFIG_MAPS, body)
        return (self._servers.cpu_s() - used) / writes

    async def _watcher(self, path: str, index: int, delays: list[float], seen: list[int]) -> None:
        async for line in _lines(self._servers, path):
            position = line.index(b'"stamp":"') + 9
            delays.append(time.perf_counter() - float(line[position : line.index(b'"', position)]))
            seen[index] += 1


async def _lines(servers: Servers, path: str) -> AsyncIterator[bytes]:
    """Yield the events of a watch; chunk lengths are lines that do not begin with a brace."""
    reader, writer = await asyncio.open_connection(
        LOCALHOST, servers.port, ssl=servers.tls, limit=1 << 20
    )
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"{"):
                yield line
    finally:
        writer.close()


def _fixed_work() -> float:
    """Return the CPU seconds that a fixed piece of work takes here and now, the least of five."""
    took = []
    for _ in range(5):
        began = time.process_time()
        sum(number * number for number in range(1_000_000))
        took.append(time.process_time() - began)
    return min(took)


def _lister(size: int) -> Once:
    return lambda connection, _: _drop(ask(connection, "GET", f"{PODS}?limit={size}"))


async def _drop(answer: Awaitable[bytes]) -> None:
    await answer


async def run(report: Report, phase_s: float, many: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    servers = Servers(set(cores[:2]))
    os.sched_setaffinity(0, cores[2:] or cores)  # the load evicts nothing from the servers' caches
    try:
        servers.start()
        report.add("cold start to /readyz", servers.cold_start_s, "s", "< 1")
        report.add("RSS idle", servers.rss_mb(), "MB", "< 80")
        bench = Bench(servers, report, phase_s)
        await bench.config_maps()
        await bench.pods(many)
        await bench.watch(many)
    finally:
        servers.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--phase", type=float, default=3.0, help="seconds per phase")
    parser.add_argument("--pods", type=int, default=10_000, help="pods at the end")
    options = parser.parse_args()
    gc.freeze()  # or a walk through all that was imported is what 64 clients wait for
    report = Report("api")
    report.add("fixed work in Python", _fixed_work() * 1000, "ms")
    scaling(report, options.phase)
    uvloop.run(run(report, options.phase, options.pods))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
