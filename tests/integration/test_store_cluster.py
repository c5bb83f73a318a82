"""Three real store processes: kill -9 under load, restarts, and who may connect."""

import asyncio
import contextlib
import signal
import ssl
from random import Random

import pytest
from store_process import Processes, cluster

from wherry.api.errors import UnavailableError
from wherry.pki.tls import client_context
from wherry.store.client import StoreClient
from wherry.store.kv import Put, Range
from wherry.store.net import Sockets

pytestmark = pytest.mark.integration


async def leader(processes: Processes) -> str:
    async with asyncio.timeout(20):
        while True:
            client = processes.client(next(iter(processes.processes)))
            member = await client.status()
            await client.close()
            if member.ready and member.leader in processes.processes:
                return member.leader
            await asyncio.sleep(0.05)


class Writer:
    """Puts values one after the other; remembers which were acknowledged, and the longest gap."""

    def __init__(self, client: StoreClient, number: int) -> None:
        self._client = client
        self._number = number
        self.acknowledged: list[bytes] = []
        self.gap_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        count = 0
        while not stop.is_set():
            value = b"%d-%d" % (self._number, count)
            count += 1
            await self._client.txn([], [Put(b"/v/" + value, value * 20)])
            self.acknowledged.append(value)
            self.gap_s = max(self.gap_s, loop.time() - last)
            last = loop.time()


def test_kill_9_of_the_leader_under_load_loses_nothing() -> None:
    async def main() -> None:
        async with cluster(3, flags=("--snapshot-count", "2000")) as processes:
            clients = [processes.client(name, timeout_s=30) for name in processes.names]
            writers = [Writer(clients[number % 3], number) for number in range(24)]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.run(stop))
                for _ in range(3):
                    await asyncio.sleep(1)
                    victim = await leader(processes)
                    processes.kill(victim)
                    await leader(processes)
                    await asyncio.sleep(0.5)
                    processes.start(victim)
                await asyncio.sleep(1)
                stop.set()
            acknowledged = [value for writer in writers for value in writer.acknowledged]
            assert len(acknowledged) > 300
            assert max(writer.gap_s for writer in writers) < 10
            for name in processes.names:
                own = StoreClient([processes.socket(name)], Sockets(), Random(), timeout_s=30)
                found = await own.range(Range(b"/v/", b"/v0", keys_only=True))
                missing = {b"/v/" + value for value in acknowledged} - {kv.key for kv in found.kvs}
                assert not missing, f"{name} lost {len(missing)} of {len(acknowledged)}"
                assert all(kv.version == 1 for kv in found.kvs), "applied twice"
                await own.close()
            for client in clients:
                await client.close()

    asyncio.run(main())


def test_kill_9_of_all_loses_nothing_and_they_come_back() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            client = processes.client(timeout_s=30)
            await asyncio.gather(
                *(client.txn([], [Put(b"/k/%d" % n, b"x" * 500)]) for n in range(500))
            )
            revision = (await client.range(Range(b"/k/", b"/k0", count_only=True))).revision
            for name in processes.names:
                processes.kill(name)
            processes.start_all()
            found = await client.range(Range(b"/k/", b"/k0", count_only=True))
            assert (found.count, found.revision) == (500, revision)
            await client.close()

    asyncio.run(main())


def test_sigterm_hands_leadership_over_first() -> None:
    async def main() -> None:
        async with cluster(3) as processes:
            first = await leader(processes)
            client = processes.client(next(n for n in processes.names if n != first))
            await client.txn([], [Put(b"/a", b"1")])
            term = (await client.status()).term
            await asyncio.to_thread(processes.kill, first, signal.SIGTERM)
            await client.txn([], [Put(b"/a", b"2")])
            assert await leader(processes) != first
            assert (await client.status()).term == term + 1
            assert "stopped" in processes.log(first)
            await client.close()

    asyncio.run(main())


def test_who_may_use_the_tcp_door() -> None:
    async def main() -> None:
        async with cluster(1) as processes:
            endpoint = processes.rpc("m1")
            for name, welcome in (("admin", True), ("m1", True), ("nobody", False)):
                network = Sockets(client_tls=client_context(processes.tls(name)))
                client = StoreClient([endpoint], network, Random(), timeout_s=2)
                if welcome:
                    await client.txn([], [Put(b"/a", b"1")])
                else:
                    with pytest.raises(UnavailableError):
                        await client.range(Range(b"/a"))
                await client.close()
            host, _, port = endpoint.partition(":")
            anonymous = ssl.create_default_context(cafile=str(processes.tls("m1").ca))
            reader, writer = await asyncio.open_connection(host, int(port), ssl=anonymous)
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)  # in TLS 1.3 a client learns late that it is refused
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            mode = (processes.directory / "m1.sock").stat().st_mode & 0o777
            assert mode == 0o600

    asyncio.run(main())


def test_a_certificate_that_does_not_name_the_member_opens_no_peer_link() -> None:
    async def main() -> None:
        processes = Processes(3)
        try:
            for kind in ("crt", "key"):  # m3 comes with m2's certificate
                source = (processes.directory / f"m2.{kind}").read_bytes()
                (processes.directory / f"m3.{kind}").write_bytes(source)
            processes.start_all()
            await asyncio.sleep(3)
            client = StoreClient([processes.socket("m3")], Sockets(), Random(), timeout_s=1)
            assert not (await client.status()).leader
            await client.close()
        finally:
            processes.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x03abc",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\x90",
    ],
    ids=["http", "not msgpack", "too large", "not a request"],
)
def test_nonsense_ends_the_connection_and_nothing_else(data: bytes) -> None:
    async def main() -> None:
        async with cluster(1) as processes:
            path = processes.socket("m1").removeprefix("unix://")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
            client = processes.client()
            await client.txn([], [Put(b"/a", b"1")])
            await client.close()

    asyncio.run(main())


def test_a_configuration_error_is_one_line() -> None:
    processes = Processes(1)
    try:
        (processes.directory / "m1.crt").unlink()
        processes.start("m1")
        assert processes.processes["m1"].wait(timeout=20) == 2
        assert "run 'wherry init'" in processes.log("m1")
    finally:
        processes.close()
