"""The state machine: multi-version keys, leases and sessions, and nothing else.

    apply(bytes) -> Outcome        a pure function of (state, bytes)

No clock, no chance, no I/O, no iteration over sets: every replica that applied the same
commands holds the same state (`digest()` proves it). A business failure is an `Outcome`; an
exception in `apply` is a bug or a newer command than this version knows, and must stop the
process before the replicas part.

    _histories   key -> its versions since compaction     what an old revision held
    _keys        sorted, every key with a history
    _live        sorted, every key that exists now        the fast path of reads
    _log         one tuple of events per revision         what watchers replay

Physical and logical compaction are two things. `Compact` moves `compact_revision` at once;
`sweep` later frees the memory in small steps, wherever the driver finds time, and waits while
a snapshot is being read. Nothing observable depends on it.

A snapshot is the state as of `compact_revision`, followed by the events since: restoring it
is replaying it, and it may be read in pieces while commands are applied.
"""

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from sortedcontainers import SortedList

from wherry.store.entry import (
    COMPACTED,
    FUTURE_REVISION,
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    MAX_SEQ_WINDOW,
    SESSION_EXPIRED,
    STALE_SEQ,
    Check,
    Command,
    Compact,
    DeleteDone,
    DeleteOp,
    Done,
    EntryOp,
    Expire,
    Forget,
    Grant,
    Granted,
    OpDone,
    Origin,
    Outcome,
    PutDone,
    PutOp,
    RangeDone,
    RangeOp,
    Refused,
    Register,
    Registered,
    Revoke,
    Transacted,
    Txn,
    decode_command,
    decode_outcome,
    encode_outcome,
)
from wherry.store.image import FORMAT, Header, Restorer, Revision, Snapshot
from wherry.store.kv import (
    CompactedError,
    DeleteResult,
    Event,
    FutureRevisionError,
    KeyValue,
    PutResult,
    Range,
    RangeResult,
    Target,
)

MAX_SESSIONS = 1024


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


class Session:
    """Results that a client may still ask for again: those from `oldest` on."""

    __slots__ = ("oldest", "results")

    def __init__(self, oldest: int = 0) -> None:
        self.oldest = oldest
        self.results: dict[int, Outcome] = {}

    def forget_below(self, oldest: int) -> None:
        """Drop the results that the client said it has."""
        if oldest <= self.oldest:
            return
        if oldest - self.oldest > len(self.results):
            self.results = {seq: got for seq, got in self.results.items() if seq >= oldest}
        else:
            for seq in range(self.oldest, oldest):
                self.results.pop(seq, None)
        self.oldest = oldest


class MvccState:
    """The replicated state. `revision` starts at 1, as etcd's."""

    def __init__(self) -> None:
        self._reset()
        self.pins = 0  # who reads a snapshot: nothing is freed
        self.replaced = 0  # how often another state took the place of this one

    def _reset(self) -> None:
        self.revision = 1
        self.compact_revision = 0
        self.applied = 0  # commands applied: the serial of leases
        self.leases: dict[int, Lease] = {}
        self.lease_epoch = 0  # moves whenever a lease comes or goes; not part of the state
        self._sessions: OrderedDict[int, Session] = OrderedDict()  # least recently used first
        self._next_session = 1
        self._histories: dict[bytes, History] = {}
        self._keys: SortedList[bytes] = SortedList()
        self._live: SortedList[bytes] = SortedList()
        self._log: list[tuple[Event, ...]] = []  # events of revision `_swept + 1 + i`
        self._swept = 1  # what is not newer than this was freed
        self._pending: list[Event] = []
        self._size = 0  # bytes of keys and values of all kept versions

    # ---- writing

    def apply(self, data: bytes) -> Outcome:
        """Apply one command and return what its client is told."""
        command = decode_command(data)
        self.applied += 1
        if isinstance(command, Txn | Grant | Revoke | Compact) and command.origin.session:
            return self._once(command.origin, command)
        return self._perform(command)

    def _once(self, origin: Origin, command: Command) -> Outcome:
        session = self._sessions.get(origin.session)
        if session is None:
            return Refused(SESSION_EXPIRED)
        self._sessions.move_to_end(origin.session)
        session.forget_below(origin.oldest)
        known = session.results.get(origin.seq)
        if known is not None:
            return known
        if not session.oldest <= origin.seq < session.oldest + MAX_SEQ_WINDOW:
            return Refused(STALE_SEQ)
        outcome = session.results[origin.seq] = self._perform(command)
        return outcome

    def _perform(self, command: Command) -> Outcome:
        outcome: Outcome
        match command:
            case Txn():
                outcome = self._transact(command)
            case Grant():
                outcome = self._grant(command)
            case Revoke():
                outcome = self._revoke(command.lease)
            case Expire():
                outcome = self._expire(command)
            case Compact():
                outcome = self._compact(command.revision)
            case Register():
                outcome = self._register()
            case Forget():
                self._sessions.pop(command.session, None)
                outcome = Done(self.revision)
        return outcome

    def _register(self) -> Outcome:
        session, self._next_session = self._next_session, self._next_session + 1
        self._sessions[session] = Session()
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return Registered(session)

    def _transact(self, txn: Txn) -> Outcome:
        succeeded = all(self._holds(check) for check in txn.checks)
        ops = txn.success if succeeded else txn.failure
        refused = self._refusal(ops)
        if refused is not None:
            return refused
        results: list[OpDone] = []
        for op in ops:
            match op:
                case PutOp():
                    results.append(PutDone(PutResult(self._put(op))))
                case DeleteOp():
                    gone = [self._delete(key) for key in self._live_keys(op.key, op.end)]
                    results.append(DeleteDone(DeleteResult(gone)))
                case RangeOp():
                    results.append(RangeDone(self._range(op, self._working_revision())))
        self._commit()
        return Transacted(self.revision, succeeded, tuple(results))

    def _refusal(self, ops: Sequence[EntryOp]) -> Refused | None:
        """Everything that can stop a branch, found before its first operation is performed."""
        for op in ops:
            if isinstance(op, PutOp):
                if op.lease and op.lease not in self.leases:
                    return Refused(LEASE_NOT_FOUND)
            elif isinstance(op, RangeOp) and op.revision:
                if op.revision > self.revision:
                    return Refused(FUTURE_REVISION)
                if op.revision < self.compact_revision:
                    return Refused(COMPACTED, self.compact_revision)
        return None

    def _holds(self, check: Check) -> bool:
        kv = self.current(check.key)
        actual: int | bytes
        match check.target:
            case Target.VERSION:
                actual = kv.version if kv else 0
            case Target.CREATE:
                actual = kv.create_revision if kv else 0
            case Target.MOD:
                actual = kv.mod_revision if kv else 0
            case Target.LEASE:
                actual = kv.lease if kv else 0
            case Target.VALUE:
                if kv is None:  # as etcd: no comparison with the value of an absent key holds
                    return False
                actual = kv.value
        expected = check.operand
        match check.op:
            case "=":
                return actual == expected
            case "!=":
                return actual != expected
            case "<":
                return actual < expected  # type: ignore[operator]  # both ints or both bytes
            case _:
                return actual > expected  # type: ignore[operator]

    def _working_revision(self) -> int:
        return self.revision + 1 if self._pending else self.revision

    def _put(self, op: PutOp) -> KeyValue | None:
        key, lease = op.key, op.lease
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
            kv = KeyValue(key, op.value, revision, revision, 1, lease)
        else:
            kv = KeyValue(key, op.value, prev.create_revision, revision, prev.version + 1, lease)
            if prev.lease and prev.lease != lease:
                self.leases[prev.lease].keys.discard(key)
        if lease:
            self.leases[lease].keys.add(key)
        history.revisions.append(revision)
        history.versions.append(kv)
        self._size += len(key) + len(op.value)
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

    # ---- leases and compaction

    def _grant(self, command: Grant) -> Outcome:
        lease = command.lease
        if lease in self.leases:
            return Refused(LEASE_EXISTS)
        if not lease:
            lease = self.applied
            while lease in self.leases:
                lease += 1
        self.leases[lease] = Lease(command.ttl_s, self.applied)
        self.lease_epoch += 1
        return Granted(lease, command.ttl_s, self.revision)

    def _revoke(self, lease: int) -> Outcome:
        if lease not in self.leases:
            return Refused(LEASE_NOT_FOUND)
        self._end_leases([lease])
        return Done(self.revision)

    def _expire(self, command: Expire) -> Outcome:
        over = [
            lease
            for lease, serial in command.leases
            if lease in self.leases and self.leases[lease].serial == serial
        ]
        self._end_leases(over)
        return Done(self.revision)

    def _end_leases(self, leases: Sequence[int]) -> None:
        """One revision for all the keys of all these leases, in order."""
        for lease in leases:
            ended = self.leases.pop(lease, None)
            if ended is not None:
                self.lease_epoch += 1
                for key in sorted(ended.keys):
                    self._delete(key)
        self._commit()

    def _compact(self, revision: int) -> Outcome:
        if revision <= self.compact_revision:
            return Refused(COMPACTED, self.compact_revision)
        if revision > self.revision:
            return Refused(FUTURE_REVISION)
        self.compact_revision = revision
        return Done(self.revision)

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

    # ---- snapshots

    def header(self) -> Header:
        """Everything but keys and events; the keys of leases follow from the key values."""
        return Header(
            FORMAT,
            self.applied,
            self.revision,
            self.compact_revision,
            self._next_session,
            [(lease, self.leases[lease].ttl_s, self.leases[lease].serial) for lease in self.leases],
            [
                (sid, one.oldest, [(seq, encode_outcome(got)) for seq, got in one.results.items()])
                for sid, one in self._sessions.items()
            ],
        )

    def snapshot(self) -> Snapshot:
        """Return a view of the state as it is now."""
        return Snapshot(self)

    def restorer(self) -> Restorer:
        """Begin to replace this state by that of a snapshot."""
        return Restorer(self, MvccState())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become the state that a snapshot's chunks describe."""
        restorer = self.restorer()
        for chunk in chunks:
            restorer.feed(chunk)
        restorer.finish()

    def begin_replay(self, header: Header) -> None:
        """Start from everything but keys and events."""
        self.applied, self.compact_revision = header.applied, header.compact_revision
        self._next_session = header.next_session
        self._swept = self.revision = max(1, header.compact_revision)
        self.leases = {lease: Lease(ttl_s, serial) for lease, ttl_s, serial in header.leases}
        for sid, oldest, results in header.sessions:
            session = self._sessions[sid] = Session(oldest)
            session.results = {seq: decode_outcome(got) for seq, got in results}

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

    def end_replay(self) -> None:
        """Build what follows from the keys."""
        self._keys = SortedList(self._histories)
        live = [h.versions[-1] for h in self._histories.values()]
        self._live = SortedList(kv.key for kv in live if kv is not None)
        for kv in live:
            if kv is not None and kv.lease:
                self.leases[kv.lease].keys.add(kv.key)

    def adopt(self, other: "MvccState") -> None:
        """Become `other`, which must not be used any more."""
        pins, epoch, replaced = self.pins, self.lease_epoch, self.replaced
        self.__dict__.update(other.__dict__)
        self.pins, self.lease_epoch, self.replaced = pins, epoch + 1, replaced + 1

    def digest(self) -> str:
        """Hash the whole logical state: equal on every replica that applied as much."""
        sha = hashlib.sha256()
        with self.snapshot() as view:
            for chunk in view.chunks():
                sha.update(chunk)
        return sha.hexdigest()


def _size(kv: KeyValue | None) -> int:
    return len(kv.key) + len(kv.value) if kv is not None else 0
