"""Three members with everything settled: where most of `store_scenarios.py` begins."""

import asyncio
from random import Random
from typing import Any

from store_members import Cluster, Member
from store_numbers import HistoryMachine
from store_sim import SimCluster
from virtual_loop import until

from wherry.store.raft.machine import Lost


async def three(**config: Any) -> tuple[Cluster, Member, Member, Member]:
    """A leader and two followers that have one entry, the number 1."""
    history: list[int] = []
    world: Cluster = SimCluster(
        ("a", "b", "c"), Random(1), lambda: HistoryMachine(history), **config
    )
    world.start_all()
    leader = await world.leader()
    await write(leader, 1)
    await until(lambda: all(not node(m).fresh and m.machine.log == [1] for m in world.alive()))
    one, other = (member for member in world.members.values() if member is not leader)
    return world, leader, one, other


def node(member: Member) -> Any:
    """The member's node, also what is private to it."""
    assert member.node is not None
    return member.node


async def write(member: Member, value: int, within_s: float = 5.0) -> bool:
    """Whether it was acknowledged."""
    got: list[int | Lost] = []
    node(member).propose(b"%08d" % value, got.append)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not got and loop.time() < deadline:
        await asyncio.sleep(0.0001)
    return bool(got) and not isinstance(got[0], Lost)
