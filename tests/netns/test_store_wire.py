"""Everything that members and clients say is captured: no secret is readable in it."""

import asyncio
import signal
from pathlib import Path
from random import Random

import pytest
from store_process import Processes, cluster

from wherry.pki.tls import client_context
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Put, Range
from wherry.store.net import Sockets

pytestmark = pytest.mark.netns
SECRET = b"correct-horse-battery-staple"
APPLICATION_DATA = b"\x17\x03\x03"  # a TLS record of it


def doors(processes: Processes) -> list[int]:
    """The TCP ports of all members: for members, for etcd's clients, for API servers."""
    return [port for ports in processes.ports.values() for port in ports[:3]]


async def write_everywhere(processes: Processes) -> None:
    tls = processes.tls("admin")
    for name in processes.names:
        network = Sockets(client_tls=client_context(tls))
        client = StoreClient([processes.rpc(name)], network, Random())
        etcd = EtcdStore([processes.etcd(name)], Random(), tls=tls)
        for store in (client, etcd):
            await store.txn([], [Put(b"/secret", SECRET)])
            assert (await store.range(Range(b"/secret"))).kvs[0].value == SECRET
            await store.close()


def test_nothing_passes_in_plaintext(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            ports = " or ".join(f"tcp port {port}" for port in doors(processes))
            capture = await asyncio.create_subprocess_exec(
                *(
                    "tcpdump",
                    "--immediate-mode",
                    "-Z",
                    "root",
                    "-i",
                    "lo",
                    "-U",
                    "-w",
                    str(tmp_path / "all.pcap"),
                    ports,
                ),
                stderr=asyncio.subprocess.PIPE,
            )
            assert capture.stderr is not None
            try:
                async with asyncio.timeout(60):
                    while b"listening on" not in (line := await capture.stderr.readline()):
                        assert line, "tcpdump ended"
                await write_everywhere(processes)
            finally:
                capture.send_signal(signal.SIGTERM)
                _, said = await capture.communicate()
        seen = (tmp_path / "all.pcap").read_bytes()
        assert seen.count(APPLICATION_DATA) > 50, said.decode()
        assert SECRET not in seen
        assert b"/secret" not in seen

    asyncio.run(main())
