"""Real stores on loopback: processes of `wherry store`, and Debian's etcd, each on free ports."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from ports import claim

from wherry.api.errors import UnavailableError
from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import KeyPair, Subject
from wherry.pki.tls import TlsFiles, client_context
from wherry.process.clock import SystemClock
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Range, Store
from wherry.store.net import Connection, Handler, Sockets


@dataclass(frozen=True, slots=True)
class Host:
    """Where a member runs: its address, and what stands before a command that is to run there."""

    address: str
    enter: tuple[str, ...] = ()


LOOPBACK: Final = Host("127.0.0.1")
PATIENT: Final = ("--election-timeout", "3000")
"""Flags for members among whom no election is to come by itself: they wait longer for their leader
than a busy machine pauses."""
ETCDCTL_PATIENT: Final = (
    *("--command-timeout=60s", "--dial-timeout=60s", "--keepalive-timeout=60s"),
)
"""Flags for etcdctl, which gives a command five seconds, and a connection two."""


@dataclass(frozen=True, slots=True)
class CountedSockets(Sockets):
    """Sockets that know which of their connections are open.

    Over TLS a connection ends when its peer has said so too; a loop that is closed before that
    leaves a socket, of which Python warns.
    """

    connections: list["_Counted"] = field(default_factory=list)

    async def dial(self, endpoint: str, handler: Handler) -> Connection:
        """See `Network`."""
        counted = _Counted(handler, self.connections)
        self.connections.append(counted)
        try:
            return await Sockets.dial(self, endpoint, counted)
        except BaseException:
            counted.forget()
            raise

    async def ended(self) -> None:
        """Wait until none is open; to be called when all were closed."""
        async with asyncio.timeout(60):
            while self.connections:  # they tell nobody
                await asyncio.sleep(0.01)


class _Counted:
    """A handler that takes its connection off the list when it ends."""

    def __init__(self, handler: Handler, connections: list["_Counted"]) -> None:
        self.frames = handler.frames
        self._handler = handler
        self._connections = connections

    def closed(self) -> None:
        self.forget()
        self._handler.closed()

    def forget(self) -> None:
        if self in self._connections:
            self._connections.remove(self)


def write_pair(directory: Path, name: str, pair: KeyPair) -> None:
    (directory / f"{name}.crt").write_bytes(pair.certificate)
    (directory / f"{name}.key").write_bytes(pair.key)


class Processes:
    """Members of one cluster as processes; `name` is m1, m2, ..."""

    def __init__(
        self, count: int, *, flags: Sequence[str] = (), hosts: Mapping[str, Host] | None = None
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="wherry-store-"))
        self.names = tuple(f"m{number + 1}" for number in range(count))
        self.hosts = hosts or dict.fromkeys(self.names, LOOPBACK)
        self.wrapper: tuple[str, ...] = (sys.executable, "-m", "wherry.cli")
        ports = claim(4 * count)
        self.ports = {n: ports[4 * i : 4 * i + 4] for i, n in enumerate(self.names)}
        self.places: dict[str, Path] = {}  # data directories that are elsewhere
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._flags = tuple(flags)
        self.ca = ca = create_ca("test", now_s=SystemClock().now())
        write_pair(self.directory, "ca", ca)
        for name in self.names:
            subject = Subject(
                "system:store",
                ("system:store",),
                hosts=(name, "127.0.0.1", self.hosts[name].address),
                server=True,
            )
            write_pair(self.directory, name, issue(ca, subject, now_s=SystemClock().now()))
        admin = Subject("admin", ("system:masters",))
        write_pair(self.directory, "admin", issue(ca, admin, now_s=SystemClock().now()))
        nobody = Subject("system:node:n1", ("system:nodes",))
        write_pair(self.directory, "nobody", issue(ca, nobody, now_s=SystemClock().now()))

    def tls(self, name: str) -> TlsFiles:
        return TlsFiles(
            self.directory / f"{name}.crt",
            self.directory / f"{name}.key",
            self.directory / "ca.crt",
        )

    def socket(self, name: str) -> str:
        return f"unix://{self.directory}/{name}.sock"

    def etcd(self, name: str) -> str:
        return f"{self.hosts[name].address}:{self.ports[name][1]}"

    def rpc(self, name: str) -> str:
        return f"{self.hosts[name].address}:{self.ports[name][2]}"

    def peer(self, name: str) -> str:
        return f"{self.hosts[name].address}:{self.ports[name][0]}"

    def data(self, name: str) -> Path:
        return self.places.get(name, self.directory / name)

    def start(self, name: str) -> None:
        cluster = ",".join(f"{n}={self.peer(n)}" for n in self.names)
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(*self.hosts[name].enter, *self.wrapper, "store", "--name", name),
                    *("--data-dir", str(self.data(name))),
                    *("--socket", f"{self.directory}/{name}.sock"),
                    *("--initial-cluster", cluster, "--listen-peer", self.peer(name)),
                    *("--listen-etcd", self.etcd(name), "--listen-client-rpc", self.rpc(name)),
                    *("--ca-file", str(self.directory / "ca.crt")),
                    *("--cert-file", str(self.directory / f"{name}.crt")),
                    *("--key-file", str(self.directory / f"{name}.key")),
                    *("--health-port", str(self.ports[name][3])),
                    *self._flags,
                ],
                stderr=log,
                stdout=log,
            )

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def start_missing(self) -> None:
        """Start those that do not run."""
        for name in self.names:
            if name not in self.processes:
                self.start(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(timeout=60)

    def send(self, name: str, number: int) -> None:
        """Send a signal, and leave the process where it is."""
        self.processes[name].send_signal(number)

    def ended(self, name: str, within_s: float = 60) -> int:
        """Wait for a member to end by itself; return its exit code."""
        code = self.processes[name].wait(timeout=within_s)
        del self.processes[name]
        return code

    def pinned(self, name: str, **options: float) -> StoreClient:
        """Return a client that asks this member only."""
        network = Sockets(client_tls=client_context(self.tls("admin")))
        return StoreClient([self.socket(name)], network, Random(), **options)

    def client(self, first: str | None = None, **options: float) -> StoreClient:
        """Return a client that prefers a member."""
        names = sorted(self.names, key=lambda name: name != first)
        network = Sockets(client_tls=client_context(self.tls("admin")))
        return StoreClient([self.socket(name) for name in names], network, Random(), **options)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    async def ready(self, within_s: float = 90) -> None:
        """Wait until requests are answered; if none are, say what the members said."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        client = self.client(timeout_s=1)
        try:
            while True:
                try:
                    await client.range(Range(b"/"))
                except UnavailableError as error:
                    ended = all(one.poll() is not None for one in self.processes.values())
                    if ended or loop.time() > deadline:
                        logs = "\n".join(map(self.log, self.names))
                        raise AssertionError(f"{error}\n{logs}") from error
                else:
                    return
        finally:
            await client.close()

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.asynccontextmanager
async def cluster(count: int, *, flags: Sequence[str] = ()) -> AsyncIterator[Processes]:
    """Run members until the block ends; ready when it begins."""
    processes = Processes(count, flags=flags)
    try:
        processes.start_all()
        await processes.ready()
        yield processes
    finally:
        processes.close()


@contextlib.asynccontextmanager
async def one() -> AsyncIterator[Store]:
    async with cluster(1) as processes:
        client = processes.client(timeout_s=30)
        yield client
        await client.close()


@contextlib.asynccontextmanager
async def three() -> AsyncIterator[Store]:
    async with cluster(3) as processes:
        client = processes.client(processes.names[-1], timeout_s=30)
        yield client
        await client.close()


@contextlib.asynccontextmanager
async def through_etcd_door() -> AsyncIterator[Store]:
    async with cluster(1) as processes:
        name = processes.names[0]
        store = EtcdStore(
            [processes.etcd(name)], Random(), tls=processes.tls("admin"), timeout_s=30
        )
        yield store
        await store.close()


@contextlib.asynccontextmanager
async def etcd() -> AsyncIterator[Store]:
    """Debian's etcd, one member."""
    directory = Path(tempfile.mkdtemp(prefix="wherry-etcd-"))
    client_port, peer_port = claim(2)
    url = f"http://127.0.0.1:{client_port}"
    peer = f"http://127.0.0.1:{peer_port}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("etcd", "--name", "e1", "--data-dir", str(directory / "data")),
                *("--listen-client-urls", url, "--advertise-client-urls", url),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"e1={peer}", "--log-level", "error"),
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"},
        )
    try:
        store = EtcdStore([f"127.0.0.1:{client_port}"], Random(), timeout_s=60)
        await store.range(Range(b"/"))
        yield store
        await store.close()
        await asyncio.sleep(0)
    finally:
        process.kill()
        process.wait(timeout=60)
        shutil.rmtree(directory, ignore_errors=True)
