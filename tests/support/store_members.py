"""Members that come and go, in a `SimCluster`: steps for tests, and a history from one seed.

    python tests/support/store_members.py SEED [COUNT]     replay one, or run many

Checked as members are added, promoted, removed, killed, wiped and cut off: replicas apply the
same in the same order (`HistoryMachine`), there is one leader in a term, and what was
acknowledged is in the end with everybody who still belongs to the cluster.
"""

import asyncio
import functools
import sys
from random import Random
from typing import Any

from store_numbers import HistoryMachine
from store_sim import SimCluster, SimDisk, SimMember
from virtual_loop import run, until

from wherry.store.join import told
from wherry.store.membership import (
    AddMember,
    Change,
    Configuration,
    MemberError,
    MemberInfo,
    PromoteMember,
    RemoveMember,
)
from wherry.store.raft.machine import Lost
from wherry.store.raft.node import RaftNode, RemovedError

Cluster = SimCluster[int]
Member = SimMember[int]
Answer = tuple[MemberInfo, ...] | MemberError | Lost


def cluster(names: str = "abc", seed: int = 1, **config: Any) -> Cluster:
    history: list[int] = []
    made: Cluster = SimCluster(
        tuple(names), Random(seed), lambda: HistoryMachine(history), **config
    )
    made.start_all()
    return made


def node(member: Member) -> RaftNode[int]:
    assert member.node is not None
    return member.node


def core(member: Member) -> Any:
    return node(member)._core


def others(world: Cluster, *members: Member) -> list[Member]:
    return [one for one in world.members.values() if one not in members]


async def settled(world: Cluster) -> Member:
    """Wait until all the first members' disks may vote, and return the leader."""
    await until(lambda: not any(node(one).fresh for one in world.alive()))
    return await world.leader()


def number(configuration: Configuration, name: str) -> int:
    found = configuration.named(name)
    assert found is not None, f"{name} is no member"
    return found.id


def ask(member: Member, asked: Change, new_id: int = 0) -> list[Answer]:
    """Have a leader change the members; the answer is appended to what is returned."""
    got: list[Answer] = []
    node(member).change_members(asked, new_id or member.disk.chance.getrandbits(63) | 1, got.append)
    return got


async def change(world: Cluster, asked: Change, *, within_s: float = 20.0) -> Answer:
    """Change the members, through whoever leads, until that is done or refused for a reason."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        got = ask(await world.leader(), asked)
        while not got and loop.time() < deadline:
            await asyncio.sleep(0.01)
        assert got, "no answer"
        if got[0] not in (Lost.BUSY, Lost.NOT_LEADER):
            return got[0]
        await asyncio.sleep(0.02)


def arrive(world: Cluster, name: str, configuration: Configuration) -> Member:
    """Start a member that was added, with an empty disk."""
    member = world.members[name] = SimMember(name, SimDisk(world.rng))
    info = configuration.named(name)
    assert info is not None
    world.joined[name] = told(configuration, info)
    world.start(name)
    return member


async def learn(world: Cluster, name: str) -> Member:
    """Add a learner and start it."""
    got = await change(world, AddMember(name, f"{name}:1", learner=True))
    assert isinstance(got, tuple), got
    return arrive(world, name, node(await world.leader()).configuration)


async def promote(world: Cluster, name: str) -> Answer:
    """Make a learner a voter, when it has everything."""
    while True:
        leader = await world.leader()
        got = await change(world, PromoteMember(number(node(leader).configuration, name)))
        if not isinstance(got, MemberError):
            return got
        await asyncio.sleep(0.05)


async def propose(member: Member, *values: int) -> list[int | Lost]:
    got: list[int | Lost] = []
    for value in values:
        node(member).propose(b"%08d" % value, got.append)
    await until(lambda: len(got) == len(values))
    return got


def random_change(world: Cluster, rng: Random) -> str:
    """Ask a leader for any change, without waiting; returns what, "" if nobody leads."""
    leaders = world.leaders()
    if not leaders:
        return ""
    leader = rng.choice(leaders)
    configuration = node(leader).configuration
    kind = rng.choice(["add", "learner", "promote", "promote", "remove"])
    if kind in ("add", "learner"):
        name = f"n{rng.randrange(10**9)}"
        if len(configuration.members) < 6:
            ask(leader, AddMember(name, f"{name}:1", learner=kind == "learner"))
        return kind
    if kind == "promote":
        for one in configuration.learners:
            ask(leader, PromoteMember(one.id))
        return kind
    victims = [one for one in configuration.members if one.key != leader.name]
    if victims and len(configuration.members) > 2:
        ask(leader, RemoveMember(rng.choice(victims).id))
    return kind


class MemberFuzz:
    """See the module."""

    def __init__(self, seed: int, *, steps: int = 250) -> None:
        self.rng = Random(seed)
        self.steps = steps
        self.history: list[int] = []
        self.acknowledged: list[int] = []
        self.proposed = 0
        self.leader_of: dict[int, str] = {}
        self.counts = {"changed": 0, "crashes": 0, "wipes": 0, "arrived": 0, "removed": 0}
        self.wiped = ""

    async def main(self) -> dict[str, int]:
        rng = self.rng
        self.world: Cluster = SimCluster(
            tuple("abc"),
            rng,
            lambda: HistoryMachine(self.history),
            snapshot_count=rng.choice([10, 40, 10_000]),
        )
        self.world.start_all()
        await self.world.leader()
        for _ in range(self.steps):
            await asyncio.sleep(rng.expovariate(30))
            await self.step()
            self.check()
        await self.settle()
        await self.world.stop()
        return {**self.counts, "acknowledged": len(self.acknowledged)}

    async def step(self) -> None:
        rng, world = self.rng, self.world
        self.welcome()
        chance = rng.random()
        if chance < 0.6:
            self.propose()
        elif chance < 0.75:
            self.counts["changed"] += bool(random_change(world, rng))
        elif chance < 0.82:
            await self.crash(rng.choice(sorted(world.members)))
        elif chance < 0.92:
            down = [m.name for m in world.members.values() if m.node is None]
            for name in sorted(down):
                world.start(name)
        elif chance < 0.95:
            names = set(world.members)
            apart = set(rng.sample(sorted(names), rng.randrange(1, len(names))))
            world.network.partition(apart, names - apart)
        elif chance < 0.97:
            world.network.drop = rng.choice([0.0, 0.1])
        else:
            world.network.heal()

    def welcome(self) -> None:
        """Start who was added; what one is told may be in force only, and never be agreed."""
        for leader in self.world.leaders():
            configuration = node(leader).configuration
            for one in configuration.members:
                if one.key not in self.world.members:
                    arrive(self.world, one.key, configuration)
                    self.counts["arrived"] += 1

    def propose(self) -> None:
        leaders = self.world.leaders()
        if not leaders:
            return
        for _ in range(self.rng.randrange(1, 8)):
            self.proposed += 1
            value = self.proposed
            node(self.rng.choice(leaders)).propose(
                b"%08d" % value, functools.partial(self.replied, value)
            )

    def replied(self, value: int, got: int | Lost) -> None:
        if not isinstance(got, Lost):
            self.acknowledged.append(value)

    async def crash(self, name: str) -> None:
        member = self.world.members[name]
        if member.node is None:
            return
        self.counts["crashes"] += 1
        await self.world.kill(name)
        if self.rng.random() < 0.2 and self.may_wipe():
            member.disk.wipe()
            self.counts["wipes"] += 1
            self.wiped = name
            leader = next(iter(self.world.leaders()), None)
            info = node(leader).configuration.named(name) if leader is not None else None
            if leader is not None and info is not None and name in self.world.joined:
                self.world.joined[name] = told(node(leader).configuration, info)

    def may_wipe(self) -> bool:
        """One disk at a time, and the next only when the last one's member votes again."""
        for member in self.world.members.values():
            if member.node is None:
                if member.name == self.wiped:
                    return False
                continue
            configuration = member.node.configuration
            if member.node.fresh or configuration.learners:
                return False
        return len(self.world.leaders()) == 1

    def check(self) -> None:
        for member in self.world.leaders():
            other = self.leader_of.setdefault(node(member).term, member.name)
            assert other == member.name, f"two leaders in term {node(member).term}"
        problems = []
        for failure in self.world.failures:
            removed, rest = _split(failure)
            self.counts["removed"] += removed
            problems += rest
        self.world.failures.clear()
        if problems:
            raise AssertionError(problems[0]) from problems[0]

    async def settle(self) -> None:
        world = self.world
        world.network.heal()
        deadline = asyncio.get_running_loop().time() + 60
        self.proposed += 1
        done: list[int | Lost] = []
        leader: Member | None = None
        while leader is None or not self.level(leader):
            assert asyncio.get_running_loop().time() < deadline, self.describe()
            self.welcome()
            world.start_all()
            await asyncio.sleep(0.2)
            self.check()
            leaders = [m for m in world.leaders() if node(m).ready]
            leader = leaders[0] if len(leaders) == 1 else None
            if leader is not None and (not done or isinstance(done[-1], Lost)):
                node(leader).propose(b"%08d" % self.proposed, done.append)
                self.proposed += 1
                leader = None
        for name in {one.key for one in node(leader).members.members}:
            lost = set(self.acknowledged) - world.members[name].machine.seen
            assert not lost, f"{name} lost {len(lost)} of {len(self.acknowledged)}"

    def level(self, leader: Member) -> bool:
        """Whether all members have everything, agree who they are, and no disk is new."""
        members = node(leader).members
        for one in members.members:
            member = self.world.members.get(one.key)
            if member is None or member.node is None:
                return False
            same = member.node.members == members and member.node.member_id == one.id
            if not same or member.node.fresh or member.machine.log != self.history:
                return False
        return not members.returning

    def describe(self) -> str:
        return "not level: " + "; ".join(
            f"{m.name}: {len(m.machine.log)} of {len(self.history)}, "
            + (
                f"term {m.node.term} leads {m.node.is_leader} fresh {m.node.fresh} "
                f"id {m.node.member_id:x} {m.node.applied}/{m.node.commit} "
                f"of {[(o.key, f'{o.id:x}', o.learner) for o in m.node.configuration.members]}"
                if m.node is not None
                else "down"
            )
            for m in self.world.members.values()
        )


def _split(failure: BaseException) -> tuple[int, list[BaseException]]:
    """Return how often a failure says that a member was removed, and what else it is."""
    if isinstance(failure, BaseExceptionGroup):
        parts = [_split(one) for one in failure.exceptions]
        return sum(count for count, _ in parts), [one for _, rest in parts for one in rest]
    return (1, []) if isinstance(failure, RemovedError) else (0, [failure])


def fuzz(seed: int, **options: Any) -> dict[str, int]:
    """Run one seed; an AssertionError names the command that replays it."""
    try:
        return run(MemberFuzz(seed, **options).main())
    except Exception as error:
        raise AssertionError(
            f"seed {seed}: {error}\nreplay: python tests/support/store_members.py {seed}"
        ) from error


def _main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    total: dict[str, int] = {}
    bad = 0
    for seed in range(first, first + count):
        try:
            got = fuzz(seed)
        except AssertionError as error:
            bad += 1
            print(error, flush=True)
            if count == 1:
                raise
            continue
        for name, value in got.items():
            total[name] = total.get(name, 0) + value
    print(f"{count} seeds, {bad} failed: {total}")


if __name__ == "__main__":
    _main()
