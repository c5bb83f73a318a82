"""Whole stores in the simulated world: replicas, their doors and clients, over `SimStreams`.

    world = StoreWorld(("m1", "m2", "m3"), rng)      in a running `VirtualLoop`
    world.start_all()
    client = world.client("m1")                      on host m1, its own store first
    await world.kill("m1");  world.start("m1")       the disk stays, what was not synced does not
    world.streams.cut("m1", "m2");  world.streams.heal()

`StoreWorld.start` is all that a larger world needs to run store members next to API servers.
"""

import asyncio
import contextlib
from random import Random

from store_sim import CrashError, SimDisk
from store_streams import SimStreams
from virtual_loop import VirtualClock

from wherry.store.client import StoreClient
from wherry.store.peer import NetworkLink
from wherry.store.raft.machine import RaftConfig
from wherry.store.replica import Compaction, Replica
from wherry.store.server import StoreServer

SOCKET = "unix:///store.sock"


class StoreWorld:
    def __init__(
        self,
        names: tuple[str, ...],
        rng: Random,
        streams: SimStreams | None = None,
        *,
        snapshot_count: int = 50,
        compaction: Compaction | None = None,
    ) -> None:
        self.names = names
        self.rng = rng
        self.streams = streams or SimStreams(rng)
        self.disks = {name: SimDisk(rng) for name in names}
        self.replicas: dict[str, Replica] = {}
        self.failures: list[BaseException] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._snapshot_count = snapshot_count
        self._compaction = compaction

    def start(self, name: str) -> Replica:
        """Start a member's process on its host."""
        network = self.streams.host(name)
        config = RaftConfig(name, self.names, "sim", snapshot_count=self._snapshot_count)
        peers = {other: f"{other}:2380" for other in self.names if other != name}
        link = NetworkLink(name, "sim", peers, network, f"{name}:2380", Random(self.rng.random()))
        replica = Replica(
            config,
            self.disks[name],
            link,
            VirtualClock(),
            Random(self.rng.random()),
            self._compaction,
        )
        server = StoreServer(replica, network, [SOCKET, f"{name}:2381"])
        self.replicas[name] = replica
        self._tasks[name] = asyncio.ensure_future(self._run(name, server))
        return replica

    def start_all(self) -> None:
        for name in self.names:
            if name not in self.replicas:
                self.start(name)

    async def _run(self, name: str, server: StoreServer) -> None:
        try:
            await server.run()
        except* CrashError:
            pass
        except* Exception as group:  # kept for whoever asks
            self.failures.append(group)
        finally:
            if self.replicas.get(name) is server.replica:
                self._power_off(name)

    def _power_off(self, name: str) -> None:
        self.replicas.pop(name, None)
        self.streams.kill(name)
        self.disks[name].crash()

    async def kill(self, name: str) -> None:
        """kill -9 and loss of power: nothing is flushed, nobody is told."""
        if name in self.replicas:
            self._power_off(name)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        for name in self.names:
            await self.kill(name)

    def client(self, host: str, *, timeout_s: float = 10.0) -> StoreClient:
        """Return a client on a host: its own store first, then the others."""
        endpoints = [SOCKET] if host in self.names else []
        endpoints += [f"{name}:2381" for name in self.names if name != host]
        return StoreClient(
            endpoints, self.streams.host(host), Random(self.rng.random()), timeout_s=timeout_s
        )

    def leader(self) -> str | None:
        """Return who leads, in its own view."""
        leading = [name for name, one in self.replicas.items() if one.node.is_leader]
        return leading[0] if len(leading) == 1 else None
