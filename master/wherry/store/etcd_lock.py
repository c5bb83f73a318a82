"""etcd's Lock service, and the queue of keys that it shares with Election.

Who wants a name puts a key below it, under a lease. The key that was created first owns the
name; everybody else waits until all keys that were created before his own are deleted, by
their owners or by the end of their leases. etcd's own clients (`etcdctl lock`) do the same by
KV, Watch and Lease, and stand in the same queue.
"""

import contextlib
from collections.abc import Sequence
from typing import Final

import grpc

from wherry.store.client import StoreClient
from wherry.store.etcd_door import Door, RefusedError, served
from wherry.store.kv import (
    Compare,
    DeleteRange,
    KeyValue,
    LeaseNotFoundError,
    Put,
    Range,
    RangeResult,
    Target,
    TxnResult,
    prefix_end,
)
from wherry.wire.etcd import lock_pb2, lock_pb2_grpc

_TTL_S: Final = 60  # of a lease that the client did not bring

# etcd's own services are its clients, and lose the codes of errors on the way.
_NO_LEASE: Final = (grpc.StatusCode.UNKNOWN, "etcdserver: requested lease not found")


class Queue:
    """The keys below one name."""

    def __init__(self, store: StoreClient, name: bytes) -> None:
        self._store = store
        self.prefix = name + b"/"

    async def join(self, lease: int, value: bytes = b"") -> KeyValue:
        """Put a key below the name, or find the one that is there, and return it."""
        if not lease:
            lease = await self._store.lease_grant(_TTL_S)
        key = b"%b%x" % (self.prefix, lease)
        absent = Compare(key, Target.CREATE, "=", 0)
        mine = Range(key)
        try:
            done = await self._store.txn([absent], [Put(key, value, lease), mine], [mine])
        except LeaseNotFoundError as error:
            raise RefusedError(*_NO_LEASE) from error
        return _only(done)

    async def wait(self, mine: KeyValue) -> None:
        """Return when nobody is before `mine`; give the place up if this is cancelled.

        Raises:
            RefusedError: our own key is gone: its lease is over.
        """
        try:
            while True:
                found = await self._store.range(Range(self.prefix, prefix_end(self.prefix)))
                _check_there(mine, found.kvs)
                before = [kv for kv in found.kvs if kv.create_revision < mine.create_revision]
                if not before:
                    return
                last = max(before, key=lambda kv: kv.create_revision)
                await self._deleted(last.key, mine.key, found.revision)
        except BaseException:
            with contextlib.suppress(Exception):  # it ends with the lease, at the latest
                await self.leave(mine.key, mine.create_revision)
            raise

    async def _deleted(self, key: bytes, own: bytes, revision: int) -> None:
        watch = self._store.watch(self.prefix, prefix_end(self.prefix), revision=revision)
        async with contextlib.aclosing(watch) as batches:  # type: ignore[type-var]  # a generator
            async for batch in batches:
                if any(e.deleted and e.kv.key in (key, own) for e in batch.events):
                    return

    async def first(self) -> tuple[KeyValue | None, int]:
        """Return the key that owns the name, and the revision at which it does."""
        found = await self._store.range(Range(self.prefix, prefix_end(self.prefix)))
        return first_created(found.kvs), found.revision

    async def leave(self, key: bytes, created: int) -> int:
        """Delete a key, if it is still the one created then; return the store's revision."""
        same = Compare(key, Target.CREATE, "=", created)
        done = await self._store.txn([same], [DeleteRange(key)])
        return done.revision


def _check_there(mine: KeyValue, kvs: Sequence[KeyValue]) -> None:
    if all(kv.create_revision != mine.create_revision for kv in kvs):
        raise RefusedError(*_NO_LEASE)


def first_created(kvs: Sequence[KeyValue]) -> KeyValue | None:
    """Return the key that was created first."""
    return min(kvs, key=lambda kv: kv.create_revision, default=None)


def _only(done: TxnResult) -> KeyValue:
    result = done.results[-1]
    if not isinstance(result, RangeResult):
        raise TypeError(f"a range gave {result!r}")
    return result.kvs[0]


class Lock(lock_pb2_grpc.LockServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def Lock(self, request: lock_pb2.LockRequest) -> lock_pb2.LockResponse:
        """Wait for the lock. It is held until `Unlock`, or until the lease ends."""
        queue = Queue(self.door.store, request.name)
        mine = await queue.join(request.lease)
        await queue.wait(mine)
        return lock_pb2.LockResponse(header=self.door.header(), key=mine.key)

    @served
    async def Unlock(self, request: lock_pb2.UnlockRequest) -> lock_pb2.UnlockResponse:
        """Release the lock."""
        if not request.key:
            raise ValueError("etcdserver: key is not provided")
        done = await self.door.store.txn([], [DeleteRange(request.key)])
        return lock_pb2.UnlockResponse(header=self.door.header(done.revision))
