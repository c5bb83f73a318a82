"""Who changes the members of a `StoreWorld`, with what `wherry store member` has.

He asks like anybody else, through a client, and does not always learn what became of it: then
he looks. A machine whose member was removed is switched off when it has not left by itself.
What he needs of a majority he may wait for; what is refused for a reason he leaves.
"""

import asyncio
from collections.abc import Callable

from store_faults import Fault
from store_world import StoreWorld

from wherry.api.errors import UnavailableError
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

LEAST = 2  # members stay, so that there is something left to go wrong
MOST = 6  # of seven voters there could not be one more
_PATIENCE_S = 10.0  # for one change
_PROMOTION_S = 45.0  # all faults are over by then
_AGAIN_S = 0.2
_LEAVES_S = 3.0  # who was removed is gone by himself by then, if he can hear

Members = tuple[MemberInfo, ...]


class Operator:
    """See the module.

    Attributes:
        asked: Whom he wanted to have removed.
        gone: Whose machine does not come back.
    """

    def __init__(
        self, world: StoreWorld, start: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        self._world = world
        self._start = start
        self._note = note
        self.asked: set[str] = set()
        self.gone: set[str] = set()
        self.problems: list[str] = []

    async def run(self, fault: Fault, member: str) -> None:
        """Do what a fault says; `member` is who it is about."""
        if fault.kind in ("add", "voter"):
            await self._add(fault.arguments[0], fault.for_s, learner=fault.kind == "add")
        elif fault.kind == "remove":
            await self._remove(member)
        else:
            await asyncio.sleep(fault.for_s)
            if await self._remove(member):
                await self._add(fault.arguments[1], 0.0, learner=True)
            else:  # too few would be left: the machine is mended instead
                self.gone.discard(member)
                self._start(member)

    def tell(self, name: str) -> None:
        """Who starts with an empty disk, and came later, is told anew who belongs.

        So is who began as the only member: its old flags would have it begin another cluster
        (docs/store.md: `--initial-cluster-state existing`).
        """
        configuration = self._world.members()
        info = configuration.named(name)
        alone = self._world.names == (name,)
        if info is not None and (alone or name in self._world.joined):
            self._world.joined[name] = told(configuration, info)

    async def _add(self, name: str, wait_s: float, *, learner: bool) -> None:
        world = self._world
        if not await self._until(AddMember(name, f"{name}:2380", learner), name, there=True):
            return
        await asyncio.sleep(wait_s)
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while (configuration := self._place(name)) is None:  # nobody runs who knows
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(_AGAIN_S)
        info = configuration.named(name)
        assert info is not None
        world.add(name, world.rng.uniform(0.97, 1.03))
        world.joined[name] = told(configuration, info)
        self._start(name)
        if learner:
            await self._promote(name, info.id)

    async def _promote(self, name: str, number: int) -> None:
        deadline = asyncio.get_running_loop().time() + _PROMOTION_S
        while True:
            await self._ask(PromoteMember(number))
            now = await self._ask(None)
            info = _named(now, name) if isinstance(now, tuple) else None
            if isinstance(now, tuple) and (info is None or not info.learner):
                self._note(f"{name} is {'a voter' if info else 'gone before it was promoted'}")
                return
            if asyncio.get_running_loop().time() > deadline:
                self.problems.append(f"{name} was not promoted in {_PROMOTION_S} s")
                return
            await asyncio.sleep(_AGAIN_S)

    def _place(self, name: str) -> Configuration | None:
        """Return the members among whom somebody has a place, be that agreed or not.

        A second voter takes part in agreeing to itself. What he is told may come to nothing.
        """
        nodes = [one.node for one in self._world.replicas.values()]
        known = [one.configuration for one in sorted(nodes, key=lambda one: not one.is_leader)]
        return next((one for one in known if one.named(name) is not None), None)

    async def _remove(self, name: str) -> bool:
        """Whether it is no member any more."""
        configuration = self._world.members()
        info = configuration.named(name)
        if info is None:
            self._note(f"{name} is no member")
            return True
        self.asked.add(name)
        if not await self._until(RemoveMember(info.id), name, there=False):
            return False
        deadline = asyncio.get_running_loop().time() + _LEAVES_S
        while name in self._world.replicas and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_AGAIN_S)
        self.gone.add(name)
        await self._world.kill(name)
        return True

    async def _until(self, change: Change, name: str, *, there: bool) -> bool:
        """Have a change made; False: it was refused, or took too long."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while self._may(there=there):
            got = await self._ask(change)
            now = got if isinstance(got, tuple) else await self._ask(None)
            if isinstance(now, tuple) and (_named(now, name) is not None) is there:
                self._note(f"{change} is done")
                return True
            if there and self._place(name) is not None:
                self._note(f"{change} is in force")
                return True
            if asyncio.get_running_loop().time() > deadline:
                self._note(f"{change} is not done: {got}")
                return False
            await asyncio.sleep(_AGAIN_S)
        self._note(f"no {change}: there are too many members, or too few")
        return False

    def _may(self, *, there: bool) -> bool:
        count = len(self._world.members().members)
        return count < MOST if there else count > LEAST

    async def _ask(self, change: Change | None) -> Members | MemberError | None:
        """Change the members, or with None list them; None: nobody answered."""
        names = sorted(one.name for one in self._world.members().members if one.name)
        endpoints = [f"{name}:2381" for name in names or self._world.names]
        client = self._world.client("operator", timeout_s=2.0, endpoints=endpoints)
        try:
            if change is None:
                return await client.members()
            return await client.change_members(change)
        except (UnavailableError, ValueError):  # the latter is etcd's "request timed out"
            return None
        finally:
            await client.close()


def _named(members: Members, name: str) -> MemberInfo | None:
    return next((one for one in members if one.name == name), None)
