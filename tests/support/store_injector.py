"""Makes the faults of a schedule happen to a `StoreWorld`, and stands in for its operators.

Faults overlap. What holds is always worked out anew from all that are in force, so that the
end of one does not end another. A process that ended by itself is restarted, as systemd does;
one that refuses its disk gets a new one where that is allowed, else the old one's content back
as it was before the damage.

A disk may be replaced while a majority of members still remember what they promised: that is
the condition under which nothing is lost, and it is checked here, not left to luck.
"""

import asyncio
import errno
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

from store_faults import LEADER, Fault
from store_memory import read_back
from store_network import CALM_S, SimNetwork
from store_operator import Operator
from store_sim import SimDisk
from store_world import StoreWorld

from wherry.store.raft.disk import CorruptError
from wherry.store.raft.message import Message
from wherry.store.raft.node import RemovedError

REVIVE_S = 0.3
_OF_NETWORK = ("partition", "oneway", "deaf", "slowlink", "drop", "repeat", "delay")
_OF_ALL = ("blackout", "handover")
_OF_PROCESS = ("crash", "kill", "flip", "segment", "wipe", "say")
_OF_MEMBERS = ("add", "voter", "remove", "replace")


class Injector:
    """See the module. `problems` are what no fault explains."""

    def __init__(self, world: StoreWorld, network: SimNetwork) -> None:
        self.world = world
        self.network = network
        self.problems: list[str] = []
        self.done: Counter[str] = Counter()  # what really happened, by kind
        self.solid: set[str] = set()  # members that remember what they promised
        self.log: list[str] = []
        self._down: Counter[str] = Counter()  # faults that keep a member from running
        self._hidden: Counter[tuple[str, str]] = Counter()
        self._network_faults: list[tuple[Fault, set[tuple[str, str]]]] = []
        self._repairs: dict[str, list[Callable[[], None]]] = {}
        self._ailing: set[str] = set()  # members whose disk fails, or did
        self._last_words: dict[str, str] = {}  # whose power is lost after a message of which kind
        self.operator = Operator(world, self._revive, self.note)
        world.on_exit = self._exited

    def note(self, text: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():.3f} {text}")

    async def run(self, faults: Sequence[Fault]) -> None:
        """Let everything happen, and be over."""
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                tasks.create_task(self._one(fault))
        self.problems += self.operator.problems

    async def _one(self, fault: Fault) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, fault.at_s - loop.time()))
        self.note(str(fault))
        self.done[fault.kind] += 1
        if fault.kind in _OF_MEMBERS:
            await self._change_members(fault)
            return
        undo = await self._begin(fault)
        await asyncio.sleep(fault.for_s)
        undo()

    async def _begin(self, fault: Fault) -> Callable[[], None]:
        kind, arguments = fault.kind, fault.arguments
        if kind in _OF_NETWORK:
            return self._disturb(fault)
        if kind in _OF_ALL:
            return await self._strike_all(kind)
        if kind == "hide":
            return self._hide(arguments[0], self._whom(arguments[1]))
        name = self._whom(arguments[0])
        if kind in _OF_PROCESS:
            return await self._stop(name, fault)
        if kind == "clock":
            self.world.clocks[name].skew_s += float(arguments[1])
            return lambda: None
        return self._spoil(name, self.world.disks[name], kind, arguments[1:])

    async def _strike_all(self, kind: str) -> Callable[[], None]:
        if kind == "blackout":
            return _all([await self._take_down(name, power=True) for name in self._hosts()])
        leader = self._leader()
        if leader is not None:
            self.world.replicas[leader].node.hand_over()
        return lambda: None

    async def _stop(self, name: str, fault: Fault) -> Callable[[], None]:
        if fault.kind == "say":
            return self._silence_after(name, fault.arguments[1])
        undo = await self._take_down(name, power=fault.kind != "kill")
        if fault.kind in ("flip", "segment"):
            self._damage(name, fault)
        elif fault.kind == "wipe":
            self._wipe(name)
        return undo

    def _hosts(self) -> list[str]:
        """Return whose machines are there."""
        return sorted(self.world.disks.keys() - self.operator.gone)

    def _leader(self) -> str | None:
        leading = [n for n, one in sorted(self.world.replicas.items()) if one.node.is_leader]
        return leading[0] if leading else None

    def _whom(self, name: str) -> str:
        hosts = self._hosts()
        if name == LEADER:
            return self._leader() or hosts[0]
        return name if name in hosts else hosts[zlib.crc32(name.encode()) % len(hosts)]

    # ---- members

    async def _change_members(self, fault: Fault) -> None:
        member = self._whom(fault.arguments[0])
        if fault.kind == "replace":
            if not self.may_forget(member):
                return
            self.operator.gone.add(member)
            self.solid.discard(member)
            await self.world.kill(member)
        await self.operator.run(fault, member)

    def may_forget(self, name: str) -> bool:
        """Whether without this disk a majority would remember, whichever members are in force."""
        for other in self._hosts():
            replica = self.world.replicas.get(other)
            if replica is not None:
                configuration = replica.node.configuration
            else:
                memory = read_back(self.world.config(other), self.world.disks[other])
                if memory is None:  # damaged: it may know of members that nobody else knows of
                    return False
                configuration = memory.configuration
            voters = {one.key for one in configuration.voters}
            if len((self.solid - {name}) & voters) <= len(voters) // 2:
                return False
        return True

    # ---- processes

    async def _take_down(self, name: str, *, power: bool) -> Callable[[], None]:
        self._down[name] += 1
        await self.world.kill(name, power=power)

        def back() -> None:
            self._down[name] -= 1
            self._revive(name)

        return back

    def _revive(self, name: str) -> None:
        may = not self._down[name] and name not in self.operator.gone
        if may and name not in self.world.replicas:
            self.note(f"{name} starts")
            self.world.start(name)

    def _silence_after(self, name: str, kind: str) -> Callable[[], None]:
        self._last_words[name] = kind

        def undo() -> None:
            self._last_words.pop(name, None)
            self._revive(name)

        return undo

    def said(self, name: str, message: Message) -> None:
        """A message leaves a member; it may be the last."""
        if self._last_words.get(name) == type(message).__name__:
            del self._last_words[name]
            loop = asyncio.get_running_loop()
            self.note(f"{name} loses power after a {type(message).__name__}")
            loop.call_soon(self.world.cut_power, name)
            loop.call_later(REVIVE_S, self._revive, name)

    def _exited(self, name: str, why: BaseException | None) -> None:
        """A process ended by itself."""
        reason = _leaf(why)
        self.note(f"{name} ended: {reason!r}")
        if isinstance(reason, CorruptError):
            self._refused(name, reason)
        elif isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EIO):
            if name not in self._ailing:
                self.problems.append(f"{name} stopped for a disk that works: {reason}")
        elif isinstance(reason, RemovedError):
            self._left(name)
        elif reason is not None:
            self.problems.append(f"{name} failed: {reason!r}")
        asyncio.get_running_loop().call_later(REVIVE_S, self._revive, name)

    def _left(self, name: str) -> None:
        if name not in self.operator.asked:
            self.problems.append(f"{name} left, and nobody removed it")
        self.operator.gone.add(name)

    # ---- disks

    def _spoil(
        self, name: str, disk: SimDisk, kind: str, rest: Sequence[str]
    ) -> Callable[[], None]:
        if kind == "tear":
            disk.crash_after = int(rest[0])
        elif kind == "slowdisk":
            disk.slow_s = float(rest[0])
        else:
            self._ailing.add(name)
            setattr(disk, kind, True)

        def undo() -> None:
            disk.crash_after = None
            if kind == "slowdisk":
                disk.slow_s = 0.0
            elif kind != "tear":
                setattr(disk, kind, False)

        return undo

    def _damage(self, name: str, fault: Fault) -> None:
        """Damage what is on a disk, and see whether that can be seen."""
        disk = self.world.disks[name]
        config = self.world.config(name)
        before = read_back(config, disk)
        repair = self._flip(disk, fault) if fault.kind == "flip" else _lose_segment(disk, fault)
        if repair is None:
            return
        after = read_back(config, disk)
        if after is None or fault.kind == "flip":  # a flip may come to light later
            self._repairs.setdefault(name, []).append(repair)
        if after is None:
            self.done["detected"] += 1
        elif before is not None and not after.same(before):
            self.problems.append(f"{name}: damage was not noticed: {fault}")
        else:
            self.done["harmless"] += 1

    def _flip(self, disk: SimDisk, fault: Fault) -> Callable[[], None] | None:
        names = [name for name in disk.names() if disk.settled_bytes(name)]
        if not names:
            return None
        _, which, where, bit = fault.arguments
        file = names[_place(which, len(names))]
        offset = _place(where, disk.settled_bytes(file))
        self.note(f"flip bit {bit} of {file} offset {offset}")
        disk.corrupt(file, offset, int(bit))
        damaged = disk.read(file, offset, 1)

        def repair() -> None:
            # What refused a damaged snapshot may since have taken it again, under its old name.
            if file in disk.names() and disk.read(file, offset, 1) == damaged:
                disk.corrupt(file, offset, int(bit))

        return repair

    def _refused(self, name: str, why: CorruptError) -> None:
        repairs = self._repairs.pop(name, [])
        if not repairs:
            self.problems.append(f"{name} refuses a disk that nobody damaged: {why}")
        elif not self._wipe(name):
            for repair in reversed(repairs):
                repair()

    def _wipe(self, name: str) -> bool:
        if not self.may_forget(name):
            return False
        self.note(f"{name} gets a new disk")
        if self.world.members().named(name) is None:
            self.operator.gone.add(name)  # it was removed: with its old flags it would not know
        self.operator.tell(name)
        self.done["wiped"] += 1
        self.world.disks[name].wipe()
        self._repairs.pop(name, None)
        self.solid.discard(name)
        return True

    def look(self) -> None:
        """See who has become solid; called often."""
        for name, replica in self.world.replicas.items():
            if replica.node.applied and not replica.node.fresh:
                self.solid.add(name)

    # ---- links

    def _disturb(self, fault: Fault) -> Callable[[], None]:
        one = (fault, self._cuts(fault))
        self._network_faults.append(one)
        self._set_network()

        def undo() -> None:
            self._network_faults.remove(one)
            self._set_network()

        return undo

    def _cuts(self, fault: Fault) -> set[tuple[str, str]]:
        if fault.kind == "deaf":
            whom = self._whom(fault.arguments[0])
            return {(other, whom) for other in self._hosts()}
        if fault.kind == "oneway":
            return {(fault.arguments[0], fault.arguments[1])}
        if fault.kind != "partition":
            return set()
        left, _, right = fault.arguments[0].partition("|")
        one = {self._whom(LEADER)} if left == LEADER else set(left)
        other = set(self._hosts()) - one if right == "*" else set(right)
        return {pair for a in one for b in other for pair in ((a, b), (b, a))}

    def _set_network(self) -> None:
        network = self.network
        network.heal()
        network.delay_s = CALM_S
        for fault, cuts in self._network_faults:
            network.cut |= cuts
            if fault.kind == "slowlink":
                a, b, extra_s = fault.arguments
                network.slow[a, b] = float(extra_s)
            elif fault.kind == "drop":
                network.drop = max(network.drop, float(fault.arguments[0]))
            elif fault.kind == "repeat":
                network.duplicate = max(network.duplicate, float(fault.arguments[0]))
            elif fault.kind == "delay":
                network.delay_s = (float(fault.arguments[0]), float(fault.arguments[1]))

    def _hide(self, client: str, member: str) -> Callable[[], None]:
        streams = self.world.streams
        self._hidden[client, member] += 1
        streams.cut(client, member)

        def undo() -> None:
            self._hidden[client, member] -= 1
            streams.heal()
            for (one, other), times in self._hidden.items():
                if times:
                    streams.cut(one, other)

        return undo


def _place(share: str, count: int) -> int:
    """Return which of so many a share of them is; as text, what is nearly all is 1.000."""
    return min(int(float(share) * count), count - 1)


def _lose_segment(disk: SimDisk, fault: Fault) -> Callable[[], None] | None:
    segments = [name for name in disk.names() if name.endswith(".wal")]
    if len(segments) < 2:  # without its only one the log is that of a new disk: see `wipe`
        return None
    lost = segments[_place(fault.arguments[1], len(segments))]
    whole = disk.copy()
    disk.delete(lost)
    return lambda: disk.give_back(whole, lost)


def _all(undoes: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def undo() -> None:
        for one in undoes:
            one()

    return undo


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
