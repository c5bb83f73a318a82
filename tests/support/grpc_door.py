"""A gRPC door over stub verbs on loopback, and clients of it, for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import grpc
import grpc.aio
import orjson
import uvloop
from apiserver_pki import TestPki
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs

from wherry.apiserver.grpc import ClusterService, GrpcServer
from wherry.apiserver.metrics import Metrics
from wherry.client.grpc_api import GrpcApi
from wherry.process.clock import SystemClock


class Door:
    """One gRPC server over stub verbs."""

    def __init__(self, pki: TestPki, port: int = 0) -> None:
        self.verbs = StubVerbs()
        self.gate = OpenGate()
        self.counted = CollectorRegistry()
        service = ClusterService(
            self.verbs, self.gate, clock=SystemClock(), metrics=Metrics(self.counted)
        )
        tls = pki.files("kube-apiserver", server=True)
        self.server = GrpcServer(service, host="127.0.0.1", port=port, tls=tls)
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def start(self) -> "Door":
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self.server.run())
        await self.server.listening.wait()
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
            await self._tasks.__aexit__(None, None, None)


@asynccontextmanager
async def doors(pki: TestPki, count: int = 1) -> AsyncIterator[list[Door]]:
    made = [await Door(pki).start() for _ in range(count)]
    try:
        yield made
    finally:
        for door in made:
            await door.stop()


@asynccontextmanager
async def client(
    pki: TestPki, addresses: list[str], *, timeout_s: float = 30.0, token: str | None = None
) -> AsyncIterator[GrpcApi]:
    files = pki.admin()
    api = GrpcApi(
        addresses,
        ca=files.ca,
        cert=files.cert,
        key=files.key,
        token=token,
        rng=Random(0),
        timeout_s=timeout_s,
    )
    try:
        yield api
    finally:
        await api.close()


def in_loop(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main()

    uvloop.run(bounded())


def config_map(name: str) -> bytes:
    return orjson.dumps({"metadata": {"name": name}})


@asynccontextmanager
async def secure_channel(pki: TestPki, door: Door) -> AsyncIterator[grpc.aio.Channel]:
    files = pki.admin()
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.key.read_bytes(), files.cert.read_bytes()
    )
    async with grpc.aio.secure_channel(door.address, credentials) as open_channel:
        yield open_channel
