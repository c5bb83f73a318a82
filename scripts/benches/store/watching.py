"""200 watchers, 500 writes a second: what an event costs, and how late it comes.

The watchers live in processes of their own and decode no more of an event than its
revision: a client in Python that made objects of all would cost more than the servers.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import msgspec
import uvloop
from _report import Report
from store.load import cpu_of, quantile
from store.rig import Pair

from wherry.store import rpc
from wherry.store.kv import Put
from wherry.store.net import Sockets

WATCHERS = 200
WRITES_PER_S = 500
_PROCESSES = 2
_TIMED = 4  # watchers in a process that has time: others would measure how busy they are


class _Frame(msgspec.Struct, array_like=True, tag=23):
    """`rpc.Batch` whose events stay as they are."""

    id: int
    revision: int
    events: list[msgspec.Raw]


class _Failed(msgspec.Struct, array_like=True, tag=27):
    id: int
    code: str


_decode = msgspec.msgpack.Decoder(_Frame | _Failed).decode
_decode_event = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


@dataclass
class Seen:
    """What the watchers of one process got."""

    events: int = 0
    misplaced: int = 0  # an event out of order, or after a gap
    cancelled: int = 0


class _Watcher:
    """One connection. `sample` keeps how late its events came."""

    def __init__(self, seen: Seen, start: int, lags: list[float] | None) -> None:
        self._seen = seen
        self._revision = start
        self._lags = lags

    def frames(self, frames: Sequence[bytes]) -> None:
        now = time.time()  # noqa: TID251  # between processes
        for data in frames:
            frame = _decode(data)
            if isinstance(frame, _Failed):
                self._seen.cancelled += 1
                continue
            self._seen.events += len(frame.events)
            # Every write is one revision with one event: the count shows gaps and repeats.
            self._seen.misplaced += frame.revision - self._revision != len(frame.events)
            self._revision = frame.revision
            if self._lags is not None and frame.events:
                at = bytes(frame.events[-1]).find(b"@")
                stamp = float(bytes(frame.events[-1])[at + 1 : at + 19])
                self._lags.append(now - stamp)

    def closed(self) -> None:
        """The bench ends it."""


def _process(pipe: Pipe, endpoints: Sequence[str], start: int, timed: bool) -> None:  # noqa: FBT001
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_watch(pipe, endpoints, start, timed=timed))


async def _watch(pipe: Pipe, endpoints: Sequence[str], start: int, *, timed: bool) -> None:
    seen = Seen()
    lags: list[float] = []
    connections = []
    for endpoint in endpoints:
        watcher = _Watcher(seen, start, lags if timed else None)
        connection = await Sockets().dial(endpoint, watcher)
        connection.send(rpc.encode(rpc.Watch(1, b"/watch/", b"/watch0", start, 60.0)))
        connections.append(connection)
    pipe.send("watching")
    total = await asyncio.to_thread(pipe.recv)
    deadline = time.perf_counter() + 20
    while seen.events < total * len(endpoints) and time.perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)  # one too many would come now
    pipe.send((seen, lags))
    for connection in connections:
        connection.close()


async def _write(pair: Pair, seconds: float) -> int:
    """Write at an even pace; return how many."""
    count = int(seconds * WRITES_PER_S)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for n in range(count):
            await asyncio.sleep(max(0.0, began + n / WRITES_PER_S - loop.time()))
            stamp = b"@%018.6f" % time.time()  # noqa: TID251  # between processes
            value = stamp + bytes(1024 - len(stamp))
            tasks.create_task(pair.near.txn([], [Put(b"/watch/%d" % (n % 50), value)]))
    return count


async def watching(report: Report, pair: Pair, seconds: float) -> None:
    """The watchers are spread over the two followers."""
    followers = [name for name in pair.processes.names if name != pair.leader]
    endpoints = [pair.processes.socket(followers[n % 2]) for n in range(WATCHERS)]
    start = (await pair.near.status()).revision
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    busy = endpoints[_TIMED:]
    for timed, some in [(True, endpoints[:_TIMED])] + [
        (False, busy[n::_PROCESSES]) for n in range(_PROCESSES)
    ]:
        mine, theirs = context.Pipe()
        child = context.Process(target=_process, args=(theirs, some, start, timed))
        child.start()
        pipes.append(mine)
        children.append(child)
    for pipe in pipes:
        await asyncio.to_thread(pipe.recv)
    pids = [pair.processes.processes[name].pid for name in followers]
    used, leader_used = cpu_of(pids), cpu_of([pair.processes.processes[pair.leader].pid])
    count = await _write(pair, seconds)
    for pipe in pipes:
        pipe.send(count)
    answers: list[tuple[Seen, list[float]]] = [await asyncio.to_thread(p.recv) for p in pipes]
    used = cpu_of(pids) - used
    leader_used = cpu_of([pair.processes.processes[pair.leader].pid]) - leader_used
    for child in children:
        child.join()
    delivered = sum(seen.events for seen, _ in answers)
    lags = [lag for _, some in answers for lag in some]
    name = f"watch, {WATCHERS} watchers, {WRITES_PER_S} writes/s"
    report.add(f"{name}: CPU of followers per event", used / delivered * 1e6, "us", "< 15")
    report.add(f"{name}: CPU of the leader per write", leader_used / count * 1e6, "us")
    report.add(f"{name}: lost", count * WATCHERS - delivered, "events", "<= 0")
    report.add(f"{name}: out of order", sum(s.misplaced for s, _ in answers), "frames", "<= 0")
    report.add(f"{name}: cancelled", sum(s.cancelled for s, _ in answers), "watches", "<= 0")
    report.add(f"{name}: put to event p50", quantile(lags, 0.5) * 1e3, "ms")
    report.add(f"{name}: put to event p99", quantile(lags, 0.99) * 1e3, "ms", "< 20")
