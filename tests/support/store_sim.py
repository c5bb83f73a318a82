"""Raft members in a simulated world: disks that forget, links that lose, one seed for all.

`SimDisk` keeps what was synced; a crash loses the rest, or leaves a torn piece of it, and may
happen inside any sync. `SimNetwork` delivers messages late, out of order, or not at all, and
can be cut between any two members, in one direction only if need be. `SimCluster` runs
`RaftNode`s on both, in a `VirtualLoop`, and kills and restarts them.
"""

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, Generic, TypeVar

from wherry.store.raft.disk import DiskFile
from wherry.store.raft.link import Receiver
from wherry.store.raft.machine import Machine, RaftConfig
from wherry.store.raft.message import Message, decode, encode
from wherry.store.raft.node import RaftNode

T = TypeVar("T")
R = TypeVar("R")


class CrashError(Exception):
    """The power went away, in the middle of a write."""


class _Content:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0  # bytes that a crash leaves
        self.reserved = 0


class SimFile:
    def __init__(self, disk: "SimDisk", content: _Content) -> None:
        self._disk = disk
        self._content = content
        self._generation = disk.generation

    def append(self, data: bytes) -> None:
        self._disk.check(self._generation)
        self._content.data += data

    def sync(self) -> None:
        self._disk.check(self._generation)
        self._disk.risk()
        self._content.durable = len(self._content.data)
        self._disk.risk()

    def close(self) -> None:
        pass


class SimDisk:
    """`Disk` in memory. `crash_chance` is that of losing power before or after any sync."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._files: dict[str, _Content] = {}
        self.generation = 0
        self.crash_chance = 0.0
        self.lie = False  # a mutation for tests of the tests: sync does nothing

    def risk(self) -> None:
        if self.crash_chance and self._rng.random() < self.crash_chance:
            raise CrashError

    def check(self, generation: int) -> None:
        if generation != self.generation:
            raise CrashError

    def crash(self) -> None:
        """Forget what was not synced, except perhaps a torn piece of it."""
        self.generation += 1
        for content in self._files.values():
            unsynced = len(content.data) - content.durable
            kept = self._rng.randrange(unsynced + 1) if unsynced > 0 else 0
            if self._rng.random() < 0.5:
                kept = 0
            del content.data[content.durable + kept :]

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        content = self._files.get(name)
        if content is None:
            raise FileNotFoundError(name)
        data = bytes(content.data).ljust(content.reserved, b"\0")
        return data[offset:] if size < 0 else data[offset : offset + size]

    def size(self, name: str) -> int:
        return max(len(self._files[name].data), self._files[name].reserved)

    def create(self, name: str, reserve_bytes: int = 0) -> DiskFile:
        self.risk()
        content = self._files[name] = _Content()
        content.reserved = min(reserve_bytes, 4096)
        return SimFile(self, content)

    def open_at(self, name: str, end: int, reserve_bytes: int = 0) -> DiskFile:
        content = self._files[name]
        del content.data[end:]
        content.data += bytes(end - len(content.data))  # the zeros that were reserved
        content.durable = len(content.data)
        content.reserved = max(end, min(reserve_bytes, 4096))
        return SimFile(self, content)

    def replace(self, name: str, new_name: str) -> None:
        self.risk()
        self._files[new_name] = self._files.pop(name)
        self.risk()

    def delete(self, name: str) -> None:
        self._files.pop(name, None)

    def wipe(self) -> None:
        """A new disk."""
        self.generation += 1
        self._files.clear()

    def corrupt(self, name: str, offset: int) -> None:
        """Flip a bit."""
        self._files[name].data[offset] ^= 1

    async def run(self, call: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return call()

    def close(self) -> None:
        pass


class SimNetwork:
    """Links between members. `drop`, `delay_s` and `cut` may be changed at any time."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.delay_s = (0.0002, 0.003)
        self.drop = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.slow: dict[tuple[str, str], float] = {}
        self.receivers: dict[str, Receiver] = {}
        self.sent: dict[str, int] = {}
        self._taps: dict[str, list[Message]] = {}

    def tap(self, source: str) -> list[Message]:
        """Return a list to which everything that a member sends from now on is added."""
        return self._taps.setdefault(source, [])

    def link(self, name: str) -> "SimLink":
        return SimLink(self, name)

    def send(self, source: str, target: str, message: Message) -> bool:
        if target not in self.receivers or (source, target) in self.cut:
            return False
        self._taps.get(source, []).append(message)
        kind = type(message).__name__
        self.sent[kind] = self.sent.get(kind, 0) + 1
        if self._rng.random() < self.drop:
            return True
        receiver = self.receivers[target]
        delay_s = self._rng.uniform(*self.delay_s) + self.slow.get((source, target), 0.0)
        asyncio.get_running_loop().call_later(
            delay_s, self._deliver, source, target, receiver, encode(message)
        )
        return True

    def _deliver(self, source: str, target: str, receiver: Receiver, data: bytes) -> None:
        if self.receivers.get(target) is receiver and (source, target) not in self.cut:
            receiver.receive(source, decode(data))

    def join(self, name: str, receiver: Receiver) -> None:
        others = dict(self.receivers)
        self.receivers[name] = receiver
        for other, its in others.items():
            receiver.connected(other)
            its.connected(name)

    def leave(self, name: str, receiver: Receiver) -> None:
        if self.receivers.get(name) is not receiver:
            return
        del self.receivers[name]
        for its in self.receivers.values():
            its.disconnected(name)
            its.hung_up(name)

    def partition(self, *groups: set[str]) -> None:
        """Cut every link between members of different groups."""
        self.cut = {
            (a, b)
            for one in groups
            for other in groups
            if one is not other
            for a in one
            for b in other
        }

    def heal(self) -> None:
        self.cut = set()
        self.slow = {}
        self.drop = 0.0


class SimLink:
    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def send(self, member: str, message: Message) -> bool:
        return self._network.send(self._name, member, message)

    async def run(self, receiver: Receiver) -> None:
        self._network.join(self._name, receiver)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._network.leave(self._name, receiver)


class SimMember(Generic[R]):
    """A member's process: its node and machine while it lives, its disk for ever."""

    def __init__(self, name: str, disk: SimDisk) -> None:
        self.name = name
        self.disk = disk
        self.node: RaftNode[R] | None = None
        self.machine: Any = None
        self.task: asyncio.Task[None] | None = None


class SimCluster(Generic[R]):
    """Members that can be killed, restarted and cut off. Make it inside a running loop."""

    def __init__(
        self,
        names: tuple[str, ...],
        rng: Random,
        machine: Callable[[], Machine[R]],
        **config: Any,
    ) -> None:
        self.rng = rng
        self.network = SimNetwork(rng)
        self.members: dict[str, SimMember[R]] = {
            name: SimMember(name, SimDisk(rng)) for name in names
        }
        self._machine = machine
        self._config = config
        self.failures: list[BaseException] = []

    def alive(self) -> list[SimMember[R]]:
        return [member for member in self.members.values() if member.node is not None]

    def leaders(self) -> list[SimMember[R]]:
        return [m for m in self.alive() if m.node is not None and m.node.is_leader]

    def start(self, name: str) -> None:
        member = self.members[name]
        assert member.node is None
        config = RaftConfig(name, tuple(self.members), "sim", **self._config)
        member.machine = self._machine()
        member.node = RaftNode(
            config, member.machine, member.disk, self.network.link(name), Random(self.rng.random())
        )
        member.task = asyncio.ensure_future(self._run(member, member.node))

    async def _run(self, member: SimMember[R], node: RaftNode[R]) -> None:
        try:
            await node.run()
        except* CrashError:
            pass
        except* Exception as group:  # kept for whoever asks
            self.failures.append(group)
        finally:
            if member.node is node:
                member.node = None
                member.disk.crash()

    async def kill(self, name: str) -> None:
        """Stop a member where it stands; its unsynced writes are lost."""
        member = self.members[name]
        if member.task is not None:
            member.node = None
            member.disk.crash()
            member.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await member.task
            member.task = None

    async def stop(self) -> None:
        for name in self.members:
            await self.kill(name)

    def start_all(self) -> None:
        for name, member in self.members.items():
            if member.node is None:
                self.start(name)

    async def leader(self, within_s: float = 20.0) -> SimMember[R]:
        """Wait until one member leads with a settled log."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            ready = [m for m in self.leaders() if m.node is not None and m.node.ready]
            if len(ready) == 1:
                return ready[0]
            assert not self.failures, self.failures
            assert loop.time() < deadline, "no leader"
            await asyncio.sleep(0.01)
