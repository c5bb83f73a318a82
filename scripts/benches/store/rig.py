"""Two clusters of three on this machine: ours, and Debian's etcd; the same disk, fsync on."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from ports import claim
from store_process import Processes, cluster

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.net import Sockets


async def wait_for(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Poll; another process does what is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            raise SystemExit(f"not within {within_s:.0f} s: {what}")
        await asyncio.sleep(0.01)


async def leader_of(processes: Processes, *, but: str = "") -> str:
    """Return who leads; somebody else than `but`."""
    client = processes.client(timeout_s=30)
    try:
        while (leader := (await client.status()).leader) in ("", but):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)
    finally:
        await client.close()
    return leader


async def caught_up(processes: Processes, name: str, *, within_s: float = 60.0) -> None:
    """Wait until a member is ready and has applied what the leader had when this began."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    everyone = processes.client(timeout_s=within_s)
    member = processes.pinned(name, timeout_s=within_s)
    try:
        revision = (await everyone.status()).revision
        while loop.time() < deadline:
            with contextlib.suppress(UnavailableError):
                status = await member.status()
                if status.ready and status.revision >= revision:
                    return
            await asyncio.sleep(0.02)
        raise SystemExit(f"{name} did not catch up within {within_s:.0f} s")
    finally:
        await member.close()
        await everyone.close()


@dataclass(frozen=True)
class Pair:
    """Both clusters, and clients: `near` asks our leader, `far` a follower of ours."""

    processes: Processes
    leader: str
    follower: str
    near: StoreClient
    far: StoreClient
    etcd: EtcdStore
    pids: list[int]
    etcd_pids: list[int]


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Run both until the block ends."""
    async with cluster(3) as processes, _etcd_cluster() as (endpoints, etcd_pids):
        leader = await leader_of(processes)
        follower = next(name for name in processes.names if name != leader)
        near = StoreClient([processes.socket(leader)], Sockets(), SystemRandom())
        far = StoreClient([processes.socket(follower)], Sockets(), SystemRandom())
        etcd = EtcdStore(endpoints, SystemRandom())
        pids = [one.pid for one in processes.processes.values()]
        try:
            yield Pair(processes, leader, follower, near, far, etcd, pids, etcd_pids)
        finally:
            for store in (near, far, etcd):
                await store.close()


@contextlib.asynccontextmanager
async def _etcd_cluster() -> AsyncIterator[tuple[list[str], list[int]]]:
    """Yields endpoints (the leader first) and pids."""
    directory = Path(tempfile.mkdtemp(prefix="wherry-bench-etcd-"))
    ports = claim(6)
    names = [f"e{n}" for n in range(3)]
    peers = {n: f"http://127.0.0.1:{ports[2 * i + 1]}" for i, n in enumerate(names)}
    everyone = ",".join(f"{name}={url}" for name, url in peers.items())
    processes = []
    try:
        for i, name in enumerate(names):
            url = f"http://127.0.0.1:{ports[2 * i]}"
            with (directory / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(  # noqa: ASYNC220  # before anything is measured
                        [
                            *("etcd", "--name", name, "--data-dir", str(directory / name)),
                            *("--listen-client-urls", url, "--advertise-client-urls", url),
                            *("--listen-peer-urls", peers[name]),
                            *("--initial-advertise-peer-urls", peers[name]),
                            *("--initial-cluster", everyone, "--log-level", "error"),
                        ],
                        stdout=log,
                        stderr=log,
                    )
                )
        endpoints = [f"127.0.0.1:{ports[2 * i]}" for i in range(3)]
        leader = await _etcd_leader(endpoints)
        ordered = sorted(range(3), key=lambda i: endpoints[i] != leader)
        yield [endpoints[i] for i in ordered], [processes[i].pid for i in ordered]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


async def _etcd_leader(endpoints: Sequence[str]) -> str:
    for _ in range(100):
        done = await etcdctl(["--endpoints", ",".join(endpoints), "endpoint", "status", "-w=json"])
        if done.returncode == 0:
            for one in json.loads(done.stdout):
                status = one["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return str(one["Endpoint"])
        await asyncio.sleep(0.1)
    raise SystemExit("etcd has no leader")


async def etcdctl(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run Debian's etcdctl."""
    return await asyncio.to_thread(
        subprocess.run,
        ["etcdctl", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "ETCDCTL_API": "3"},
        check=False,
    )
