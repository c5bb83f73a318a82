"""A whole API server on loopback over a store in memory, for integration tests."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from apiserver_pki import TestPki
from open_gate import OpenGate
from prometheus_client import CollectorRegistry

from wherry.api.clock import Clock
from wherry.apiserver.gate import Gate
from wherry.apiserver.http import Limits
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.registry import Registry, RegistryConfig
from wherry.apiserver.server import ApiServer, ServerConfig
from wherry.pki.tls import TlsFiles
from wherry.process.clock import SystemClock
from wherry.store.kv import Store
from wherry.store.memory import MemoryStore


@dataclass
class Running:
    """A server that runs, and how to reach it."""

    server: ApiServer
    registry: Registry
    gate: OpenGate
    pki: TestPki
    admin: TlsFiles

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.http.port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.server.grpc.port}"


@asynccontextmanager
async def running_apiserver(
    pki: TestPki,
    *,
    store: Store | None = None,
    secure_port: int = 0,
    grpc_port: int = 0,
    limits: Limits | None = None,
    registry_config: RegistryConfig | None = None,
    dialer: Any = None,
    clock: Clock | None = None,
    access: Callable[[Registry], Gate] | None = None,
) -> AsyncIterator[Running]:
    """Run a server until the block ends; it is ready when the block begins.

    Its gate is an `OpenGate`, unless `access` makes another.
    """
    clock = clock or SystemClock()
    store = store or MemoryStore(clock)
    registry = Registry(store, clock=clock, rng=random.Random(1), config=registry_config)
    tls = pki.files("kube-apiserver", server=True)
    gate = OpenGate()
    server = ApiServer(
        ServerConfig(
            tls=tls,
            agent_tls=tls,
            bind_address="127.0.0.1",
            secure_port=secure_port,
            grpc_port=grpc_port,
            limits=limits or Limits(drain_s=2),
        ),
        store,
        registry,
        access(registry) if access is not None else gate,
        clock=clock,
        dialer=dialer,
        metrics=Metrics(CollectorRegistry()),
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run())
        async with asyncio.timeout(60):
            await server.http.listening.wait()
            await server.grpc.listening.wait()
            await registry.synced.wait()
            while not server.ready:  # a probe, no event
                await asyncio.sleep(0.01)
        try:
            yield Running(server, registry, gate, pki, pki.admin())
        finally:
            task.cancel()
