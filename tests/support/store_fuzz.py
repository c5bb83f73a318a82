"""One seed, one history of a whole store under every fault we know.

    scripts/soak store --start SEED --seeds 1        the usual way to run one, or many

The real thing runs: Raft, log and snapshots on simulated disks, the state machine, sessions,
leases, compaction, watches, and clients; only time, disks and wires are simulated. What goes
wrong is decided before the run (`store_faults.py`), so that it can be printed and cut down.

Held at every step: replicas do the same in the same order (`store_history.py`); what is read
is what was written (`store_load.py`); one leader a term; no process fails that was not made
to. In the end all replicas are equal, no lease is left, and `store_verdict.py` looks at what
clients were told.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from store_faults import Fault, generate, newcomers
from store_history import Canon, TappedMachine
from store_injector import Injector
from store_load import Keeper, LoadClient, Observer, Record
from store_network import SimNetwork
from store_probes import Probes
from store_sim import CrashError
from store_verdict import judge
from store_world import StoreWorld
from virtual_loop import run

from wherry.api.errors import UnavailableError
from wherry.store.compaction import Compaction
from wherry.store.kv import Put
from wherry.store.membership import Configuration
from wherry.store.raft.message import Message
from wherry.store.replica import Replica

CLIENTS = 3
LENGTH_S = 8.0
_LOOK_S = 0.02
_SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that makes a run what it is.

    Attributes:
        seed: Of all chance but the faults.
        members: 1, 3 or 5.
        clients: How many ask; the first two also keep leases, and watch.
        length_s: Virtual seconds during which things go wrong.
        faults: None: made from the seed.
    """

    seed: int
    members: int = 3
    clients: int = CLIENTS
    length_s: float = LENGTH_S
    faults: tuple[Fault, ...] | None = None

    def names(self) -> tuple[str, ...]:
        """The members."""
        return tuple("abcde"[: self.members])

    def schedule(self) -> tuple[Fault, ...]:
        """What goes wrong."""
        if self.faults is not None:
            return self.faults
        rng = Random(f"faults {self.seed}")
        clients = [f"c{number}" for number in range(self.clients)]
        return tuple(generate(rng, self.names(), clients, self.length_s))


@dataclass
class Outcome:
    """What happened, for those who ask whether anything did."""

    commands: int = 0
    acknowledged: int = 0
    unknown: int = 0
    reads: int = 0
    probed: int = 0
    shown: int = 0  # how often somebody's page (`page.py`) told a revision when it was looked at
    renewals: int = 0
    watched: int = 0
    terms: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    trace: tuple[str, ...] = field(default=(), repr=False)  # hashes of all that was sent, and when

    def add(self, other: "Outcome") -> None:
        """Sum up."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def brief(self) -> str:
        """Return the figures that say most."""
        return (
            f"{self.commands} commands, {self.reads} reads, {sum(self.faults.values())} faults, "
            f"{self.terms} terms"
        )


class Fuzz:
    """See the module. `tweak` may break the store on purpose, to test this test."""

    def __init__(self, plan: Plan, tweak: Callable[[StoreWorld], None] = lambda _: None) -> None:
        self.plan = plan
        self.canon = Canon()
        self.record = Record()
        self.leader_of: dict[int, str] = {}
        self.machines: dict[str, TappedMachine] = {}
        self.shown = 0
        self._tweak = tweak

    async def main(self) -> Outcome:
        """Run; an `AssertionError` says what does not hold."""
        plan = self.plan
        rng = Random(f"world {plan.seed}")
        self.network = SimNetwork(rng)
        self.world = StoreWorld(
            plan.names(),
            rng,
            snapshot_count=rng.choice([20, 60, 10_000]),
            segment_bytes=rng.choice([1500, 6000, 1 << 20]),
            compaction=Compaction(interval_s=rng.choice([1.0, 3.0, 300.0]), retain=30),
            peers=self.network,
        )
        for clock in self.world.clocks.values():
            clock.rate = rng.uniform(0.97, 1.03)
        self.world.on_start = self._tap
        self.injector = Injector(self.world, self.network)
        solid = self.injector.solid
        self.probes = Probes(
            self.world, self.network, solid.__contains__, self.injector.problems.append
        )
        self.network.on_send = self._said
        self._tweak(self.world)
        later = newcomers(plan.schedule())
        loads = [
            LoadClient(f"c{number}", self.world, self.canon, self.record, later)
            for number in range(plan.clients)
        ]
        observers = [Observer(load) for load in loads[:2]]
        self.world.start_all()
        try:
            await self._live(loads, observers, rng.choice([0.005, 0.03]))
        finally:
            await self.world.stop()
        judge(self.canon, self.record)
        return self._outcome()

    async def _live(
        self, loads: Sequence[LoadClient], observers: Sequence[Observer], pause_s: float
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look())
            watching = [tasks.create_task(one.run()) for one in observers]
            work = [tasks.create_task(load.run(pause_s)) for load in loads]
            work += [tasks.create_task(Keeper(load).run()) for load in loads[:2]]
            await self.injector.run(self.plan.schedule())
            for load in loads:
                load.over = True
            await asyncio.wait(work)
            await self._settle(observers)
            for task in (looking, *watching):
                task.cancel()

    def _said(self, name: str, message: Message) -> None:
        self.probes.said(name, message)
        self.injector.said(name, message)

    def _tap(self, name: str, replica: Replica) -> None:
        machine = TappedMachine(replica.state, self.canon, name)
        self.machines[name] = machine
        replica.node._machine = machine
        self.probes.started(name, replica)

    # ---- what must hold

    async def _look(self) -> None:
        while True:
            self._check()
            await asyncio.sleep(_LOOK_S)

    def _check(self) -> None:
        self.injector.look()
        self.probes.look()
        for name, replica in self.world.replicas.items():
            if replica.node.is_leader:
                other = self.leader_of.setdefault(replica.node.term, name)
                assert other == name, f"two leaders in term {replica.node.term}: {other}, {name}"
        for name, shown in self.world.streams.pages.items():
            self.shown += bool(shown)
            newest = self.canon.revision
            assert shown in (0, newest), f"{name} shows revision {shown}, the newest is {newest}"
        problems = self.injector.problems + self.record.problems
        assert not problems, problems[0]

    async def _settle(self, observers: Sequence[Observer]) -> None:
        """The faults are over: all replicas must become equal, and leases must end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETTLE_S
        endpoints = [f"{name}:2381" for name in self.world.disks]
        client = self.world.client("settler", timeout_s=_SETTLE_S, endpoints=endpoints)
        try:
            last = await client.txn([], [Put(b"/end", b"")])
        except UnavailableError as error:
            raise AssertionError(f"no writes once all is well again: {error}") from error
        while not self._level(last.revision, observers):
            assert loop.time() < deadline, f"not level: {self._describe(observers)}"
            await asyncio.sleep(0.05)
        self._check()
        for name, machine in sorted(self.machines.items()):
            machine.check()
            self.injector.note(f"{name} is level")

    def _level(self, revision: int, observers: Sequence[Observer]) -> bool:
        """Whether all members have everything, and agree who they are."""
        members = self.world.members()
        replicas = [self.world.replicas.get(one.key) for one in members.members]
        return (
            self.canon.revision >= revision
            and not members.returning
            and all(one is not None and self._is_level(one, members) for one in replicas)
            and all(one.position >= revision for one in observers)
        )

    def _is_level(self, replica: Replica, members: Configuration) -> bool:
        return (
            replica.state.applied == len(self.canon.commands)
            and replica.node.members == members
            and not replica.state.leases
        )

    def _describe(self, observers: Sequence[Observer]) -> str:
        members = [
            f"{name}: {one.state.applied} of {len(self.canon.commands)} commands, "
            f"{len(one.state.leases)} leases, term {one.node.term}, leader {one.node.leader}, "
            f"fresh {one.node.fresh}, members {[m.key for m in one.node.members.members]}"
            for name, one in sorted(self.world.replicas.items())
        ]
        watchers = [f"watcher at {one.position} of {self.canon.revision}" for one in observers]
        return "; ".join([*members, *watchers])

    def _outcome(self) -> Outcome:
        record = self.record
        return Outcome(
            len(self.canon.commands),
            len(record.acknowledged),
            record.unknown,
            record.reads,
            self.probes.reads,
            self.shown,
            record.renewals,
            record.watched,
            len(self.leader_of),
            self.injector.done,
            Counter(self.network.sent),
            (self.network.trace.hexdigest(), self.world.streams.trace.hexdigest()),
        )


def fuzz(plan: Plan, tweak: Callable[[StoreWorld], None] = lambda _: None) -> Outcome:
    """Run one plan.

    Raises:
        AssertionError: something does not hold; it says what, and the command that replays it.
    """
    try:
        return run(Fuzz(plan, tweak).main())
    except (Exception, CrashError) as error:
        command = f"scripts/soak store --start {plan.seed} --seeds 1 --members {plan.members}"
        raise AssertionError(f"seed {plan.seed}: {reason(error)}\nreplay: {command}") from error


def run_with_log(plan: Plan) -> tuple[str | None, list[str]]:
    """Run one plan; return why it fails, and what happened."""
    one = Fuzz(plan)
    try:
        run(one.main())
    except (Exception, CrashError) as error:
        return reason(error), one.injector.log
    return None, one.injector.log


def reason(error: BaseException) -> str:
    """Say what a failed run failed by, without the groups around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, AssertionError) else repr(error)
