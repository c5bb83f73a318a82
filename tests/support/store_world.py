"""Whole stores in the simulated world: replicas, their doors and clients, over `SimStreams`.

    world = StoreWorld(("m1", "m2", "m3"), rng)      in a running `VirtualLoop`
    world.start_all()
    client = world.client("m1")                      on host m1, its own store first
    await world.kill("m1");  world.start("m1")       the disk stays, what was not synced does not
    world.streams.cut("m1", "m2");  world.streams.heal()

`StoreWorld.start` is all that a larger world needs to run store members next to API servers.
Members reach each other as in production, by ordered connections (`NetworkLink`), or with
`peers` by a network that also loses, reorders and repeats.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from random import Random

from store_network import SimNetwork
from store_sim import CrashError, SimDisk
from store_streams import SimStreams
from virtual_loop import VirtualClock

from wherry.store.client import StoreClient
from wherry.store.compaction import Compaction
from wherry.store.membership import Configuration, initial
from wherry.store.peer import NetworkLink
from wherry.store.raft.link import PeerLink
from wherry.store.raft.machine import Joined, RaftConfig
from wherry.store.raft.wal import SEGMENT_BYTES
from wherry.store.replica import Replica
from wherry.store.server import StoreServer

SOCKET = "unix:///store.sock"


class SkewedClock(VirtualClock):
    """A machine's own clock: it runs faster or slower than others, and its date may jump."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate

    def monotonic(self) -> float:
        return super().monotonic() * self.rate


class StoreWorld:
    """See the module.

    Attributes:
        names: With whom the cluster begins.
        joined: Who came later, and what it was told; only with `peers`.
        on_start: Called with every new replica before it runs.
        on_exit: Called with (member, why) when a member's process ended by itself; why is None
            when it lost power in the middle of a write. Without it failures are collected.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        rng: Random,
        streams: SimStreams | None = None,
        *,
        snapshot_count: int = 50,
        segment_bytes: int = SEGMENT_BYTES,
        compaction: Compaction | None = None,
        peers: SimNetwork | None = None,
    ) -> None:
        self.names = names
        self.rng = rng
        self.streams = streams or SimStreams(rng)
        self.joined: dict[str, Joined] = {}
        self.disks: dict[str, SimDisk] = {}
        self.clocks: dict[str, SkewedClock] = {}
        self.replicas: dict[str, Replica] = {}
        self.failures: list[BaseException] = []
        self.on_start: Callable[[str, Replica], None] = lambda _name, _replica: None
        self.on_exit: Callable[[str, BaseException | None], None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._snapshot_count = snapshot_count
        self._segment_bytes = segment_bytes
        self._compaction = compaction
        self._peers = peers
        self._known = (0, initial("sim", names))
        for name in names:
            self.add(name)

    def add(self, name: str, rate: float = 1.0) -> None:
        """Have a machine for a member, with an empty disk."""
        disk = self.disks[name] = SimDisk(Random(self.rng.random()))
        self.clocks[name] = SkewedClock(rate)
        if self._peers is not None:
            disk.on_wait = functools.partial(self._peers.hold, name)

    def members(self) -> Configuration:
        """Return who belongs to the cluster, as whoever has applied most knew it at last."""
        for replica in self.replicas.values():
            node = replica.node
            if node.members.members and node.applied >= self._known[0]:
                self._known = (node.applied, node.members)
        return self._known[1]

    def config(self, name: str) -> RaftConfig:
        """Return what a member is started with."""
        return RaftConfig(
            name,
            self.names,
            "sim",
            snapshot_count=self._snapshot_count,
            segment_bytes=self._segment_bytes,
            joined=self.joined.get(name),
        )

    def start(self, name: str) -> Replica:
        """Start a member's process on its host."""
        network = self.streams.host(name)

        def publish(revision: int) -> None:
            if self.replicas.get(name) is replica:
                self.streams.pages[name] = revision

        replica = Replica(
            self.config(name),
            self.disks[name],
            self._link(name),
            self.clocks[name],
            Random(self.rng.random()),
            self._compaction,
            publish=publish,
        )
        server = StoreServer(replica, network, [SOCKET, f"{name}:2381"])
        self.replicas[name] = replica
        self.on_start(name, replica)
        self._tasks[name] = asyncio.ensure_future(self._run(name, server))
        return replica

    def _link(self, name: str) -> PeerLink:
        if self._peers is not None:
            return self._peers.link(name)
        peers = {other: f"{other}:2380" for other in self.names if other != name}
        rng = Random(self.rng.random())
        return NetworkLink(name, "sim", peers, self.streams.host(name), f"{name}:2380", rng)

    def start_all(self) -> None:
        for name in self.names:
            if name not in self.replicas:
                self.start(name)

    async def _run(self, name: str, server: StoreServer) -> None:
        why: BaseException | None = None
        try:
            await server.run()
        except* CrashError:
            pass
        except* Exception as group:  # kept for whoever asks
            why = group
        if self.replicas.get(name) is not server.replica:
            return  # it was killed
        self._end(name, power=why is None)
        if self.on_exit is not None:
            self.on_exit(name, why)
        elif why is not None:
            self.failures.append(why)

    def _end(self, name: str, *, power: bool) -> None:
        """From now on the process says nothing: not even the farewell of one that is stopped."""
        node = self.replicas.pop(name).node
        node._fail(CrashError())
        if self._peers is not None:
            self._peers.leave(name, node)
        self.streams.kill(name)
        if power:
            self.disks[name].crash()
        else:
            self.disks[name].halt()

    def cut_power(self, name: str) -> None:
        """The machine is off from this very step on; `kill` may follow."""
        if name in self.replicas:
            self._end(name, power=True)
            self._tasks[name].cancel()

    async def kill(self, name: str, *, power: bool = True) -> None:
        """kill -9, by default with loss of power: nothing is flushed, nobody is told."""
        if name in self.replicas:
            self._end(name, power=power)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        for name in list(self.disks):
            await self.kill(name)

    def client(
        self, host: str, *, timeout_s: float = 10.0, endpoints: Sequence[str] = ()
    ) -> StoreClient:
        """Return a client on a host: its own store first, then the others."""
        if not endpoints:
            own = [SOCKET] if host in self.names else []
            endpoints = own + [f"{name}:2381" for name in self.names if name != host]
        return StoreClient(
            endpoints, self.streams.host(host), Random(self.rng.random()), timeout_s=timeout_s
        )

    def leader(self) -> str | None:
        """Return who leads, in its own view."""
        leading = [name for name, one in self.replicas.items() if one.node.is_leader]
        return leading[0] if len(leading) == 1 else None
