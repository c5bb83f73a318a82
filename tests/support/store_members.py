"""Members that come and go, in a `SimCluster`: steps for tests. (By chance: `store_fuzz.py`.)"""

import asyncio
from random import Random
from typing import Any

from store_numbers import HistoryMachine
from store_sim import SimCluster, SimDisk, SimMember
from virtual_loop import until

from wherry.store.join import told
from wherry.store.membership import (
    AddMember,
    Change,
    Configuration,
    MemberError,
    MemberInfo,
    PromoteMember,
)
from wherry.store.raft.machine import Lost
from wherry.store.raft.node import RaftNode

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


def tell(world: Cluster, name: str, configuration: Configuration) -> None:
    """Have a member start, when it does, as its operator would with an empty disk: told who belongs."""
    info = configuration.named(name)
    assert info is not None
    world.joined[name] = told(configuration, info)


def arrive(world: Cluster, name: str, configuration: Configuration) -> Member:
    """Start a member that was added, with an empty disk."""
    member = world.members[name] = SimMember(name, SimDisk(world.rng))
    tell(world, name, configuration)
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
