"""Compaction by one of many API servers."""

import pytest
import virtual_loop

from wherry.apiserver.registry.compaction import Compactor
from wherry.store.kv import CompactedError, Put, Range
from wherry.store.memory import MemoryStore


def test_what_is_forgotten_is_one_interval_old_however_many_servers_there_are() -> None:
    async def main() -> None:
        store = MemoryStore(virtual_loop.VirtualClock())
        servers = [Compactor(store, interval_s=300) for _ in range(3)]
        revisions = []
        for _ in range(4):
            revisions.append((await store.txn((), [Put(b"k", b"v")])).revision)
            for server in servers:
                await server.round()
        for revision in revisions[:2]:
            with pytest.raises(CompactedError):
                await store.range(Range(b"k", revision=revision))
        answer = await store.range(Range(b"k", revision=revisions[-1]))
        assert answer.kvs[0].value == b"v"
        await store.close()

    virtual_loop.run(main())
