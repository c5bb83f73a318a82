"""What a follower does with entries: every case that PySyncObj got wrong, as a row."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.store.raft.match import Append, Matched, Reject, match


class Log:
    """Entries 1, 2, ... with these terms; those before `first` are in a snapshot."""

    def __init__(self, terms: list[int], first: int = 1) -> None:
        self.terms = terms
        self.first = first

    def term_at(self, index: int) -> int | None:
        if not self.first <= index <= len(self.terms):
            return None
        return self.terms[index - 1]


@dataclass(frozen=True)
class Row:
    id: str
    log: list[int]
    commit: int
    prev: tuple[int, int]
    terms: list[int]
    want: Reject | Matched | Append
    first: int = 1


ROWS = (
    Row("new entries at the end", [1, 1], 1, (2, 1), [1], Append(2, 1, 0)),
    Row("a gap: go back to the end", [1, 1], 1, (4, 1), [1], Reject(3)),
    Row("heartbeat that fits", [1, 1], 1, (2, 1), [], Matched(2)),
    Row("heartbeat in the middle keeps the rest", [1, 1, 1], 1, (2, 1), [], Matched(2)),
    Row("sent again, shorter: nothing is cut", [1, 1, 1, 1], 1, (1, 1), [1, 1], Matched(3)),
    Row("overlapping: only the rest is appended", [1, 1, 1], 1, (1, 1), [1, 1, 1], Append(3, 1, 2)),
    Row("a real conflict is cut", [1, 1, 2, 2], 2, (2, 1), [3, 3], Append(2, 1, 0)),
    Row("conflict behind a match", [1, 1, 2, 2], 2, (2, 1), [2, 3], Append(3, 2, 1)),
    Row("prev conflicts: go on from the commit", [1, 1, 2, 2, 2], 2, (5, 3), [3], Reject(3)),
    Row("all committed already", [1, 1, 1], 3, (1, 1), [1], Matched(3)),
    Row("partly committed", [1, 1, 1], 2, (1, 1), [1, 1, 4], Append(3, 1, 2)),
    Row("before what a snapshot holds", [1, 1, 1], 3, (1, 1), [1, 1, 2], Append(3, 1, 2), first=3),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_match(row: Row) -> None:
    got = match(
        Log(row.log, row.first),
        commit=row.commit,
        last=len(row.log),
        prev_index=row.prev[0],
        prev_term=row.prev[1],
        terms=row.terms,
    )
    assert got == row.want


ascending = st.lists(st.integers(0, 2), max_size=8).map(
    lambda steps: [1, *(1 + sum(steps[: n + 1]) for n in range(len(steps)))]
)


@given(ascending, ascending, st.data())
def test_committed_entries_are_never_cut_and_the_logs_agree_afterwards(
    mine: list[int], leaders: list[int], data: st.DataObject
) -> None:
    common = 0
    while common < min(len(mine), len(leaders)) and mine[common] == leaders[common]:
        common += 1
    leaders = leaders[:common] + [
        t + 100 for t in leaders[common:]
    ]  # Raft: terms tell entries apart
    commit = data.draw(st.integers(1, common))
    prev = data.draw(st.integers(1, len(leaders)))
    terms = leaders[prev : prev + data.draw(st.integers(0, 5))]
    got = match(
        Log(mine),
        commit=commit,
        last=len(mine),
        prev_index=prev,
        prev_term=leaders[prev - 1],
        terms=terms,
    )
    match got:
        case Append(index, _, skip):
            assert index >= commit
            result = mine[:index] + terms[skip:]
            assert result == leaders[: len(result)]
        case Matched(index):
            assert index >= commit
            assert mine[:index] == leaders[:index]
        case Reject(next_index):
            assert commit < next_index <= len(mine) + 1
