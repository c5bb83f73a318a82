"""Processes of a store, and what a client on the same machine sees of their revision without asking."""

import asyncio
import signal

import pytest
from store_process import Processes

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.kv import Put, Range

pytestmark = pytest.mark.integration


async def _shown(client: StoreClient, within_s: float = 60) -> int:
    """Return the revision once there is one to be seen."""
    async with asyncio.timeout(within_s):
        while not (revision := client.known_revision()):
            await client.range(Range(b"/a"))
            await asyncio.sleep(0.01)
    return revision


def test_who_is_alone_shows_what_was_acknowledged_and_dies_with_it() -> None:
    processes = Processes(1)

    async def main() -> None:
        processes.start_all()
        await processes.ready()
        reader, writer = processes.pinned("m1"), processes.pinned("m1", timeout_s=60)
        assert reader.known_revision() == 0  # it has not connected
        assert await _shown(reader) == (await reader.range(Range(b"/a"))).revision
        newest = 0
        for number in range(200):
            newest = (await writer.txn([], [Put(b"/a", str(number).encode())])).revision
            assert reader.known_revision() == newest
        processes.send("m1", signal.SIGSTOP)
        assert reader.known_revision() == newest  # nobody else can make a newer one
        processes.send("m1", signal.SIGCONT)
        processes.kill("m1")
        assert reader.known_revision() == 0  # without one turn of the loop
        processes.start("m1")
        newer = await writer.txn([], [Put(b"/a", b"again")])
        assert reader.known_revision() in (0, newer.revision)
        assert await _shown(reader) == newer.revision
        processes.kill("m1", signal.SIGTERM)
        assert reader.known_revision() == 0
        assert not list(processes.directory.glob("*.revision"))
        await reader.close()
        await writer.close()

    try:
        asyncio.run(main())
    finally:
        processes.close()


def test_one_of_three_has_to_be_asked() -> None:
    processes = Processes(3)

    async def main() -> None:
        processes.start_all()
        await processes.ready()
        clients = [processes.pinned(name, timeout_s=60) for name in processes.names]
        for client in clients:
            await client.txn([], [Put(b"/a", b"")])
            assert client.known_revision() == 0
        processes.kill("m2")
        processes.kill("m3")
        assert clients[0].known_revision() == 0  # alone it is, but not the only voter
        clients.append(processes.pinned("m1", timeout_s=1))
        with pytest.raises(UnavailableError):
            await clients[-1].range(Range(b"/a"))
        for client in clients:
            await client.close()

    try:
        asyncio.run(main())
    finally:
        processes.close()
