"""The state machine: tables for what each command answers, and a naive model for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.store.entry import (
    NOBODY,
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
    Transacted,
    encode_command,
    transaction,
    txn_result,
)
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    Event,
    FutureRevisionError,
    KeyValue,
    Op,
    Put,
    PutResult,
    Range,
    RangeResult,
    Target,
)
from wherry.store.mvcc import MAX_SESSIONS, MvccState


def do(state: MvccState, command: Command) -> Outcome:
    return state.apply(encode_command(command))


def txn(
    state: MvccState,
    success: Sequence[Op],
    compares: Sequence[Compare] = (),
    failure: Sequence[Op] = (),
    origin: Origin = NOBODY,
) -> Outcome:
    return do(state, transaction(origin, compares, success, failure))


def keys(state: MvccState, revision: int = 0) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in state.range(Range(b"\0", b"\0", revision=revision)).kvs}


@dataclass(frozen=True)
class Row:
    id: str
    compare: Compare
    holds: bool


# The state: revision 4; a created at 2 and changed at 4 (lease 7), b created at 3.
COMPARISONS = (
    Row("absent key has version 0", Compare(b"x", Target.VERSION, "=", 0), True),
    Row("absent key has create revision 0", Compare(b"x", Target.CREATE, "=", 0), True),
    Row("absent key has mod revision 0", Compare(b"x", Target.MOD, "<", 1), True),
    Row("absent key has no lease", Compare(b"x", Target.LEASE, "=", 0), True),
    Row("absent key equals no value", Compare(b"x", Target.VALUE, "=", b""), False),
    Row("absent key differs from no value", Compare(b"x", Target.VALUE, "!=", b"v"), False),
    Row("version counts changes", Compare(b"a", Target.VERSION, "=", 2), True),
    Row("create revision stays", Compare(b"a", Target.CREATE, "=", 2), True),
    Row("mod revision moves", Compare(b"a", Target.MOD, "=", 4), True),
    Row("greater", Compare(b"a", Target.MOD, ">", 3), True),
    Row("not greater", Compare(b"a", Target.MOD, ">", 4), False),
    Row("less", Compare(b"b", Target.MOD, "<", 4), True),
    Row("different", Compare(b"b", Target.MOD, "!=", 4), True),
    Row("value", Compare(b"a", Target.VALUE, "=", b"2"), True),
    Row("value order", Compare(b"a", Target.VALUE, "<", b"3"), True),
    Row("lease", Compare(b"a", Target.LEASE, "=", 7), True),
)


@pytest.mark.parametrize("row", COMPARISONS, ids=lambda row: row.id)
def test_comparison(row: Row) -> None:
    state = MvccState()
    do(state, Grant(NOBODY, 10, 7))
    txn(state, [Put(b"a", b"1")])
    txn(state, [Put(b"b", b"1")])
    txn(state, [Put(b"a", b"2", 7)])
    got = txn(state, [], [row.compare])
    assert isinstance(got, Transacted)
    assert got.succeeded is row.holds
    assert got.revision == 4, "a transaction that writes nothing is no revision"


def test_one_transaction_is_one_revision_and_sees_its_own_writes() -> None:
    state = MvccState()
    txn(state, [Put(b"a", b"1"), Put(b"b", b"1")])
    got = txn(
        state, [Put(b"c", b"2"), Range(b"a", b"z"), DeleteRange(b"a", b"c"), Range(b"a", b"z")]
    )
    assert isinstance(got, Transacted)
    assert got.revision == 3
    results = txn_result(got).results
    before, after = results[1], results[3]
    assert isinstance(before, RangeResult)
    assert isinstance(after, RangeResult)
    assert [kv.key for kv in before.kvs] == [b"a", b"b", b"c"]
    assert [kv.key for kv in after.kvs] == [b"c"]
    (events,) = state.events(2, 3)
    assert [(e.kv.key, e.deleted, e.kv.mod_revision) for e in events] == [
        (b"c", False, 3),
        (b"a", True, 3),
        (b"b", True, 3),
    ]


def test_a_missing_lease_refuses_the_whole_transaction() -> None:
    state = MvccState()
    got = txn(state, [Put(b"a", b"1"), Put(b"b", b"1", lease=5)])
    assert got == Refused("lease_not_found")
    assert (state.revision, keys(state)) == (1, {})


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        ([Put(b"a", b""), Put(b"a", b"")], "duplicate key"),
        ([DeleteRange(b"a", b"c"), Put(b"b", b"")], "duplicate key"),
        ([Put(b"", b"")], "key is not provided"),
    ],
)
def test_what_must_not_be_proposed(ops: list[Op], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        transaction(NOBODY, [], ops, [])


def test_leases_take_their_keys_along_in_one_revision() -> None:
    state = MvccState()
    granted = do(state, Grant(NOBODY, 10))
    assert isinstance(granted, Granted)
    lease = granted.lease
    txn(state, [Put(b"b", b"1", lease), Put(b"a", b"1", lease), Put(b"c", b"1", lease)])
    txn(state, [Put(b"c", b"2")])  # detaches it
    assert do(state, Expire(((lease, 999),))) == Done(3), "another grant of the id: not hit"
    assert do(state, Revoke(NOBODY, lease)) == Done(4)
    assert keys(state) == {b"c": b"2"}
    assert [e.kv.key for events in state.events(3, 4) for e in events] == [b"a", b"b"]
    assert do(state, Revoke(NOBODY, lease)) == Refused("lease_not_found")
    assert do(state, Grant(NOBODY, 10, 77)) == Granted(77, 10, 4)
    assert do(state, Grant(NOBODY, 10, 77)) == Refused("lease_exists")


def test_compaction_limits_reads_and_watches() -> None:
    state = MvccState()
    for n in range(5):
        txn(state, [Put(b"a", b"%d" % n)])
    txn(state, [DeleteRange(b"a")])
    assert do(state, Compact(NOBODY, 99)) == Refused("future_revision")
    assert do(state, Compact(NOBODY, 4)) == Done(7)
    assert do(state, Compact(NOBODY, 4)) == Refused("compacted", 4)
    assert keys(state, 4) == {b"a": b"2"}
    with pytest.raises(CompactedError):
        keys(state, 3)
    with pytest.raises(FutureRevisionError):
        keys(state, 8)
    with pytest.raises(CompactedError):
        list(state.events(3, 7))
    assert len(list(state.events(4, 7))) == 3
    assert do(state, Compact(NOBODY, 7)) == Done(7)
    while state.sweep():
        pass
    assert (state.size_bytes, state.all_keys()) == (0, []), "nothing of a deleted key stays"


def test_a_retried_command_is_applied_once() -> None:
    state = MvccState()
    session = do(state, Register())
    assert isinstance(session, Registered)
    origin = Origin(session.session, 1, 1)
    first = txn(state, [Put(b"a", b"1")], origin=origin)
    txn(state, [Put(b"a", b"2")], origin=Origin(session.session, 3, 1))
    assert txn(state, [Put(b"a", b"1")], origin=origin) == first
    assert keys(state) == {b"a": b"2"}
    third = Origin(session.session, 4, 4)  # says: everything before 4 has arrived
    txn(state, [Put(b"b", b"1")], origin=third)
    assert txn(state, [Put(b"a", b"1")], origin=origin) == Refused("stale_seq")
    do(state, Forget(session.session))
    assert txn(state, [Put(b"a", b"1")], origin=third) == Refused("session_expired")
    assert keys(state) == {b"a": b"2", b"b": b"1"}


def test_refusals_are_remembered_too() -> None:
    state = MvccState()
    do(state, Register())
    origin = Origin(1, 1, 1)
    assert txn(state, [Put(b"a", b"", 5)], origin=origin) == Refused("lease_not_found")
    do(state, Grant(NOBODY, 10, 5))
    assert txn(state, [Put(b"a", b"", 5)], origin=origin) == Refused("lease_not_found")


def test_sessions_are_bounded_and_the_least_recently_used_goes() -> None:
    state = MvccState()
    for _ in range(MAX_SESSIONS):
        do(state, Register())
    txn(state, [Put(b"a", b"1")], origin=Origin(1, 1, 1))
    do(state, Register())
    assert isinstance(txn(state, [Put(b"a", b"2")], origin=Origin(1, 2, 2)), Transacted)
    assert txn(state, [Put(b"a", b"3")], origin=Origin(2, 1, 1)) == Refused("session_expired")


def test_a_snapshot_is_of_one_moment_although_the_state_moves_on() -> None:
    state = MvccState()
    for n in range(50):
        txn(state, [Put(b"k%02d" % (n % 20), b"%d" % n)])
    do(state, Compact(NOBODY, 30))
    at_that_moment = MvccState()
    at_that_moment.restore(list(state.snapshot().chunks()))
    with state.snapshot() as view:
        chunks = view.chunks(size_bytes=64)
        taken = [next(chunks)]
        for n in range(50, 100):
            txn(state, [Put(b"k%02d" % (n % 30), b"%d" % n), DeleteRange(b"k%02d" % (n % 7 + 40))])
            assert not state.sweep(), "nothing is freed while a snapshot is read"
        do(state, Compact(NOBODY, 90))
        taken += list(chunks)
    restored = MvccState()
    restored.restore(taken)
    assert restored.digest() == at_that_moment.digest()
    assert len(taken) > 5


# ---- against a naive model

KEYS = [b"a", b"b", b"c", b"d"]
key = st.sampled_from(KEYS)
put = st.builds(Put, key, st.binary(max_size=2), st.sampled_from([0, 0, 0, 1, 2]))
delete = st.builds(DeleteRange, key, st.none() | key | st.just(b"\0"))
read = st.builds(Range, key, st.none() | key | st.just(b"\0"), limit=st.integers(0, 2))
branch = st.lists(st.one_of(put, delete, read), max_size=3)
compare = st.builds(
    Compare,
    key,
    st.sampled_from([Target.VERSION, Target.MOD]),
    st.sampled_from("=<>"),
    st.integers(0, 6),
)
step = st.one_of(
    st.tuples(st.just("txn"), st.lists(compare, max_size=1), branch, branch),
    st.tuples(st.just("grant"), st.integers(1, 2)),
    st.tuples(st.just("revoke"), st.integers(1, 2)),
    st.tuples(st.just("compact"), st.integers(0, 12)),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("restore")),
)


class Model:
    """The whole state of every revision, copied each time."""

    def __init__(self) -> None:
        self.revisions: dict[int, dict[bytes, KeyValue]] = {1: {}}
        self.events: dict[int, list[Event]] = {}
        self.now = 1
        self.compacted = 0
        self.leases: set[int] = set()

    def matching(self, state: dict[bytes, KeyValue], op: Range | DeleteRange) -> list[KeyValue]:
        if op.end is None:
            return [state[op.key]] if op.key in state else []
        return [state[k] for k in sorted(state) if op.key <= k and (op.end == b"\0" or k < op.end)]

    def run(self, ops: Sequence[Op]) -> None:
        if any(isinstance(op, Put) and op.lease and op.lease not in self.leases for op in ops):
            return
        state, events, revision = dict(self.revisions[self.now]), [], self.now + 1
        for op in ops:
            if isinstance(op, Put):
                prev = state.get(op.key)
                state[op.key] = KeyValue(
                    op.key,
                    op.value,
                    prev.create_revision if prev else revision,
                    revision,
                    prev.version + 1 if prev else 1,
                    op.lease,
                )
                events.append(Event(state[op.key], prev))
            elif isinstance(op, DeleteRange):
                for kv in self.matching(state, op):
                    del state[kv.key]
                    gone = KeyValue(kv.key, b"", 0, revision, 0)
                    events.append(Event(gone, kv, deleted=True))
        if events:
            self.now, self.revisions[revision], self.events[revision] = revision, state, events


@settings(max_examples=150)
@given(st.lists(step, max_size=25))
def test_the_state_machine_agrees_with_the_naive_model(steps: list[tuple[object, ...]]) -> None:
    state, model = MvccState(), Model()
    for one in steps:
        state = advance(state, model, one)
    check(state, model)
    digest = state.digest()
    while state.sweep(limit=1):
        assert state.digest() == digest, "freeing memory is not observable"
    check(state, model)


def advance(state: MvccState, model: Model, one: tuple[object, ...]) -> MvccState:
    match one:
        case ("txn", list(compares), list(success), list(failure)):
            try:
                command = transaction(NOBODY, compares, success, failure)
            except ValueError:
                return state
            got = do(state, command)
            if isinstance(got, Transacted):
                model.run(success if got.succeeded else failure)
            else:
                assert got == Refused("lease_not_found")
        case ("grant", int(lease)):
            do(state, Grant(NOBODY, 10, lease))
            model.leases.add(lease)
        case ("revoke", int(lease)):
            do(state, Revoke(NOBODY, lease))
            model.leases.discard(lease)
            attached = [
                k for k, kv in sorted(model.revisions[model.now].items()) if kv.lease == lease
            ]
            model.run([DeleteRange(k) for k in attached])
        case ("compact", int(revision)):
            if isinstance(do(state, Compact(NOBODY, revision)), Done):
                model.compacted = revision
        case ("sweep",):
            state.sweep(limit=2)
        case ("restore",):
            copy = MvccState()
            copy.restore(list(state.snapshot().chunks(size_bytes=10)))
            assert copy.digest() == state.digest()
            return copy
        case _:
            raise AssertionError(one)
    return state


def check(state: MvccState, model: Model) -> None:
    assert (state.revision, state.compact_revision) == (model.now, model.compacted)
    for revision in range(max(1, model.compacted), model.now + 1):
        want = model.revisions[revision]
        for op in (Range(b"b", b"d"), Range(b"a", b"\0"), Range(b"c"), Range(b"a", b"\0", limit=1)):
            got = state.range(Range(op.key, op.end, op.limit, revision))
            all_of = model.matching(want, op)
            assert list(got.kvs) == (all_of[: op.limit] if op.limit else all_of)
            assert got.count == len(all_of)
    after = max(1, model.compacted)
    got_events = [list(events) for events in state.events(after, model.now)]
    want_events = [model.events[r] for r in range(after + 1, model.now + 1)]
    assert [[(e.kv, e.deleted) for e in r] for r in got_events] == [
        [(e.kv, e.deleted) for e in r] for r in want_events
    ]
    assert state.size_bytes >= sum(
        len(k) + len(kv.value) for k, kv in model.revisions[model.now].items()
    )


def test_put_returns_what_was_there() -> None:
    state = MvccState()
    txn(state, [Put(b"a", b"1")])
    got = txn(state, [Put(b"a", b"2")])
    assert isinstance(got, Transacted)
    result = txn_result(got).results[0]
    assert isinstance(result, PutResult)
    assert result.prev == KeyValue(b"a", b"1", 2, 2, 1)
