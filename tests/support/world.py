"""The whole cluster in one event loop, under virtual time, from one seed.

Masters (store, apiserver, scheduler, controller-manager) and nodes (agents on hollow
runtimes) are the same components that the processes run, given simulated disks, links and
clocks. Each can be killed between any two awaits and started again; what lived on a disk, or
in a node's runtime, is still there.

    async with World(seed) as world:
        await world.settled()
        world.kill("m1", "store")

The same seed takes the same steps in every run, provided that Python's hashes are the same
(`PYTHONHASHSEED=0`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from types import TracebackType
from typing import Any, Final

import orjson
from store_sim import SimDisk
from virtual_loop import VirtualClock, until
from world_net import Door, Life, Network, Process, RemoteApi
from world_store import MemberLink, Streams

from wherry.agent.fleet import FleetConfig, HollowFleet
from wherry.agent.hollow import HollowRuntime
from wherry.agent.node_object import NodeIdentity
from wherry.api import kinds
from wherry.api.errors import StatusError, UnavailableError
from wherry.apiserver.bootstrap import Bootstrap, BootstrapConfig
from wherry.apiserver.local_api import LocalApi
from wherry.apiserver.registry import Registry
from wherry.apiserver.verbs import User
from wherry.controllers.component import ControllerManager, ControllerManagerConfig
from wherry.scheduler.component import Scheduler, SchedulerConfig
from wherry.store.client import StoreClient
from wherry.store.raft.link import Receiver
from wherry.store.raft.machine import RaftConfig
from wherry.store.replica import Replica
from wherry.store.server import StoreServer

Main = Callable[[Life], Coroutine[Any, Any, None]]
MASTER_PROCESSES: Final = ("store", "apiserver", "scheduler", "controller-manager")
GROUPS: Final = {"admin": ("system:masters",)}


class World:
    """See the module. `processes[host, name]` are all there are."""

    def __init__(
        self,
        seed: int,
        *,
        masters: int = 3,
        nodes: int = 3,
        hop_s: tuple[float, float] = (0.0002, 0.004),
    ) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.masters = [f"m{i + 1}" for i in range(masters)]
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.processes: dict[tuple[str, str], Process] = {}
        self.wires = Network(Random(self.rng.random()), hop_s=hop_s)
        self.doors = {host: Door(host) for host in self.masters}
        self.streams = Streams(self.wires)
        self.members: dict[str, tuple[Life, Receiver]] = {}
        self.disks = {host: SimDisk(Random(self.rng.random())) for host in self.masters}
        self.replicas: dict[str, Replica] = {}
        self.runtimes: dict[str, HollowRuntime] = {}
        self._group = asyncio.TaskGroup()
        self._me = Life()

    async def __aenter__(self) -> "World":
        self.clock = VirtualClock()
        await self._group.__aenter__()
        for host in self.masters:
            mains: dict[str, Main] = {
                "store": lambda life, h=host: self._store(h, life),  # type: ignore[misc]  # bound now
                "apiserver": lambda life, h=host: self._apiserver(h, life),  # type: ignore[misc]
                "scheduler": lambda life, h=host: self._scheduler(h, life),  # type: ignore[misc]
                "controller-manager": lambda life, h=host: self._controllers(h, life),  # type: ignore[misc]
            }
            for name, main in mains.items():
                self.processes[host, name] = Process(host, name, main, self._spawn)
        for number, host in enumerate(self.nodes):
            self.runtimes[host] = self._runtime(host, number)
            self.processes[host, "agent"] = Process(
                host,
                "agent",
                lambda life, h=host: self._agent(h, life),  # type: ignore[misc]
                self._spawn,
            )
        for process in self.processes.values():
            process.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._me.ended.set()
        for process in self.processes.values():
            if process.running:
                process.kill()
        await self._group.__aexit__(exc_type, exc, traceback)

    def _spawn(self, main: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return self._group.create_task(main, name=name)

    def spawn(self, main: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something of the test's own beside the cluster."""
        return self._group.create_task(main)

    def chance(self) -> Random:
        """Return a generator of its own for somebody."""
        return Random(self.rng.random())

    # ---- the processes

    async def _store(self, host: str, life: Life) -> None:
        replica = Replica(
            RaftConfig(host, tuple(self.masters), "world", snapshot_count=2000),
            self.disks[host],
            MemberLink(self.wires, self.members, host, life),
            self.clock,
            self.chance(),
        )
        self.replicas[host] = replica
        streams = self.streams.on(host, life)
        await StoreServer(replica, streams, [f"unix:///{host}", f"{host}:2381"]).run()

    async def _apiserver(self, host: str, life: Life) -> None:
        others = [f"{m}:2381" for m in self.masters if m != host]
        rng = self.chance()
        store = StoreClient([f"unix:///{host}", *others], self.streams.on(host, life), rng)
        registry = Registry(store, clock=self.clock, rng=rng)
        number = self.masters.index(host) + 1
        bootstrap = Bootstrap(registry, store, BootstrapConfig(f"192.0.2.{number}"), rng=rng)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(registry.run())
            tasks.create_task(bootstrap.run())
            self.doors[host].open(
                life, lambda user: LocalApi(registry, User(user, GROUPS.get(user, ())))
            )

    async def _scheduler(self, host: str, life: Life) -> None:
        identity = f"{host}_{self.rng.getrandbits(32):08x}"
        api = self.api(life, host, "system:kube-scheduler")
        config = SchedulerConfig(identity)
        await Scheduler(config, api, clock=self.clock, rng=self.chance()).run()

    async def _controllers(self, host: str, life: Life) -> None:
        identity = f"{host}_{self.rng.getrandbits(32):08x}"
        api = self.api(life, host, "system:kube-controller-manager")
        config = ControllerManagerConfig(identity)
        await ControllerManager(config, api, clock=self.clock, rng=self.chance()).run()

    def _runtime(self, host: str, number: int) -> HollowRuntime:
        return HollowRuntime(
            self.clock, name=host, pod_cidr=f"10.244.{number + 1}.0/24", start_latency_s=0.4
        )

    async def _agent(self, host: str, life: Life) -> None:
        api = self.api(life, host, f"system:node:{host}")
        identity = NodeIdentity(host, f"192.0.2.{100 + self.nodes.index(host)}")
        runtimes = {host: self.runtimes[host]}
        fleet = HollowFleet(FleetConfig((identity,)), api, self.clock, self.chance(), runtimes)
        await fleet.run()

    def api(self, life: Life, host: str, user: str) -> RemoteApi:
        """Return a client of all API servers for a process on `host`."""
        return RemoteApi(self.wires, life, host, list(self.doors.values()), user, self.chance())

    def client(self) -> RemoteApi:
        """Return an administrator's client, from a host that nothing cuts off."""
        return self.api(self._me, "outside", "admin")

    # ---- faults

    def kill(self, host: str, name: str) -> None:
        """Kill -9 one process; a store's disk forgets what was not synced."""
        if name == "store":
            self.processes[host, name].life.ended.set()
            self.disks[host].crash()
        self.processes[host, name].kill()

    def start(self, host: str, name: str) -> None:
        """Start a process that is dead."""
        self.processes[host, name].start()

    def dead(self) -> list[tuple[str, str]]:
        """Return what is not running."""
        return [key for key, process in self.processes.items() if not process.running]

    def kill_node(self, host: str) -> None:
        """Power off: the agent and every container."""
        if self.processes[host, "agent"].running:
            self.kill(host, "agent")
        self.runtimes[host] = self._runtime(host, self.nodes.index(host))

    def revive(self) -> None:
        """Start everything that is dead and mend every link."""
        self.wires.heal()
        for host, name in self.dead():
            self.start(host, name)

    # ---- looking

    async def objects(self, kind: kinds.Kind, namespace: str = "") -> Sequence[dict[str, Any]]:
        """Read all objects of a kind linearizably, asking again until somebody answers."""
        client = self.client()
        while True:
            try:
                page = await client.list(kind, namespace)
            except (UnavailableError, StatusError):
                await asyncio.sleep(0.2)
            else:
                return [orjson.loads(raw) for raw in page.items]

    async def settled(self, *, within_s: float = 120.0) -> None:
        """Wait until every node is Ready."""
        ready = 0

        async def look() -> None:
            nonlocal ready
            while True:
                nodes = await self.objects(kinds.NODE)
                ready = sum(map(is_ready, nodes))
                await asyncio.sleep(0.5)

        task = self.spawn(look())
        try:
            await until(lambda: ready == len(self.nodes), within_s=within_s)
        finally:
            task.cancel()


def is_ready(obj: dict[str, Any]) -> bool:
    """Tell whether a Node or Pod has the condition Ready."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
