"""One seed, one history of a Raft cluster under every fault we know; nothing acknowledged is lost.

    python tests/support/store_fuzz.py SEED [COUNT]     replay one, or run many

Members crash (also in the middle of a sync, losing what was not synced), restart, lose their
disks altogether, are cut off, slow, or lossy; snapshots are taken every few entries and sent
to who needs them. Checked:

* every replica applies the same commands in the same order, each proposal at most once;
* what was acknowledged is there in the end, on every replica;
* at most one leader in a term;
* a read that was confirmed sees everything acknowledged before it was asked for.
"""

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from store_sim import SimCluster, SimMember
from virtual_loop import run

from wherry.store.raft.machine import Lost


class HistoryMachine:
    """Applies numbers, and compares with what any other replica applied before it."""

    def __init__(self, history: list[int]) -> None:
        self._history = history
        self.log: list[int] = []
        self.seen: set[int] = set()

    def apply(self, data: bytes) -> int:
        value = int(data[:8])
        position = len(self.log)
        if position < len(self._history):
            assert self._history[position] == value, f"replicas part at position {position}"
        else:
            assert value not in self.seen, f"{value} applied twice"
            self._history.append(value)
        self.log.append(value)
        self.seen.add(value)
        return position

    @contextlib.contextmanager
    def snapshot(self) -> Iterator["_View"]:
        yield _View(list(self.log))

    def restorer(self) -> "_Restorer":
        return _Restorer(self)

    def become(self, log: list[int]) -> None:
        assert self._history[: len(log)] == log, "a snapshot parts from what was applied"
        assert len(log) >= len(self.log), "a snapshot took something back"
        self.log = log
        self.seen = set(log)


class _View:
    def __init__(self, log: list[int]) -> None:
        self._log = log

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._log), 50):
            yield b"".join(b"%08d" % value for value in self._log[start : start + 50])


class _Restorer:
    def __init__(self, machine: HistoryMachine) -> None:
        self._machine = machine
        self._log: list[int] = []

    def feed(self, chunk: bytes) -> None:
        self._log += [int(chunk[n : n + 8]) for n in range(0, len(chunk), 8)]

    def finish(self) -> None:
        self._machine.become(self._log)


@dataclass
class Outcome:
    """What happened, for the tests that ask whether anything did."""

    proposed: int = 0
    acknowledged: int = 0
    reads: int = 0
    refused: int = 0
    crashes: int = 0
    wipes: int = 0
    elections: int = 0
    sent: dict[str, int] = field(default_factory=dict)


class Fuzz:
    """See the module. `tweak` may break the cluster on purpose, to test this test."""

    def __init__(
        self,
        seed: int,
        *,
        members: int = 3,
        steps: int = 250,
        tweak: Callable[[SimCluster[int]], None] = lambda _: None,
    ) -> None:
        self.rng = Random(seed)
        self.seed = seed
        self.steps = steps
        self.names = tuple("abcde"[:members])
        self.history: list[int] = []
        self.acknowledged: list[int] = []
        self.outcome = Outcome()
        self.leader_of: dict[int, str] = {}
        self.problems: list[str] = []
        self.wiped: str | None = None
        self._tweak = tweak

    async def main(self) -> Outcome:
        self.cluster: SimCluster[int] = SimCluster(
            self.names,
            self.rng,
            lambda: HistoryMachine(self.history),
            snapshot_count=self.rng.choice([10, 40, 10_000]),
        )
        self._tweak(self.cluster)
        self.cluster.start_all()
        await asyncio.sleep(self.rng.uniform(0.5, 2))
        for _ in range(self.steps):
            await asyncio.sleep(self.rng.expovariate(50))
            await self.step()
            self.check()
        await self.settle()
        await self.cluster.stop()
        self.outcome.acknowledged = len(self.acknowledged)
        self.outcome.elections = len(self.leader_of)
        self.outcome.sent = self.cluster.network.sent
        return self.outcome

    # ---- what may happen

    async def step(self) -> None:
        rng, cluster = self.rng, self.cluster
        chance = rng.random()
        self.read()
        if chance < 0.70:
            self.propose()
        elif chance < 0.80:
            await self.crash(rng.choice(self.names))
        elif chance < 0.83:
            for member in cluster.leaders():
                await self.crash(member.name)
        elif chance < 0.90:
            down = [m.name for m in cluster.members.values() if m.node is None]
            if down:
                cluster.start(rng.choice(down))
        else:
            self.disturb()

    def disturb(self) -> None:
        for member in self.cluster.members.values():
            member.disk.crash_chance = self.rng.choice([0.0, 0.0, 0.002, 0.02])
        if len(self.names) > 1:
            self.disturb_network()

    def disturb_network(self) -> None:
        rng, network = self.rng, self.cluster.network
        kind = rng.randrange(8)
        if kind in (0, 5):
            leaders = [m.name for m in self.cluster.leaders()]
            apart = set(rng.sample(self.names, rng.randrange(1, len(self.names))))
            if kind == 5 and leaders:
                apart = {rng.choice(leaders)}
            network.partition(apart, set(self.names) - apart)
        elif kind == 1:
            network.cut.add(tuple(rng.sample(self.names, 2)))  # type: ignore[arg-type]  # two of them
        elif kind == 2:
            network.slow[tuple(rng.sample(self.names, 2))] = rng.uniform(0.01, 0.6)  # type: ignore[index]  # likewise
        elif kind == 3:
            network.drop = rng.choice([0.0, 0.02, 0.2])
        elif kind == 4:
            network.delay_s = rng.choice([(0.0002, 0.003), (0.001, 0.05)])
        else:
            network.heal()

    def propose(self) -> None:
        leaders = self.cluster.leaders()
        if not leaders:
            return
        node = self.rng.choice(leaders).node
        assert node is not None
        for _ in range(self.rng.randrange(1, 12)):
            self.outcome.proposed += 1
            value = self.outcome.proposed
            node.propose(b"%08d" % value + b"x" * 40, functools.partial(self.replied, value))

    def replied(self, value: int, got: int | Lost) -> None:
        if not isinstance(got, Lost):
            self.acknowledged.append(value)

    def read(self) -> None:
        known = len(self.acknowledged)
        for member in self.cluster.leaders():  # several: a deposed one must refuse
            assert member.node is not None
            done = functools.partial(self.read_done, member.machine, known)
            member.node.read_index(done)

    def read_done(self, machine: HistoryMachine, known: int, got: int | Lost) -> None:
        if isinstance(got, Lost):
            self.outcome.refused += 1
            return
        self.outcome.reads += 1
        if not machine.seen.issuperset(self.acknowledged[:known]):
            self.problems.append("stale read")

    async def crash(self, name: str) -> None:
        member = self.cluster.members[name]
        if member.node is None:
            return
        self.outcome.crashes += 1
        await self.cluster.kill(name)
        if self.rng.random() < 0.15 and self.may_wipe():
            member.disk.wipe()
            self.wiped = name
            self.outcome.wipes += 1

    def may_wipe(self) -> bool:
        """One disk at a time, and the next only when the last has everything again."""
        if len(self.names) < 3:
            return False
        for member in self.cluster.members.values():
            wal: Any = getattr(member.node, "_wal", None)
            if member.name == self.wiped and (wal is None or wal.fresh):
                return False
            if wal is not None and wal.fresh:
                return False
        return bool(self.acknowledged)

    # ---- what must hold

    def check(self) -> None:
        for member in self.cluster.leaders():
            assert member.node is not None
            other = self.leader_of.setdefault(member.node.term, member.name)
            assert other == member.name, f"two leaders in term {member.node.term}"
        assert not self.problems, self.problems
        if self.cluster.failures:
            raise AssertionError(self.cluster.failures[0]) from self.cluster.failures[0]

    async def settle(self) -> None:
        for member in self.cluster.members.values():
            member.disk.crash_chance = 0.0
        self.cluster.network.heal()
        self.cluster.network.delay_s = (0.0002, 0.003)
        self.cluster.start_all()
        leader = await self.cluster.leader(within_s=30)
        assert leader.node is not None
        last: list[int | Lost] = []
        self.outcome.proposed += 1
        leader.node.propose(b"%08d" % self.outcome.proposed, last.append)
        deadline = asyncio.get_running_loop().time() + 40
        while not self.level(leader, last):
            self.check()
            assert asyncio.get_running_loop().time() < deadline, self.describe()
            await asyncio.sleep(0.05)
        self.check()
        for member in self.cluster.members.values():
            lost = set(self.acknowledged) - member.machine.seen
            assert not lost, f"{member.name} lost {len(lost)} of {len(self.acknowledged)}"

    def level(self, leader: SimMember[int], last: list[int | Lost]) -> bool:
        return bool(last) and all(
            m.machine.log == self.history and m.node is not None
            for m in self.cluster.members.values()
        )

    def describe(self) -> str:
        return "not level: " + ", ".join(
            f"{m.name}: {len(m.machine.log)} of {len(self.history)}, "
            f"{m.node and (m.node.term, m.node.is_leader, m.node.applied, m.node.commit)}"
            for m in self.cluster.members.values()
        )


def fuzz(seed: int, **options: Any) -> Outcome:
    """Run one seed; an AssertionError names the command that replays it."""
    try:
        return run(Fuzz(seed, **options).main())
    except Exception as error:
        given = "".join(f" {k}={v}" for k, v in options.items() if isinstance(v, int))
        raise AssertionError(
            f"seed {seed}: {error}\nreplay: python tests/support/store_fuzz.py {seed}{given}"
        ) from error


def _main() -> None:
    words = [w for w in sys.argv[1:] if "=" not in w]
    options = {k: int(v) for k, _, v in (w.partition("=") for w in sys.argv[1:] if "=" in w)}
    first, count = int(words[0]), int(words[1]) if len(words) > 1 else 1
    began, bad, total = time.perf_counter(), 0, Outcome()
    for seed in range(first, first + count):
        try:
            got = fuzz(seed, **options)
        except AssertionError as error:
            bad += 1
            print(error, flush=True)
            if count == 1:
                raise
            continue
        for name in (
            "proposed",
            "acknowledged",
            "reads",
            "refused",
            "crashes",
            "wipes",
            "elections",
        ):
            setattr(total, name, getattr(total, name) + getattr(got, name))
        for kind, number in got.sent.items():
            total.sent[kind] = total.sent.get(kind, 0) + number
    print(f"{count} seeds, {bad} failed, {time.perf_counter() - began:.0f} s: {total}")


if __name__ == "__main__":
    _main()
