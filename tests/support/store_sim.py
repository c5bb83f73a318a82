"""Raft members in a simulated world: disks that forget, links that lose, one seed for all.

`SimDisk` keeps what was synced; a crash loses the rest, or leaves a torn piece of it, and may
happen inside any sync. `SimCluster` runs `RaftNode`s on such disks and a `SimNetwork`
(`store_network.py`), in a `VirtualLoop`, and kills and restarts them.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable
from random import Random
from typing import Any, Generic, TypeVar

from store_network import SimNetwork

from wherry.store.raft.disk import DiskFile
from wherry.store.raft.machine import Joined, Machine, RaftConfig
from wherry.store.raft.node import RaftNode

T = TypeVar("T")
R = TypeVar("R")


class CrashError(Exception):
    """The power went away, in the middle of a write."""


class _Content:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0  # bytes that a crash leaves
        self.batch = 0  # where the last sync that wrote something began
        self.reserved = 0

    def copy(self) -> "_Content":
        other = _Content()
        other.data = bytearray(self.data)
        other.durable, other.batch, other.reserved = self.durable, self.batch, self.reserved
        return other


class SimFile:
    def __init__(self, disk: "SimDisk", content: _Content) -> None:
        self._disk = disk
        self._content = content
        self._generation = disk.generation

    def append(self, data: bytes) -> None:
        self._disk.check(self._generation)
        if self._disk.full:
            self._content.data += data[: self._disk.chance.randrange(len(data) + 1)]
            raise OSError(errno.ENOSPC, "No space left on device")
        self._content.data += data

    def sync(self) -> None:
        self._disk.check(self._generation)
        self._disk.risk()
        self._disk.wait()
        if self._disk.broken:
            raise OSError(errno.EIO, "Input/output error")
        if not self._disk.lie:
            if self._content.durable < len(self._content.data):
                self._content.batch = self._content.durable
            self._content.durable = len(self._content.data)
        self._disk.on_sync()
        self._disk.risk()

    def close(self) -> None:
        pass


class SimDisk:
    """`Disk` in memory: it forgets at a crash what was not synced, and fails in many ways.

    Attributes:
        crash_chance: That of losing power before or after any sync, creation or renaming.
        crash_after: Lose power at the so-manieth of these; None: do not.
        full: Nothing can be written any more.
        broken: Nothing can be made durable any more.
        slow_s: How long each sync takes; `on_wait` is told until when the member is stuck.
        on_sync: Called after each.
        lie: A mutation for tests of the tests: sync does nothing.
        lie_names: Another: renaming is not durable.
    """

    def __init__(self, rng: Random) -> None:
        self.chance = rng
        self._files: dict[str, _Content] = {}
        self._renamed: list[tuple[str, str, _Content | None]] = []  # with `lie_names`
        self.generation = 0
        self.crash_chance = 0.0
        self.crash_after: int | None = None
        self.full = False
        self.broken = False
        self.slow_s = 0.0
        self.busy_until = 0.0
        self.on_wait: Callable[[float], None] = lambda _until: None
        self.on_sync: Callable[[], None] = lambda: None
        self.lie = False
        self.lie_names = False

    def risk(self) -> None:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise CrashError
        if self.crash_chance and self.chance.random() < self.crash_chance:
            raise CrashError

    def wait(self) -> None:
        if self.slow_s:
            now = asyncio.get_running_loop().time()
            self.busy_until = max(now, self.busy_until) + self.slow_s
            self.on_wait(self.busy_until)

    def check(self, generation: int) -> None:
        if generation != self.generation:
            raise CrashError

    def halt(self) -> None:
        """The process is gone, and nothing that it wrote: that is in the page cache."""
        self.generation += 1
        self.crash_after = None
        self.busy_until = 0.0

    def crash(self) -> None:
        """Forget what was not synced, except perhaps a torn piece of it."""
        self.halt()
        for name, new_name, replaced in reversed(self._renamed):
            if new_name in self._files:
                self._files[name] = self._files.pop(new_name)
            if replaced is not None:
                self._files[new_name] = replaced
        self._renamed.clear()
        for content in self._files.values():
            unsynced = len(content.data) - content.durable
            kept = self.chance.randrange(unsynced + 1) if unsynced > 0 else 0
            if self.chance.random() < 0.5:
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
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        content = self._files[name] = _Content()
        content.reserved = min(reserve_bytes, 4096)
        return SimFile(self, content)

    def open_at(self, name: str, end: int, reserve_bytes: int = 0) -> DiskFile:
        content = self._files[name]
        del content.data[end:]
        content.data += bytes(end - len(content.data))  # the zeros that were reserved
        content.durable = len(content.data)
        content.batch = min(content.batch, end)
        content.reserved = max(end, min(reserve_bytes, 4096))
        return SimFile(self, content)

    def replace(self, name: str, new_name: str) -> None:
        self.risk()
        if self.lie_names:
            self._renamed.append((name, new_name, self._files.get(new_name)))
        self._files[new_name] = self._files.pop(name)
        self.risk()

    def delete(self, name: str) -> None:
        self._files.pop(name, None)

    async def run(self, call: Callable[[], T]) -> T:
        await asyncio.sleep(self.slow_s)
        return call()

    def close(self) -> None:
        pass

    # ---- what happens to disks

    def wipe(self) -> None:
        """A new disk."""
        self.halt()
        self._files.clear()

    def corrupt(self, name: str, offset: int, bit: int = 0) -> None:
        """Flip a bit."""
        self._files[name].data[offset] ^= 1 << bit

    def unsynced(self, ending: str) -> bool:
        """Whether the newest file of that kind holds more than a crash would leave."""
        newest = max((name for name in self._files if name.endswith(ending)), default="")
        content = self._files.get(newest)
        return content is not None and content.durable < len(content.data)

    def settled_bytes(self, name: str) -> int:
        """Return how much of a file has something durable behind it.

        A bit that flips in the very last batch looks like a write that was torn by a crash:
        nothing can tell. (etcd's log has the same limit.)
        """
        content = self._files[name]
        return content.batch if name.endswith(".wal") else len(content.data)

    def copy(self) -> "SimDisk":
        """Return another disk with the same files; it is calm."""
        other = SimDisk(Random(0))
        other._files = {name: content.copy() for name, content in self._files.items()}
        return other

    def give_back(self, other: "SimDisk", name: str) -> None:
        """Have a file that was lost again."""
        self._files[name] = other._files[name]


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
        self._first = names
        self.joined: dict[str, Joined] = {}  # who came later, and what it was told
        self.failures: list[BaseException] = []

    def alive(self) -> list[SimMember[R]]:
        return [member for member in self.members.values() if member.node is not None]

    def leaders(self) -> list[SimMember[R]]:
        return [m for m in self.alive() if m.node is not None and m.node.is_leader]

    def start(self, name: str) -> None:
        member = self.members[name]
        assert member.node is None
        config = RaftConfig(name, self._first, "sim", joined=self.joined.get(name), **self._config)
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
