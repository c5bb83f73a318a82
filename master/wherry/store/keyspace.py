"""Multi-version keys, and the log of what changed them.

    _histories   key -> its versions since compaction     what an old revision held
    _keys        sorted, every key with a history
    _live        sorted, every key that exists now        the fast path of reads
    _log         one tuple of events per revision         what watchers replay
    leases       id -> the keys that end with it

A revision is open while `_put` and `_delete` collect what it changes, and closed by `_commit`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from sortedcontainers import SortedList

from wherry.store.image import Revision
from wherry.store.kv import (
    CompactedError,
    Event,
    FutureRevisionError,
    KeyValue,
    Range,
    RangeResult,
)
from wherry.store.operation import RangeOp


class History:
    """The versions of one key since compaction, oldest first; None is a deletion."""

    __slots__ = ("revisions", "versions")

    def __init__(self) -> None:
        self.revisions: list[int] = []
        self.versions: list[KeyValue | None] = []

    def at(self, revision: int) -> KeyValue | None:
        """Return what the key held at `revision`."""
        index = bisect_right(self.revisions, revision)
        return self.versions[index - 1] if index else None


class Lease:
    """A granted lease; `serial` tells two grants of one id apart."""

    __slots__ = ("keys", "serial", "ttl_s")

    def __init__(self, ttl_s: int, serial: int) -> None:
        self.ttl_s = ttl_s
        self.serial = serial
        self.keys: set[bytes] = set()  # only ever iterated sorted


class Keyspace:
    """See the module. `revision` starts at 1, as etcd's."""

    def __init__(self) -> None:
        self.pins = 0  # who reads a snapshot: nothing is freed
        self.revision = 1
        self.compact_revision = 0
        self.leases: dict[int, Lease] = {}
        self._histories: dict[bytes, History] = {}
        self._keys: SortedList[bytes] = SortedList()
        self._live: SortedList[bytes] = SortedList()
        self._log: list[tuple[Event, ...]] = []  # events of revision `_swept + 1 + i`
        self._swept = 1  # what is not newer than this was freed
        self._pending: list[Event] = []
        self._size = 0  # bytes of keys and values of all kept versions

    # ---- writing

    def _working_revision(self) -> int:
        return self.revision + 1 if self._pending else self.revision

    def _put(self, key: bytes, value: bytes, lease: int) -> KeyValue | None:
        revision = self.revision + 1
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = History()
            self._keys.add(key)
            prev = None
        else:
            prev = history.versions[-1]
        if prev is None:
            self._live.add(key)
            kv = KeyValue(key, value, revision, revision, 1, lease)
        else:
            kv = KeyValue(key, value, prev.create_revision, revision, prev.version + 1, lease)
            if prev.lease and prev.lease != lease:
                self.leases[prev.lease].keys.discard(key)
        if lease:
            self.leases[lease].keys.add(key)
        history.revisions.append(revision)
        history.versions.append(kv)
        self._size += len(key) + len(value)
        self._pending.append(Event(kv, prev))
        return prev

    def _delete(self, key: bytes) -> KeyValue:
        revision = self.revision + 1
        history = self._histories[key]
        prev = history.versions[-1]
        if prev is None:
            raise AssertionError(f"{key!r} is live and deleted")
        history.revisions.append(revision)
        history.versions.append(None)
        self._live.remove(key)
        if prev.lease and prev.lease in self.leases:
            self.leases[prev.lease].keys.discard(key)
        self._pending.append(Event(KeyValue(key, b"", 0, revision, 0), prev, deleted=True))
        return prev

    def _commit(self) -> None:
        """Close the open revision, if anything was written."""
        if self._pending:
            self.revision += 1
            self._log.append(tuple(self._pending))
            self._pending = []

    # ---- compaction

    def sweep(self, limit: int = 256) -> bool:
        """Free up to `limit` compacted revisions; return whether there is more to free now."""
        if self.pins:
            return False
        count = min(limit, self.compact_revision - self._swept)
        if count <= 0:
            return False
        for events in self._log[:count]:
            for event in events:
                self._prune(event.kv.key)
        del self._log[:count]
        self._swept += count
        return self._swept < self.compact_revision

    @property
    def swept(self) -> bool:
        """Whether everything that was compacted is freed."""
        return self._swept >= self.compact_revision

    def _prune(self, key: bytes) -> None:
        history = self._histories.get(key)
        if history is None:
            return
        keep = bisect_right(history.revisions, self.compact_revision) - 1
        if keep >= 0 and history.versions[keep] is None:
            keep += 1
        if keep > 0:
            self._size -= sum(_size(kv) for kv in history.versions[:keep])
            del history.revisions[:keep]
            del history.versions[:keep]
        if not history.versions:
            del self._histories[key]
            self._keys.remove(key)

    # ---- reading

    def current(self, key: bytes) -> KeyValue | None:
        """Return what `key` holds now."""
        history = self._histories.get(key)
        return history.versions[-1] if history else None

    @property
    def live_count(self) -> int:
        """Return the number of keys that exist now."""
        return len(self._live)

    @property
    def size_bytes(self) -> int:
        """Return the size of keys and values, with the versions that are kept."""
        return self._size

    def peek(self, key: bytes, revision: int) -> KeyValue | None:
        """Return what `key` held at `revision`; the caller knows that it is not freed."""
        history = self._histories.get(key)
        return history.at(revision) if history else None

    def all_keys(self) -> list[bytes]:
        """Every key that has a history, sorted."""
        return list(self._keys)

    def _live_keys(self, key: bytes, end: bytes | None) -> list[bytes]:
        if end is None:
            return [key] if self.current(key) is not None else []
        first, last = self._bounds(self._live, key, end)
        return list(self._live.islice(first, last))

    @staticmethod
    def _bounds(keys: "SortedList[bytes]", key: bytes, end: bytes) -> tuple[int, int]:
        last = len(keys) if end == b"\0" else keys.bisect_left(end)
        return keys.bisect_left(key), last

    def range(self, request: Range | RangeOp) -> RangeResult:
        """Read at a revision.

        Raises:
            CompactedError: `request.revision` is older than `compact_revision`.
            FutureRevisionError: `request.revision` does not exist yet.
        """
        if request.revision > self.revision:
            raise FutureRevisionError("etcdserver: mvcc: required revision is a future revision")
        if 0 < request.revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        return self._range(request, self.revision)

    def _range(self, request: Range | RangeOp, current: int) -> RangeResult:
        revision = request.revision or current
        if request.end is None:
            one = self.peek(request.key, revision)
            found, count = ([one] if one else []), int(one is not None)
        elif revision == current:
            found, count = self._range_live(request.key, request.end, request)
        else:
            found, count = self._range_old(request.key, request.end, request, revision)
        if request.count_only:
            return RangeResult(current, [], count)
        if request.keys_only:
            found = [
                KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
                for kv in found
            ]
        return RangeResult(current, found, count, more=count > len(found))

    def _range_live(
        self, key: bytes, end: bytes, request: Range | RangeOp
    ) -> tuple[list[KeyValue], int]:
        first, last = self._bounds(self._live, key, end)
        count = max(0, last - first)
        if request.count_only or not count:
            return [], count
        if request.limit:
            last = min(last, first + request.limit)
        histories = self._histories
        versions = (histories[key].versions[-1] for key in self._live.islice(first, last))
        return [kv for kv in versions if kv is not None], count

    def _range_old(
        self, key: bytes, end: bytes, request: Range | RangeOp, revision: int
    ) -> tuple[list[KeyValue], int]:
        first, last = self._bounds(self._keys, key, end)
        limit = 0 if request.count_only else request.limit or last - first
        found: list[KeyValue] = []
        count = 0
        histories = self._histories
        for each in self._keys.islice(first, last) if first < last else ():
            kv = histories[each].at(revision)
            if kv is not None:
                count += 1
                if count <= limit:
                    found.append(kv)
        return found, count

    def events(self, after: int, upto: int) -> Iterator[tuple[Event, ...]]:
        """Return the events of each revision in (after, upto], one tuple a revision.

        Raises:
            CompactedError: revisions after `after` are no longer kept.
        """
        if after < self.compact_revision:
            raise CompactedError(self.compact_revision)
        return self.kept_events(after, upto)

    def kept_events(self, after: int, upto: int) -> Iterator[tuple[Event, ...]]:
        """`events`, of revisions that the caller knows are not freed, compacted or not."""
        for revision in range(max(after, 1) + 1, min(upto, self.revision) + 1):
            yield self._log[revision - self._swept - 1]

    # ---- what a snapshot is read into

    def replay(self, kvs: Sequence[KeyValue], revisions: Sequence[Revision]) -> None:
        """Take keys as of the compact revision, or events since."""
        for kv in kvs:
            history = self._histories[kv.key] = History()
            history.revisions.append(kv.mod_revision)
            history.versions.append(kv)
            self._size += _size(kv)
        for events in revisions:
            self._log.append(tuple(self._replay_event(gone, kv) for gone, kv in events))
            self.revision += 1

    def _replay_event(self, deleted: bool, kv: KeyValue) -> Event:  # noqa: FBT001
        history = self._histories.get(kv.key)
        if history is None:
            history = self._histories[kv.key] = History()
        prev = history.versions[-1] if history.versions else None
        history.revisions.append(kv.mod_revision)
        history.versions.append(None if deleted else kv)
        self._size += 0 if deleted else _size(kv)
        return Event(kv, prev, deleted=deleted)

    def _end_replay(self) -> list[KeyValue]:
        """Build the indices, and return the keys that exist."""
        self._keys = SortedList(self._histories)
        last = (history.versions[-1] for history in self._histories.values())
        live = [kv for kv in last if kv is not None]
        self._live = SortedList(kv.key for kv in live)
        return live


def _size(kv: KeyValue | None) -> int:
    return len(kv.key) + len(kv.value) if kv is not None else 0
