"""The gRPC client when a server drains, hangs, dies or has lost its store: told in time, and moved on."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from apiserver_pki import TestPki
from grpc_door import Door, client, config_map, doors, in_loop
from ports import claim
from verbs_stub import event

from wherry.api.errors import ServiceUnavailableError, UnavailableError
from wherry.api.kinds import CONFIG_MAP
from wherry.client.api import EventType
from wherry.client.grpc_api import GrpcApi

pytestmark = pytest.mark.integration
PROMPT_S = 30.0
"""A machine may pause; without a deadline of its own gRPC waits for ever, TCP for a quarter of an hour."""


@pytest.fixture
def pki(tmp_path: Path) -> TestPki:
    return TestPki(tmp_path)


def test_draining_ends_watches_and_calls_go_to_the_other_server(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki, 2) as pair, client(pki, [d.address for d in pair]) as api:
            [first] = [d for d in pair if d.address == api.server]
            [other] = [d for d in pair if d is not first]
            watch = aiter(api.watch(CONFIG_MAP, revision=1))
            first.verbs.events.put_nowait([event(EventType.ADDED, "a", 6)])
            await anext(watch)
            await first.stop()
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
            await api.create(CONFIG_MAP, config_map("b"), "default")
            assert api.server == other.address
            assert other.verbs.calls[-1][0] == "create"

    in_loop(main)


def test_a_server_whose_store_is_away_is_left(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki, 2) as pair, client(pki, [d.address for d in pair]) as api:
            [first] = [d for d in pair if d.address == api.server]
            [other] = [d for d in pair if d is not first]
            first.verbs.fail = ServiceUnavailableError("no quorum")
            await other_has(other, "a")
            assert await api.get(CONFIG_MAP, "a", "default")
            first_calls = len(first.verbs.calls)
            assert await api.get(CONFIG_MAP, "a", "default")  # and it stays with the other
            assert (first_calls, len(first.verbs.calls)) == (1, 1)

    in_loop(main)


async def other_has(door: Door, name: str) -> None:
    door.verbs.objects["configmaps", "default", name] = orjson.loads(config_map(name))


def test_a_write_that_may_have_happened_is_not_sent_again(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki, 2) as pair, client(pki, [d.address for d in pair]) as api:
            [first] = [d for d in pair if d.address == api.server]
            [other] = [d for d in pair if d is not first]
            first.verbs.fail = ServiceUnavailableError("no quorum")
            with pytest.raises(UnavailableError, match="no quorum"):
                await api.create(CONFIG_MAP, config_map("a"), "default")
            assert (len(first.verbs.calls), len(other.verbs.calls)) == (1, 0)
            await api.create(CONFIG_MAP, config_map("a"), "default")
            assert len(other.verbs.calls) == 1

    in_loop(main)


def test_nobody_there_is_told_in_time_and_a_restart_is_noticed(pki: TestPki) -> None:
    async def main() -> None:
        (port,) = claim(1)  # for the one that comes back
        door = await Door(pki, port).start()
        async with client(pki, [door.address], timeout_s=1.0) as api:
            await other_has(door, "a")
            await until_served(api)
            await door.stop()
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(UnavailableError):
                await api.get(CONFIG_MAP, "a", "default")
            assert 0.3 < loop.time() - began < PROMPT_S
            again = await Door(pki, port).start()
            await other_has(again, "a")
            await until_served(api)
            await again.stop()

    in_loop(main)


async def until_served(api: GrpcApi) -> None:
    """Ask until there is an answer; the loop has a deadline."""
    while True:
        with suppress(UnavailableError):
            await api.get(CONFIG_MAP, "a", "default")
            return


def test_a_hanging_handler_meets_the_deadline(pki: TestPki) -> None:
    async def main() -> None:
        async with doors(pki) as [door], client(pki, [door.address], timeout_s=0.4) as api:
            door.verbs.hold.clear()
            with pytest.raises(UnavailableError):
                await api.create(CONFIG_MAP, config_map("a"), "default")
            with pytest.raises(UnavailableError):
                await api.get(CONFIG_MAP, "a", "default")
            door.verbs.hold.set()

    in_loop(main)


CHILD = """
import asyncio, sys
sys.path[:0] = {path!r}
import uvloop
from pathlib import Path
from apiserver_pki import TestPki
from wherry.apiserver.grpc import ClusterService, GrpcServer
from wherry.apiserver.metrics import Metrics
from wherry.pki.tls import TlsFiles
from wherry.process.clock import SystemClock
from open_gate import OpenGate
from prometheus_client import CollectorRegistry
from verbs_stub import StubVerbs, event
from wherry.client.api import EventType

async def main():
    verbs = StubVerbs()
    service = ClusterService(verbs, OpenGate(), clock=SystemClock(), metrics=Metrics(CollectorRegistry()))
    d = Path({directory!r})
    tls = TlsFiles(d / "child.crt", d / "child.key", d / "ca.crt")
    server = GrpcServer(service, host="127.0.0.1", port=0, tls=tls)
    verbs.events.put_nowait([event(EventType.ADDED, "a", 6)])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run())
        await server.listening.wait()
        print(server.port, flush=True)

uvloop.run(main())
"""


@asynccontextmanager
async def child(
    pki: TestPki, directory: Path
) -> AsyncIterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server in a process of its own, which can be stopped and killed."""
    pki.files("kube-apiserver", server=True, name="child")
    code = textwrap.dedent(CHILD.format(path=sys.path, directory=str(directory)))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = await asyncio.to_thread(process.stdout.readline)
        yield process, f"127.0.0.1:{port.strip()}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_master_is_noticed_within_seconds(
    pki: TestPki, tmp_path: Path, how: signal.Signals
) -> None:
    async def main() -> None:
        async with child(pki, tmp_path) as (process, address), client(pki, [address]) as api:
            watch = aiter(api.watch(CONFIG_MAP, revision=1))
            await anext(watch)
            loop = asyncio.get_running_loop()
            os.kill(process.pid, how)
            began = loop.time()
            with pytest.raises(UnavailableError):
                await anext(watch)
            assert loop.time() - began < PROMPT_S

    in_loop(main)
