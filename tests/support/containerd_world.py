"""The agent on a real containerd, against the fake API: what its tests share.

`play` tells a story with an agent that runs, and takes the story's pods away in the end.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import virtual_loop
from apiserver_pki import TestPki
from containerd_host import BUSYBOX, ContainerdHost
from http_answer import parse

from wherry.agent.cri import CriRuntime
from wherry.agent.node_agent import NodeAgent, NodeConfig
from wherry.agent.node_object import NodeIdentity
from wherry.api.errors import NotFoundError, UnavailableError
from wherry.api.kinds import EVENT, POD, Kind
from wherry.api.times import format_time
from wherry.client.fake import FakeApi
from wherry.pki.tls import client_context, server_context
from wherry.process.clock import SystemClock

Json = dict[str, Any]
Scenario = Callable[["World"], Awaitable[None]]
Play = Callable[[Scenario], None]
WITHIN_S = 120.0
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
NODES = ("system:nodes",)


class MortalApi(FakeApi):
    """A fake API server that can be dead, and gives ServiceAccount tokens."""

    dead = False

    async def list(self, *args: Any, **options: Any) -> Any:
        self._living()
        return await super().list(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> bytes:
        self._living()
        return await super().patch(*args, **options)

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        self._living()
        if subresource == "token":
            expires = format_time(self._clock.now() + 3600)
            status = {"token": f"token-of-{name}", "expirationTimestamp": expires}
            return orjson.dumps({"status": status})
        return await super().create(kind, body, namespace, name=name, subresource=subresource)

    def _living(self) -> None:
        if self.dead:
            raise UnavailableError("no API server answers")


class World:
    """One host, one API, and the agent that a test starts, kills and starts again."""

    def __init__(self, host: ContainerdHost, tmp: Path, tasks: asyncio.TaskGroup) -> None:
        self.host = host
        self.clock = SystemClock()
        self.api = MortalApi(self.clock)
        # One containerd serves many tests: a uid must not come twice.
        self.api._serial = int(self.clock.now() * 1000) % (1 << 40)
        self.shared = tmp / "shared"
        """A directory of the host, `/v` in containers that share it."""
        self.shared.mkdir()
        self._pki = TestPki(tmp)
        node = self._pki.files("system:node:n1", NODES, server=True)
        apiserver = self._pki.files("system:apiserver", ("system:masters",))
        self._tls, self._apiserver = server_context(node), client_context(apiserver)
        self._serial = 0
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self.agent: NodeAgent

    def stranger(self) -> ssl.SSLContext:
        """Return what another node's agent shows."""
        return client_context(self._pki.files("system:node:n2", NODES))

    async def start(self) -> None:
        config = NodeConfig(
            identity=NodeIdentity("n1", "10.88.0.1", port=0),
            root=self.host.directory / "agent",
            log_root=self.host.directory / "logs",
            cgroup_root=self.host.cgroup_root,
            host="127.0.0.1",
            tls=self._tls,
        )
        started = asyncio.Event()

        async def run() -> None:
            async with CriRuntime(self.host.endpoint) as runtime:
                self.agent = NodeAgent(config, self.api, runtime, self.clock, Random(1))
                started.set()
                await self.agent.run()

        self._task = self._tasks.create_task(run())
        await started.wait()
        assert self.agent.server is not None
        async with asyncio.timeout(60):
            await self.agent.server.listening.wait()

    async def kill(self) -> None:
        """Kill the agent between two awaits, as well as one process can."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def put(self, kind: Kind, name: str, **fields: Any) -> None:
        body = orjson.dumps({"metadata": {"name": name}, **fields})
        await self.api.create(kind, body, "default")

    async def run(self, script: str = FOREVER, *, shares: bool = False, **spec: Any) -> str:
        """Make a pod of one container that runs a shell script; return its name."""
        self._serial += 1
        name = f"p{self._serial}"
        container: Json = {"name": "c", "image": BUSYBOX, "command": ["sh", "-c", script]}
        if shares:
            container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
            spec["volumes"] = [{"name": "v", "hostPath": {"path": str(self.shared)}}]
        spec = {
            "nodeName": "n1",
            "containers": [container | spec.pop("container", {})],
            "terminationGracePeriodSeconds": 2,
            **spec,
        }
        meta = {"name": name, "labels": {"app": name}}
        await self.api.create(POD, orjson.dumps({"metadata": meta, "spec": spec}), "default")
        return name

    async def pod(self, name: str) -> Json:
        found: Json = orjson.loads(await self.api.get(POD, name, "default"))
        return found

    async def until(self, name: str, holds: Callable[[Json], bool]) -> Json:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN_S
        while True:
            pod = await self.pod(name)
            if holds(pod):
                return pod
            assert loop.time() < deadline, orjson.dumps(pod.get("status")).decode()
            await asyncio.sleep(0.05)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    await self.pod(name)
                except NotFoundError:
                    return
                await asyncio.sleep(0.05)

    async def ask(self, target: str, *, tls: ssl.SSLContext | None = None) -> tuple[int, str]:
        """GET from the agent's server, as the API server unless told otherwise."""
        head = f"GET {target} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n"
        status, body = await self.exchange(head, tls=tls)
        return status, body.decode(errors="replace")

    async def exchange(self, text: str, *, tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        """Send, and return what is answered until the connection ends."""
        reader, writer = await self.send(text, tls=tls)
        async with asyncio.timeout(WITHIN_S):
            answer = await reader.read()
        writer.close()
        status, _, body = parse(answer)
        return status, body

    async def send(
        self, text: str, *, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the agent's server and send."""
        assert self.agent.server is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.agent.server.port, ssl=tls or self._apiserver
        )
        writer.write(text.encode("latin-1"))
        return reader, writer

    async def log(self, name: str, query: str = "") -> str:
        status, text = await self.ask(f"/containerLogs/default/{name}/c?{query}")
        assert status == 200, text
        return text

    async def says(self, name: str, holds: Callable[[str], bool], query: str = "") -> str:
        """Wait until the log is so, and return it: who is ready may not have said a word yet."""
        async with asyncio.timeout(WITHIN_S):
            while not holds(said := await self.log(name, query)):
                await asyncio.sleep(0.05)
        return said

    def reasons(self, name: str) -> list[str]:
        """Return the reasons of a pod's events."""
        events = self.api.objects(EVENT)
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name]

    def messages(self) -> list[str]:
        """Return the messages of all events."""
        return [event["message"] for event in self.api.objects(EVENT)]


@pytest.fixture(scope="module")
def containerd() -> Iterator[ContainerdHost]:
    """A containerd of the module's own, running."""
    with ContainerdHost() as host:
        host.start()
        yield host


@pytest.fixture
def play(containerd: ContainerdHost, tmp_path: Path) -> Play:
    """Return what tells a story."""

    def play_it(scenario: Scenario) -> None:
        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                world = World(containerd, tmp_path, tasks)
                await world.start()
                try:
                    await scenario(world)
                    for pod in world.api.objects(POD):
                        await world.api.delete(POD, pod["metadata"]["name"], "default", grace_s=1)
                    workers = world.agent.agent._workers
                    await settled(lambda: not (world.api.objects(POD) or workers))
                finally:
                    await world.kill()

        with containerd.entered():
            asyncio.run(main())

    return play_it


async def settled(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    await virtual_loop.until(holds, within_s=WITHIN_S, step_s=0.05)


def container(pod: Json) -> Json:
    """Return the status of a pod's only container."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{"state": {}, "lastState": {}}]
    first: Json = statuses[0]
    return first


def waiting(pod: Json) -> str:
    """Return the reason why it waits."""
    return str(container(pod)["state"].get("waiting", {}).get("reason", ""))
