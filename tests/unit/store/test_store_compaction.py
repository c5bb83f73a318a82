"""When the leader compacts: by time, by revisions, by size; never what is to be retained."""

from dataclasses import dataclass

import pytest

from wherry.store.compaction import Compaction, Compactor

POLICY = Compaction(interval_s=300, retain=100, burst=1000, burst_bytes=50)


@dataclass
class State:
    revision: int
    compact_revision: int = 0
    size_bytes: int = 0
    swept: bool = True


@pytest.mark.parametrize(
    ("state", "now", "revision"),
    [
        (State(101), 1000, None),  # nothing beyond what is retained
        (State(102), 1000, 2),
        (State(102), 299, None),
        (State(1100), 1, None),
        (State(1101), 1, 1001),
        (State(500, 400), 1000, None),
        (State(501, 400), 1000, 401),
    ],
)
def test_by_time_and_by_revisions(state: State, now: float, revision: int | None) -> None:
    assert Compactor(POLICY, 0).due(state, now) == revision


def test_once_in_an_interval() -> None:
    compactor = Compactor(POLICY, 0)
    assert compactor.due(State(200), 300) == 100
    assert compactor.due(State(300, 100), 599) is None
    assert compactor.due(State(300, 100), 600) == 200


def test_a_new_leader_waits_for_a_whole_interval() -> None:
    compactor = Compactor(POLICY, 0)
    compactor.postpone(300)
    assert compactor.due(State(200), 599) is None
    assert compactor.due(State(200), 600) == 100


@pytest.mark.parametrize(("size", "grown"), [(1000, 250), (100, 50)])
def test_when_it_grew_by_a_quarter_but_not_by_little(size: int, grown: int) -> None:
    compactor = Compactor(POLICY, 0)
    assert compactor.due(State(200, 150, size), 1) is None
    assert compactor.due(State(300, 150, size + grown), 2) is None
    assert compactor.due(State(300, 150, size + grown + 1), 3) == 200


def test_growth_counts_from_when_all_is_freed() -> None:
    compactor = Compactor(POLICY, 0)
    assert compactor.due(State(200, 150, 1000), 1) is None
    assert compactor.due(State(300, 150, 1251), 2) == 200
    unswept = State(350, 200, 1300, swept=False)  # somebody reads a snapshot: it grows on
    assert compactor.due(unswept, 3) == 250
    assert compactor.due(State(360, 250, 1060), 4) is None
    assert compactor.due(State(420, 250, 1320), 5) is None
    assert compactor.due(State(420, 250, 1326), 6) == 320
