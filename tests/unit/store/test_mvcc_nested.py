"""Nested transactions, comparisons of ranges, updates and alarms; and logs from before them."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest

from wherry.store.entry import (
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    NO_SPACE,
    NOBODY,
    NOSPACE,
    Alarm,
    Done,
    Grant,
    Outcome,
    Refused,
    Transact,
    Transacted,
    Txn,
    decode_command,
    encode_command,
    transaction,
    txn_result,
)
from wherry.store.image import FORMAT, Header
from wherry.store.kv import (
    Compare,
    DeleteRange,
    Nested,
    NestedResult,
    Op,
    Put,
    PutResult,
    Range,
    Target,
)
from wherry.store.mvcc import MvccState


def txn(
    state: MvccState,
    success: Sequence[Op],
    compares: Sequence[Compare] = (),
    failure: Sequence[Op] = (),
) -> Outcome:
    return state.apply(encode_command(transaction(NOBODY, compares, success, failure)))


def value(state: MvccState, key: bytes) -> bytes | None:
    kv = state.current(key)
    return kv.value if kv else None


IS_1 = Compare(b"a", Target.VALUE, "=", b"1")


def test_a_nested_transaction_is_decided_before_anything_is_written() -> None:
    state = MvccState()
    txn(state, [Put(b"a", b"1")])
    nested = Nested([IS_1], [Put(b"n", b"then")], [Put(b"n", b"else")])
    done = txn(state, [Put(b"a", b"2"), nested])
    assert isinstance(done, Transacted)
    result = txn_result(done)
    assert result.results[1] == NestedResult(True, [PutResult(None)])
    assert (value(state, b"a"), value(state, b"n"), state.revision) == (b"2", b"then", 3)
    assert isinstance(txn(state, [nested]), Transacted)
    assert value(state, b"n") == b"else"


def test_a_refusal_deep_inside_leaves_everything_as_it_was() -> None:
    state = MvccState()
    deep = Nested([], [Nested([], [Put(b"x", b"", 4711)])])
    before = state.revision
    assert txn(state, [Put(b"a", b"1"), deep]) == Refused(LEASE_NOT_FOUND)
    assert (state.revision, state.live_count) == (before, 0)
    elsewhere = Nested([IS_1], [Put(b"x", b"", 4711)], [Put(b"y", b"")])
    assert isinstance(txn(state, [elsewhere]), Transacted), "the branch not taken stops nothing"


def test_each_level_goes_by_its_own_comparison() -> None:
    """Decided from the outside in, as they are performed."""
    state = MvccState()
    txn(state, [Put(b"a", b"1")])
    absent = Compare(b"a", Target.VERSION, "=", 0)
    inner = Nested([absent], [Put(b"i", b"then")], [Put(b"i", b"else")])
    after = Nested([absent], [Put(b"f", b"then")], [Put(b"f", b"else")])
    done = txn(state, [Nested([IS_1], [inner], [Put(b"o", b"else")]), after])
    assert isinstance(done, Transacted)
    written = [PutResult(None)]
    wanted = [NestedResult(True, [NestedResult(False, written)]), NestedResult(False, written)]
    assert txn_result(done).results == wanted
    assert [value(state, key) for key in (b"i", b"o", b"f")] == [b"else", None, b"else"]


def test_a_read_within_sees_what_was_written_before_it() -> None:
    state = MvccState()
    read = Nested([], [Range(b"a")])
    done = txn(state, [Put(b"a", b"1"), Nested([], [Put(b"b", b"2"), Range(b"a", b"c")]), read])
    assert isinstance(done, Transacted)
    _, both, one = txn_result(done).results
    assert isinstance(both, NestedResult)
    assert isinstance(one, NestedResult)
    seen = [kv.value for kv in both.results[1].kvs]  # type: ignore[union-attr]  # of a Range
    assert seen == [b"1", b"2"]
    assert [kv.value for kv in one.results[0].kvs] == [b"1"]  # type: ignore[union-attr]  # as above


def test_what_cannot_be_written_is_said_before_what_cannot_be_read() -> None:
    """As in etcd, on all levels together."""
    state = MvccState()
    unreadable = Nested([], [Range(b"a", revision=99)])
    assert txn(state, [unreadable, Put(b"x", b"")]) == Refused(FUTURE_REVISION)
    assert txn(state, [unreadable, Put(b"x", b"", 4711)]) == Refused(LEASE_NOT_FOUND)
    assert state.live_count == 0


@dataclass(frozen=True)
class Row:
    id: str
    compare: Compare
    holds: bool


RANGES = (  # a1 and a2 were written once, b twice
    Row("all", Compare(b"a", Target.VERSION, "=", 1, b"b"), True),
    Row("not all", Compare(b"a", Target.VERSION, "=", 1, b"c"), False),
    Row("from a key on", Compare(b"a", Target.VERSION, ">", 0, b"\0"), True),
    Row("none: as one that is absent", Compare(b"x", Target.VERSION, "=", 0, b"y"), True),
    Row("none: no value holds", Compare(b"x", Target.VALUE, "!=", b"v", b"y"), False),
    Row("an empty range is none", Compare(b"b", Target.VERSION, "=", 0, b"a"), True),
)


@pytest.mark.parametrize("row", RANGES, ids=lambda row: row.id)
def test_comparisons_of_ranges(row: Row) -> None:
    state = MvccState()
    for key in (b"a1", b"a2", b"b", b"b"):
        txn(state, [Put(key, b"v")])
    done = txn(state, [], [row.compare])
    assert isinstance(done, Transacted)
    assert done.succeeded is row.holds
    nested = txn(state, [Nested([row.compare], [])])
    assert isinstance(nested, Transacted)
    assert txn_result(nested).results == [NestedResult(row.holds, [])]


def test_updates_keep_what_they_are_told_to() -> None:
    state = MvccState()
    state.apply(encode_command(Grant(NOBODY, 60, 7)))
    assert txn(state, [Put(b"a", b"", ignore_value=True)]) == Refused(KEY_NOT_FOUND)
    txn(state, [Put(b"a", b"1", 7)])
    txn(state, [Put(b"a", b"2", ignore_lease=True)])
    assert (value(state, b"a"), state.leases[7].keys) == (b"2", {b"a"})
    txn(state, [Put(b"a", b"", ignore_value=True)])
    assert (value(state, b"a"), state.leases[7].keys) == (b"2", set())
    kv = state.current(b"a")
    assert kv is not None
    assert kv.version == 3


def test_under_an_alarm_only_deletions_are_done() -> None:
    state = MvccState()
    txn(state, [Put(b"a", b"1")])
    assert state.apply(encode_command(Alarm(NOBODY, 5, NOSPACE, active=True))) == Done(2)
    for refused in ([Put(b"a", b"2")], [Nested([], [Put(b"b", b"")])], [Put(b"a", b"", 0, True)]):
        assert txn(state, refused) == Refused(NO_SPACE)
    assert state.apply(encode_command(Grant(NOBODY, 60))) == Refused(NO_SPACE)
    assert isinstance(txn(state, [DeleteRange(b"a"), Range(b"a")]), Transacted)
    other = MvccState()
    with state.snapshot() as view:
        other.restore(list(view.chunks()))
    assert (other.alarms, other.digest()) == ({(5, NOSPACE)}, state.digest())
    state.apply(encode_command(Alarm(NOBODY, 5, NOSPACE, active=False)))
    assert isinstance(txn(state, [Put(b"a", b"2")]), Transacted)


CONFLICTS: tuple[tuple[str, Sequence[Op]], ...] = (
    ("twice", [Put(b"a", b""), Put(b"a", b"")]),
    ("put and deleted", [DeleteRange(b"a", b"c"), Put(b"b", b"")]),
    ("updated and put", [Put(b"a", b"", ignore_value=True), Put(b"a", b"")]),
    ("with the level around", [Put(b"a", b""), Nested([], [], [Put(b"a", b"")])]),
    ("deleted around", [Nested([], [Put(b"a", b"")]), DeleteRange(b"a")]),
    ("deleted within", [Nested([], [DeleteRange(b"a")]), Put(b"a", b"")]),
    ("two nested ones", [Nested([], [Put(b"a", b"")]), Nested([], [], [Put(b"a", b"")])]),
    ("far inside", [Nested([], [Nested([], [Put(b"a", b""), Put(b"a", b"")])])]),
)


@pytest.mark.parametrize(("name", "ops"), CONFLICTS, ids=[name for name, _ in CONFLICTS])
def test_no_key_is_written_twice(name: str, ops: Sequence[Op]) -> None:
    with pytest.raises(ValueError, match="duplicate key given in txn request"):
        transaction(NOBODY, [], ops, [])


def test_branches_that_exclude_each_other_may_write_the_same() -> None:
    transaction(NOBODY, [], [Nested([], [Put(b"a", b"")], [Put(b"a", b"")])], [Put(b"a", b"")])
    transaction(NOBODY, [], [DeleteRange(b"a"), DeleteRange(b"a")], [])


@pytest.mark.parametrize(
    ("compare", "why"),
    [
        (Compare(b"", Target.MOD, "=", 0, b"b"), "key is not provided"),
        (Compare(b"a", Target.MOD, "~", 0), "unknown comparison"),
        (Compare(b"a", Target.MOD, "=", b"x"), "does not fit"),
    ],
)
def test_comparisons_that_cannot_be_made(compare: Compare, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        transaction(NOBODY, [compare], [], [])
    with pytest.raises(ValueError, match=why):
        transaction(NOBODY, [], [Nested([compare], [])], [])


def test_logs_and_snapshots_from_before_are_read() -> None:
    """Bytes that were written before any of this existed."""
    old = msgspec.msgpack.encode(
        ["txn", [0, 0, 0], [[b"a", "mod", "=", 0]], [["p", b"a", b"1", 0]], [["r", b"a", None, 0]]]
    )
    command = decode_command(old)
    assert isinstance(command, Txn)
    state = MvccState()
    assert isinstance(state.apply(old), Transacted)
    assert value(state, b"a") == b"1"
    header = msgspec.msgpack.encode([FORMAT, 1, 2, 0, 1, [], []])
    assert msgspec.msgpack.decode(header, type=Header).alarms == []


def test_what_an_old_version_can_read_is_still_written_so_that_it_can() -> None:
    """A cluster is updated member by member: only what is new has another form."""
    plain = transaction(NOBODY, [IS_1], [Put(b"a", b"1"), Range(b"a")], [DeleteRange(b"a")])
    assert isinstance(plain, Txn)
    assert msgspec.msgpack.decode(encode_command(plain))[0] == "txn"
    ranged = transaction(NOBODY, [Compare(b"a", Target.MOD, "=", 0, b"b")], [], [])
    assert isinstance(ranged, Transact)
