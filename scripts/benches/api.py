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
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import uvloop
from _api_server import LOCALHOST, Servers
from _report import Report

from lablib.chaos.rest import Connection, parse_head

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
WATCHERS, WRITES_PER_S = 200, 50
ROUNDS = 3
Once = Callable[[Connection, int], Awaitable[None]]


def config_map(number: int, stamp: float = 0.0) -> dict[str, Any]:
    return {
        "metadata": {"name": f"cm-{number}", "labels": {"app": "bench"}},
        "data": {"payload": "x" * 1024, "stamp": f"{stamp:.6f}"},
    }


def pod(number: int) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "nginx:1.25",
        "ports": [{"containerPort": 80}],
        "env": [{"name": f"NAME_{each}", "value": "value"} for each in range(5)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
    }
    labels = {"app": "bench", "number": str(number % 10)}
    return {
        "metadata": {"name": f"pod-{number}", "labels": labels},
        "spec": {"containers": [container]},
    }


async def ask(connection: Connection, method: str, path: str, body: Any = None) -> bytes:
    answer = await connection.request(method, path, body)
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
    return answer.body


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
        alone = await self._paced(100_000, writes)
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
            await self._paced(100_000 + each * writes, writes)
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


class _Getter(asyncio.Protocol):
    """Sends a GET whenever its answer is there; cheap, for the load must not be what is measured.

    All answers are of one object and therefore equally long.
    """

    done = 0
    _transport: asyncio.Transport
    _received = 0
    _length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_GET)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if not self._length:
            head = data.index(b"\r\n\r\n") + 4
            status, headers = parse_head(data[: head - 4])
            if status != 200:
                raise SystemExit(f"GET answered {status}")
            self._length = head + int(headers["content-length"])
        if self._received == self._length:
            self._received = 0
            self.done += 1
            self._transport.write(_GET)


_GET = f"GET {CONFIG_MAPS}/cm-0 HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n".encode()


async def _gets(servers: Servers, phase_s: float) -> int:
    """Get the same object again and again on 32 connections; return how often."""
    loop = asyncio.get_running_loop()
    getters = [_Getter() for _ in range(32)]
    opening = [
        loop.create_connection(lambda one=one: one, LOCALHOST, servers.port, ssl=servers.tls)  # type: ignore[misc]
        for one in getters
    ]
    await asyncio.gather(*opening)
    before = sum(one.done for one in getters)
    await asyncio.sleep(phase_s)
    return sum(one.done for one in getters) - before


def _load(servers: Servers, core: int, phase_s: float, result: Any) -> None:
    """Be one process of the load (forked: the servers' handles come along)."""
    os.sched_setaffinity(0, {core})
    result.put(uvloop.run(_gets(servers, phase_s)))


def scaling(report: Report, phase_s: float) -> None:
    """Compare one worker with two, on two cores; the load comes from the other ones."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 4:
        print("scaling of --workers: not measured, it needs two cores for the load")
        return
    rates = {}
    for workers in (1, 2):
        servers = Servers(set(cores[:2]), workers)
        try:
            servers.start()
            uvloop.run(_one(servers))
            fork = multiprocessing.get_context("fork")
            result = fork.SimpleQueue()
            load = [
                fork.Process(target=_load, args=(servers, core, phase_s, result))
                for core in cores[2:4]
            ]
            for process in load:
                process.start()
            rates[workers] = sum(result.get() for _ in load) / phase_s
            for process in load:
                process.join()
        finally:
            servers.stop()
        report.add(f"get with --workers {workers}, two cores: rate", rates[workers], "op/s")
    report.add("two workers are faster by", rates[2] / rates[1], "x", "> 1.5")


async def _one(servers: Servers) -> None:
    """Make the object that is read, through a worker that another one must hear of."""
    await asyncio.sleep(1.0)  # siblings start beside the first worker
    connection = servers.connection()
    await ask(connection, "POST", CONFIG_MAPS, config_map(0))
    connection.close()


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
