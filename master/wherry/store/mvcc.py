"""The state machine: multi-version keys, leases and sessions, and nothing else.

    apply(bytes) -> Outcome        a pure function of (state, bytes)

No clock, no chance, no I/O, no iteration over sets: every replica that applied the same
commands holds the same state (`digest()` proves it). A business failure is an `Outcome`; an
exception in `apply` is a bug or a newer command than this version knows, and must stop the
process before the replicas part.

Keys and their versions are `keyspace`'s; here stand transactions, leases, sessions, alarms.

Physical and logical compaction are two things. `Compact` moves `compact_revision` at once;
`sweep` later frees the memory in small steps, wherever the driver finds time, and waits while
a snapshot is being read. Nothing observable depends on it.

A snapshot is the state as of `compact_revision`, followed by the events since: restoring it
is replaying it, and it may be read in pieces while commands are applied.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from wherry.store.entry import (
    COMPACTED,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    MAX_SEQ_WINDOW,
    NO_SPACE,
    NOSPACE,
    SESSION_EXPIRED,
    STALE_SEQ,
    Alarm,
    Command,
    Compact,
    Done,
    Expire,
    Forget,
    Grant,
    Granted,
    Origin,
    Outcome,
    Refused,
    Register,
    Registered,
    Revoke,
    Transact,
    Transacted,
    Txn,
    decode_command,
    decode_outcome,
    encode_outcome,
)
from wherry.store.image import FORMAT, Header, Restorer, Snapshot
from wherry.store.keyspace import Keyspace, Lease
from wherry.store.kv import DeleteResult, KeyValue, PutResult, Target
from wherry.store.operation import (
    Check,
    DeleteDone,
    DeleteOp,
    EntryOp,
    OpDone,
    PutDone,
    PutOp,
    RangeCheck,
    RangeDone,
    RangeOp,
    TxnDone,
    TxnOp,
    UpdateOp,
)
from wherry.store.session import Session

_ONCE = Txn | Transact | Grant | Revoke | Compact | Alarm  # what carries an origin
MAX_SESSIONS = 1024


class MvccState(Keyspace):
    """The replicated state."""

    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0  # how often another state took the place of this one
        self.applied = 0  # commands applied: the serial of leases
        self.alarms: set[tuple[int, int]] = set()  # (member, kind); only ever iterated sorted
        self.lease_epoch = 0  # moves whenever a lease comes or goes; not part of the state
        self._sessions: OrderedDict[int, Session] = OrderedDict()  # least recently used first
        self._next_session = 1

    # ---- writing

    def apply(self, data: bytes) -> Outcome:
        """Apply one command and return what its client is told."""
        command = decode_command(data)
        self.applied += 1
        if isinstance(command, _ONCE) and command.origin.session:
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
                outcome = self._transact(command.checks, command.success, command.failure)
            case Transact():
                body = command.body
                outcome = self._transact(body.checks, body.success, body.failure)
            case Grant():
                outcome = self._grant(command)
            case Revoke():
                outcome = self._revoke(command.lease)
            case Expire():
                outcome = self._expire(command)
            case Compact():
                outcome = self._compact(command.revision)
            case Alarm():
                outcome = self._alarm(command)
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

    def _transact(
        self,
        checks: Sequence[Check | RangeCheck],
        success: Sequence[EntryOp],
        failure: Sequence[EntryOp],
    ) -> Outcome:
        succeeded = all(self._holds(check) for check in checks)
        ops = success if succeeded else failure
        path: list[bool] = []
        refused = self._refusal(ops, path)
        if refused is not None:
            return refused
        results = self._run(ops, iter(path))
        self._commit()
        return Transacted(self.revision, succeeded, results)

    def _refusal(self, ops: Sequence[EntryOp], path: list[bool]) -> Refused | None:
        """Everything that can stop a branch, found before its first operation is performed.

        Nested transactions are decided meanwhile: `path` gets, in order, which of them hold.
        """
        unreadable: Refused | None = None  # as in etcd, the writes are looked at first
        for op in ops:
            refused: Refused | None = None
            if isinstance(op, PutOp):
                if op.lease or self.alarms:
                    refused = self._refusal_of_put(op.lease)
            elif isinstance(op, RangeOp):
                if op.revision:
                    unreadable = unreadable or self._refusal_of_range(op.revision)
            elif isinstance(op, UpdateOp):
                refused = self._refusal_of_update(op)
            elif isinstance(op, TxnOp):
                refused = self._refusal_of_nested(op, path)
                if refused is not None and refused.code in (COMPACTED, FUTURE_REVISION):
                    unreadable, refused = unreadable or refused, None
            if refused is not None:
                return refused
        return unreadable

    def _refusal_of_nested(self, op: TxnOp, path: list[bool]) -> Refused | None:
        holds_all = all(self._holds(check) for check in op.checks)
        path.append(holds_all)
        return self._refusal(op.success if holds_all else op.failure, path)

    def _refusal_of_update(self, op: UpdateOp) -> Refused | None:
        if self.current(op.key) is None:
            return Refused(KEY_NOT_FOUND)
        return self._refusal_of_put(op.lease or 0)

    def _refusal_of_put(self, lease: int) -> Refused | None:
        if self.alarms and any(kind == NOSPACE for _, kind in self.alarms):
            return Refused(NO_SPACE)
        return Refused(LEASE_NOT_FOUND) if lease and lease not in self.leases else None

    def _refusal_of_range(self, revision: int) -> Refused | None:
        if revision > self.revision:
            return Refused(FUTURE_REVISION)
        if revision < self.compact_revision:
            return Refused(COMPACTED, self.compact_revision)
        return None

    def _run(self, ops: Sequence[EntryOp], path: Iterator[bool]) -> tuple[OpDone, ...]:
        results: list[OpDone] = []
        for op in ops:
            match op:
                case PutOp():
                    results.append(PutDone(PutResult(self._put(op.key, op.value, op.lease))))
                case DeleteOp():
                    gone = [self._delete(key) for key in self._live_keys(op.key, op.end)]
                    results.append(DeleteDone(DeleteResult(gone)))
                case RangeOp():
                    results.append(RangeDone(self._range(op, self._working_revision())))
                case UpdateOp():
                    results.append(PutDone(PutResult(self._update(op))))
                case TxnOp():
                    holds = next(path)
                    done = self._run(op.success if holds else op.failure, path)
                    results.append(TxnDone(holds, done))
        return tuple(results)

    def _update(self, op: UpdateOp) -> KeyValue | None:
        before = self.current(op.key)
        value = op.value if op.value is not None else before.value if before else b""
        lease = op.lease if op.lease is not None else before.lease if before else 0
        return self._put(op.key, value, lease)

    def _holds(self, check: Check | RangeCheck) -> bool:
        if type(check) is RangeCheck and check.end is not None:
            keys = self._live_keys(check.key, check.end)
            return (
                all(holds(check, self.current(key)) for key in keys) if keys else holds(check, None)
            )
        return holds(check, self.current(check.key))

    # ---- leases and compaction

    def _grant(self, command: Grant) -> Outcome:
        lease = command.lease
        if lease in self.leases:
            return Refused(LEASE_EXISTS)
        refused = self._refusal_of_put(0)
        if refused is not None:
            return refused
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

    def _alarm(self, command: Alarm) -> Outcome:
        alarm = (command.member, command.kind)
        if command.active:
            self.alarms.add(alarm)
        else:
            self.alarms.discard(alarm)
        return Done(self.revision)

    def _compact(self, revision: int) -> Outcome:
        if revision <= self.compact_revision:
            return Refused(COMPACTED, self.compact_revision)
        if revision > self.revision:
            return Refused(FUTURE_REVISION)
        self.compact_revision = revision
        return Done(self.revision)

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
            sorted(self.alarms),
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
        self.alarms = set(header.alarms)
        for sid, oldest, results in header.sessions:
            session = self._sessions[sid] = Session(oldest)
            session.results = {seq: decode_outcome(got) for seq, got in results}

    def end_replay(self) -> None:
        """Build what follows from the keys."""
        for kv in self._end_replay():
            if kv.lease:
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


def holds(check: Check | RangeCheck, kv: KeyValue | None) -> bool:
    """Whether a comparison with one key holds; None is an absent key."""
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
