"""What a second worker brings: the same gets at one and at two, on two cores.

The load has the other cores for itself and says how much of them it needed: near all of them, it
would be the load that was measured. The store shares the workers' cores, so two workers can
at best be `2 * w / (w + s)` times as fast, where an operation costs a worker `w` and the store `s`.
"""

import asyncio
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from typing import Any, cast

import uvloop
from _api_load import CONFIG_MAPS, ROUNDS, ask, config_map
from _api_server import LOCALHOST, Servers
from _report import Report

from lablib.chaos.rest import parse_head

_GET = f"GET {CONFIG_MAPS}/cm-0 HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n".encode()
_CONNECTIONS = 32  # of each process of the load


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


async def _connect(servers: Servers) -> list[_Getter]:
    loop = asyncio.get_running_loop()
    getters = [_Getter() for _ in range(_CONNECTIONS)]
    opening = [
        loop.create_connection(lambda one=one: one, LOCALHOST, servers.port, ssl=servers.tls)  # type: ignore[misc]
        for one in getters
    ]
    await asyncio.gather(*opening)
    return getters


def _load(servers: Servers, core: int, round_s: float, begin: Barrier, result: Any) -> None:
    """Be one process of the load (forked: the servers' handles come along).

    Puts (gets, own CPU seconds) of each round.
    """
    os.sched_setaffinity(0, {core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        getters = runner.run(_connect(servers))
        for _ in range(ROUNDS):
            begin.wait()
            before, used = sum(one.done for one in getters), time.process_time()
            runner.run(asyncio.sleep(round_s))
            done = sum(one.done for one in getters) - before
            result.put((done, time.process_time() - used))


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
            rates[workers] = _measure(report, servers, workers, cores[2:4], phase_s / ROUNDS)
        finally:
            servers.stop()
    report.add("two workers are faster by", rates[2] / rates[1], "x", "> 1.5")


def _measure(
    report: Report, servers: Servers, workers: int, cores: list[int], round_s: float
) -> float:
    """Return the rate of the best round, in gets per second."""
    fork = multiprocessing.get_context("fork")
    begin, result = fork.Barrier(len(cores) + 1), fork.SimpleQueue()
    load = [
        fork.Process(target=_load, args=(servers, core, round_s, begin, result), daemon=True)
        for core in cores
    ]
    for process in load:
        process.start()
    rates: list[float] = []
    costs: list[float] = []
    shares: list[float] = []
    for _ in range(ROUNDS):
        begin.wait()
        used = servers.cpu_s()
        rounds = [result.get() for _ in load]
        gets = sum(done for done, _ in rounds)
        rates.append(gets / round_s)
        costs.append((servers.cpu_s() - used) / gets)
        shares += [own / round_s for _, own in rounds]
    for process in load:
        process.join()
    name = f"get with --workers {workers}, two cores"
    report.add(f"{name}: rate", max(rates), "op/s")
    report.add(f"{name}: server CPU", min(costs) * 1000, "ms/op")
    report.add(f"{name}: what the load used of a core", max(shares) * 100, "%")
    return max(rates)


async def _one(servers: Servers) -> None:
    """Make the object that is read, through a worker that another one must hear of."""
    connection = servers.connection()
    await ask(connection, "POST", CONFIG_MAPS, config_map(0))
    connection.close()
