"""Puts, gets and lists: ours and etcd's, alternating in one run."""

import asyncio
import time
from collections.abc import Sequence

from _report import Report
from store.load import Call, Rate, best, cpu_of, measure
from store.rig import Pair

from wherry.store import rpc
from wherry.store.kv import Put, Range, Store
from wherry.store.net import Connection, Sockets
from wherry.store.operation import RangeOp

VALUE = bytes(1024)
KEYS = 1000
CONCURRENCY = (1, 16, 64, 256)


def key(number: int) -> bytes:
    return b"/registry/bench/%d" % (number % KEYS)


def put(store: Store) -> Call:
    return lambda n: store.txn([], [Put(key(n), VALUE)])


def get(store: Store) -> Call:
    return lambda n: store.range(Range(key(n)))


async def alternate(
    ours: Call, theirs: Call, pair: Pair, workers: int, seconds: float, rounds: int
) -> tuple[Rate, Rate]:
    """Return the better of `rounds` runs of each: what others do on this machine is not ours."""
    mine, etcds = [], []
    for _ in range(rounds):
        mine.append(await measure(ours, workers, seconds, pair.pids))
        etcds.append(await measure(theirs, workers, seconds, pair.etcd_pids))
    return best(mine), best(etcds)


async def puts(
    report: Report, pair: Pair, seconds: float, rounds: int
) -> dict[str, list[tuple[float, float, float]]]:
    """Return the curves of the plot: (per second, p50, p99) by concurrency."""
    curves: dict[str, list[tuple[float, float, float]]] = {"Wherry": [], "etcd": []}
    for workers in CONCURRENCY:
        mine, etcds = await alternate(
            put(pair.near), put(pair.etcd), pair, workers, seconds, rounds
        )
        name = f"put 1 KB C={workers}"
        report.add(name, mine.per_second, "/s")
        report.add(f"{name}, etcd", etcds.per_second, "/s")
        wanted = 1 if workers == 1 else 2
        report.add(f"{name}, of etcd's", mine.per_second / etcds.per_second, "x", f">= {wanted}")
        report.add(f"{name} p50", mine.p50_ms, "ms")
        report.add(f"{name} p99", mine.p99_ms, "ms", f"<= {etcds.p99_ms:.2f}")
        report.add(f"{name}, CPU of three members", mine.cpu_us, "us/op")
        report.add(f"{name}, CPU of three members, etcd", etcds.cpu_us, "us/op")
        for label, rate in (("Wherry", mine), ("etcd", etcds)):
            curves[label].append((rate.per_second, rate.p50_ms, rate.p99_ms))
    return curves


async def gets(report: Report, pair: Pair, seconds: float, rounds: int) -> None:
    """Linearizable gets, of the leader and of a follower."""
    for workers in (1, 64):
        for where, store in (("leader", pair.near), ("follower", pair.far)):
            mine, etcds = await alternate(
                get(store), get(pair.etcd), pair, workers, seconds, rounds
            )
            name = f"linearizable get C={workers}, {where}"
            report.add(name, mine.per_second, "/s")
            report.add(f"{name}, etcd", etcds.per_second, "/s")
            report.add(f"{name}, of etcd's", mine.per_second / etcds.per_second, "x", ">= 1.5")
            report.add(f"{name}, CPU of three members", mine.cpu_us, "us/op")
            report.add(f"{name}, CPU of three members, etcd", etcds.cpu_us, "us/op")


async def lists(report: Report, pair: Pair, seconds: float) -> None:
    """A range of 500 keys of 2 KB."""
    for n in range(0, 500, 50):
        ops = [Put(b"/lists/%03d" % each, bytes(2048)) for each in range(n, n + 50)]
        await pair.near.txn([], ops)
        await pair.etcd.txn([], ops)
    page = Range(b"/lists/", b"/lists0", limit=500)
    mine = await measure(lambda _: pair.near.range(page, serializable=True), 1, seconds, pair.pids)
    report.add("list of 500 x 2 KB, CPU", mine.cpu_us / 1e3, "ms", "< 2")
    report.add("list of 500 x 2 KB p50", mine.p50_ms, "ms")
    etcds = await measure(
        lambda _: pair.etcd.range(page, serializable=True), 1, seconds, pair.etcd_pids
    )
    report.add("list of 500 x 2 KB, CPU, etcd", etcds.cpu_us / 1e3, "ms")
    report.add("list of 500 x 2 KB p50, etcd", etcds.p50_ms, "ms")


class Pipeline:
    """Asks as fast as answers come, `window` at a time; looks at no answer.

    So that the server is measured: in Python a client that makes futures and objects costs
    several times what the server does.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._requests = [
            rpc.encode(rpc.Read(1, RangeOp(key(n)), serializable=True)) for n in range(KEYS)
        ]
        self._sent = 0
        self.connection: Connection | None = None
        self.answers = 0

    def frames(self, frames: Sequence[bytes]) -> None:
        self.answers += len(frames)
        self.ask(len(frames))

    def closed(self) -> None:
        """The bench ends it itself."""

    def ask(self, count: int) -> None:
        if self.connection is not None:
            for _ in range(count):
                self.connection.send(self._requests[self._sent % KEYS])
                self._sent += 1

    def begin(self, connection: Connection) -> None:
        self.connection = connection
        self.ask(self._window)


async def serializable_gets(report: Report, pair: Pair, seconds: float, rounds: int) -> None:
    """1 KB values, several connections to one follower, pipelined on the store's own link."""
    pid = pair.processes.processes[pair.follower].pid
    rates, costs = [], []
    for _ in range(rounds):
        pipelines = [Pipeline(128) for _ in range(4)]
        for one in pipelines:
            one.begin(await Sockets().dial(pair.processes.socket(pair.follower), one))
        used, began = cpu_of([pid]), time.perf_counter()
        await asyncio.sleep(seconds)
        answers = sum(one.answers for one in pipelines)
        rates.append(answers / (time.perf_counter() - began))
        costs.append((cpu_of([pid]) - used) / answers * 1e6)
        for one in pipelines:
            if one.connection is not None:
                one.connection.close()
    report.add("serializable get, pipelined, one member", max(rates), "/s", ">= 50000")
    report.add("serializable get, CPU of the member", min(costs), "us/op", "< 20")
