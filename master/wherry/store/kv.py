"""The store as its client sees it: etcd's data model.

A *revision* counts mutating transactions; every key remembers the revision of its creation
(`create_revision`) and last change (`mod_revision`), and its `version` (changes since
creation). One transaction is one revision. Old revisions are readable and watchable until
they are compacted.

Values are structs, for millions are made: one costs an eighth of a dataclass, and half as much to encode.

`Store` has three implementations, held to one contract suite: the Raft store over its
socket (`wherry.store.client`), the state machine in this process (`wherry.store.memory`),
and a real etcd v3 cluster (`wherry.store.etcd_client`).
"""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from wherry.api.errors import WherryError


class CompactedError(WherryError):
    """The revision asked for is no longer kept; `compact_revision` is the oldest that is."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__("required revision has been compacted")
        self.compact_revision = compact_revision


class FutureRevisionError(WherryError):
    """The revision asked for does not exist yet."""


class LeaseNotFoundError(WherryError):
    """There is no such lease, or it has expired."""


class KeyNotFoundError(WherryError):
    """A put that keeps a key's value or lease found no such key."""


class NoSpaceError(WherryError):
    """The alarm NOSPACE is raised: nothing is written but deletions."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One key at some revision."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Target(StrEnum):
    """What a comparison looks at. An absent key has version, create and mod revision 0."""

    VERSION = "version"
    CREATE = "create"
    MOD = "mod"
    VALUE = "value"
    LEASE = "lease"


class Compare(msgspec.Struct, frozen=True, gc=False):
    """`target of key  op  operand`, with op one of `=`, `!=`, `<`, `>`.

    With `end` every key of [key, end) must pass; if there is none, the absent key decides.
    """

    key: bytes
    target: Target
    op: str
    operand: int | bytes
    end: bytes | None = None


class Put(msgspec.Struct, frozen=True, gc=False):
    """Write a key; `lease` 0 is none. What is ignored stays as it is, on a key that exists."""

    key: bytes
    value: bytes
    lease: int = 0
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(msgspec.Struct, frozen=True, gc=False):
    """Delete `key`, or with `end` every key in [key, end)."""

    key: bytes
    end: bytes | None = None


class Range(msgspec.Struct, frozen=True, gc=False):
    """Read `key`, or with `end` every key in [key, end), as of `revision` (0: now)."""

    key: bytes
    end: bytes | None = None
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False


class Nested(msgspec.Struct, frozen=True):
    """A transaction inside of one.

    Its comparisons look at what was there before the outer one wrote anything; its writes are
    part of the same revision.
    """

    compares: Sequence[Compare]
    success: Sequence["Op"]
    failure: Sequence["Op"] = ()


Op = Put | DeleteRange | Range | Nested


class RangeResult(msgspec.Struct, frozen=True):
    """Keys in order; `count` is the number in the range without the limit."""

    revision: int
    kvs: Sequence[KeyValue]
    count: int
    more: bool = False


class PutResult(msgspec.Struct, frozen=True):
    """`prev` is what the key held before."""

    prev: KeyValue | None = None


class DeleteResult(msgspec.Struct, frozen=True):
    """What was deleted."""

    deleted: Sequence[KeyValue] = ()


class NestedResult(msgspec.Struct, frozen=True):
    """One result for each op of the branch taken."""

    succeeded: bool
    results: Sequence["OpResult"]


OpResult = RangeResult | PutResult | DeleteResult | NestedResult


class TxnResult(msgspec.Struct, frozen=True):
    """`revision` is the store's after the transaction; one result for each op of the branch taken."""

    revision: int
    succeeded: bool
    results: Sequence[OpResult]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A put (`kv.value` set) or, with `deleted`, a deletion; `prev` is the value before."""

    kv: KeyValue
    prev: KeyValue | None
    deleted: bool = False


class WatchBatch(msgspec.Struct, frozen=True):
    """Events of whole revisions, in order, up to `revision`; empty when it only tells progress."""

    revision: int
    events: Sequence[Event]


class Store(Protocol):
    """etcd's verbs. Every method raises `UnavailableError` when there is no quorum in time."""

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        """Read; linearizable unless `serializable` (then the local replica answers).

        Raises:
            CompactedError: `request.revision` is compacted.
            FutureRevisionError: `request.revision` is beyond the current one.
        """
        ...

    def known_revision(self) -> int:
        """Return the current revision if it is known here without asking anybody, else 0.

        It is not older than anything that was acknowledged to anybody before the call.
        """
        ...

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Op],
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """If all comparisons hold perform `success`, else `failure`, atomically.

        Applied exactly once however often the implementation had to retry. After
        `UnavailableError` it may or may not have been applied.

        Raises:
            LeaseNotFoundError: a put names a lease that does not exist; nothing was applied.
            KeyNotFoundError: a put ignores the value or lease of a key that does not exist.
            NoSpaceError: there is an alarm.
        """
        ...

    def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        """Yield changes in [key, end) after `revision`, with `prev` filled in.

        An empty batch tells progress, at least every `progress_s` seconds. Survives the
        death of a store by continuing on another.

        Raises:
            CompactedError: changes after `revision` are no longer kept, or this watcher was
                too slow; read again and watch from there.
        """
        ...

    async def lease_grant(self, ttl_s: int, lease: int = 0) -> int:
        """Grant a lease of `ttl_s` seconds (id 0: the store chooses) and return its id."""
        ...

    async def lease_keepalive(self, lease: int) -> int:
        """Renew and return the TTL in seconds; raises `LeaseNotFoundError`."""
        ...

    async def lease_revoke(self, lease: int) -> None:
        """End the lease and delete its keys; raises `LeaseNotFoundError`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what is older than `revision`; raises `CompactedError`, `FutureRevisionError`."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def prefix_end(prefix: bytes) -> bytes:
    """Return the `end` that makes [prefix, end) all keys with this prefix (a zero byte means all)."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\0"
