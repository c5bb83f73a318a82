"""Real stores on loopback: processes of `wherry store`, and Debian's etcd, each on free ports."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

from wherry.pki.certificates import create_ca, issue
from wherry.pki.subject import KeyPair, Subject
from wherry.pki.tls import TlsFiles, client_context
from wherry.process.clock import SystemClock
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Range, Store
from wherry.store.net import Sockets


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_pair(directory: Path, name: str, pair: KeyPair) -> None:
    (directory / f"{name}.crt").write_bytes(pair.certificate)
    (directory / f"{name}.key").write_bytes(pair.key)


class Processes:
    """Members of one cluster as processes; `name` is m1, m2, ..."""

    def __init__(self, count: int, *, flags: Sequence[str] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="wherry-store-"))
        self.names = tuple(f"m{number + 1}" for number in range(count))
        ports = free_ports(4 * count)
        self.ports = {n: ports[4 * i : 4 * i + 4] for i, n in enumerate(self.names)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._flags = tuple(flags)
        ca = create_ca("test", now_s=SystemClock().now())
        write_pair(self.directory, "ca", ca)
        for name in self.names:
            subject = Subject(
                "system:store", ("system:store",), hosts=(name, "127.0.0.1"), server=True
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
        return f"127.0.0.1:{self.ports[name][1]}"

    def rpc(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name][2]}"

    def start(self, name: str) -> None:
        cluster = ",".join(f"{n}=127.0.0.1:{self.ports[n][0]}" for n in self.names)
        peer, etcd, rpc, health = self.ports[name]
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "wherry.cli", "store", "--name", name),
                    *("--data-dir", str(self.directory / name)),
                    *("--socket", f"{self.directory}/{name}.sock"),
                    *("--initial-cluster", cluster, "--listen-peer", f"127.0.0.1:{peer}"),
                    *("--listen-etcd", f"127.0.0.1:{etcd}"),
                    *("--listen-client-rpc", f"127.0.0.1:{rpc}"),
                    *("--ca-file", str(self.directory / "ca.crt")),
                    *("--cert-file", str(self.directory / f"{name}.crt")),
                    *("--key-file", str(self.directory / f"{name}.key")),
                    *("--health-port", str(health)),
                    *self._flags,
                ],
                stderr=log,
                stdout=log,
            )

    def start_all(self) -> None:
        for name in self.names:
            self.start(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(timeout=20)

    def client(self, first: str | None = None, **options: float) -> StoreClient:
        """Return a client that prefers a member."""
        names = sorted(self.names, key=lambda name: name != first)
        network = Sockets(client_tls=client_context(self.tls("admin")))
        return StoreClient([self.socket(name) for name in names], network, Random(), **options)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

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
        client = processes.client(timeout_s=30)
        await client.range(Range(b"/"))
        await client.close()
        yield processes
    finally:
        processes.close()


@contextlib.asynccontextmanager
async def one() -> AsyncIterator[Store]:
    async with cluster(1) as processes:
        client = processes.client()
        yield client
        await client.close()


@contextlib.asynccontextmanager
async def three() -> AsyncIterator[Store]:
    async with cluster(3) as processes:
        client = processes.client(processes.names[-1])
        yield client
        await client.close()


@contextlib.asynccontextmanager
async def through_etcd_door() -> AsyncIterator[Store]:
    async with cluster(1) as processes:
        name = processes.names[0]
        store = EtcdStore([processes.etcd(name)], Random(), tls=processes.tls("admin"))
        yield store
        await store.close()


@contextlib.asynccontextmanager
async def etcd() -> AsyncIterator[Store]:
    """Debian's etcd, one member."""
    directory = Path(tempfile.mkdtemp(prefix="wherry-etcd-"))
    client_port, peer_port = free_ports(2)
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
        store = EtcdStore([f"127.0.0.1:{client_port}"], Random(), timeout_s=20)
        await store.range(Range(b"/"))
        yield store
        await store.close()
        await asyncio.sleep(0)
    finally:
        process.kill()
        process.wait(timeout=10)
        shutil.rmtree(directory, ignore_errors=True)
