"""Three real store processes: kill -9 under load, restarts, and who may connect."""

import asyncio
import contextlib
import signal
from random import Random

import pytest
from store_process import Processes, cluster
from store_recorder import TRIES, leader

from wherry.store.client import StoreClient
from wherry.store.kv import Put, Range
from wherry.store.net import Sockets

pytestmark = pytest.mark.integration


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


async def written(writers: list[Writer], more: int = 100) -> None:
    """Wait until so many more writes are acknowledged."""
    enough = sum(len(writer.acknowledged) for writer in writers) + more
    async with asyncio.timeout(90):
        while sum(len(writer.acknowledged) for writer in writers) < enough:
            await asyncio.sleep(0.01)


def test_kill_9_of_the_leader_under_load_loses_nothing() -> None:
    async def main() -> None:
        async with cluster(3, flags=("--snapshot-count", "2000")) as processes:
            clients = [processes.client(name, timeout_s=120) for name in processes.names]
            writers = [Writer(clients[number % 3], number) for number in range(24)]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.run(stop))
                for _ in range(3):
                    await written(writers)
                    victim = await leader(processes)
                    processes.kill(victim)
                    await leader(processes)
                    await written(writers)
                    processes.start(victim)
                await written(writers)
                stop.set()
            acknowledged = [value for writer in writers for value in writer.acknowledged]
            assert len(acknowledged) > 300
            assert max(writer.gap_s for writer in writers) < 60
            for name in processes.names:
                own = StoreClient([processes.socket(name)], Sockets(), Random(), timeout_s=90)
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
            client = processes.client(timeout_s=60)
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
            for _ in range(TRIES):
                if await handed_over(processes) == 1:
                    return
            raise AssertionError("it never took one term")

    asyncio.run(main())


async def handed_over(processes: Processes) -> int:
    """Stop the leader and start it again; return how many terms that took."""
    first = await leader(processes)
    other = next(name for name in processes.names if name != first)
    client = processes.client(other, timeout_s=60)
    await client.txn([], [Put(b"/a", b"1")])
    term = (await client.status()).term
    await asyncio.to_thread(processes.kill, first, signal.SIGTERM)
    await client.txn([], [Put(b"/a", b"2")])
    assert await leader(processes) != first
    grown = (await client.status()).term - term
    assert "stopped" in processes.log(first)
    assert not (processes.directory / f"{first}.sock").exists(), "it left its socket"
    await client.close()
    processes.start(first)
    return grown


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
            async with asyncio.timeout(60):
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
        assert processes.processes["m1"].wait(timeout=60) == 2
        assert "run 'wherry init'" in processes.log("m1")
    finally:
        processes.close()
