"""Many histories of a Raft cluster, each from one seed; see `tests/support/store_fuzz.py`.

CI runs thousands (`python tests/support/store_fuzz.py 0 10000`); here a few seconds' worth.
"""

import pytest
from store_fuzz import Outcome, fuzz


def total(outcomes: list[Outcome], name: str) -> int:
    return sum(int(getattr(one, name)) for one in outcomes)


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_nothing_acknowledged_is_lost_with_three_members(first: int) -> None:
    outcomes = [fuzz(seed) for seed in range(first, first + 10)]
    assert total(outcomes, "acknowledged") > 100
    assert total(outcomes, "crashes") > 20
    assert total(outcomes, "reads") > 20


def test_with_five_members() -> None:
    outcomes = [fuzz(seed, members=5, steps=150) for seed in range(5)]
    assert total(outcomes, "acknowledged") > 100


def test_with_one_member() -> None:
    outcomes = [fuzz(seed, members=1, steps=150) for seed in range(8)]
    assert total(outcomes, "acknowledged") > 100


def test_the_same_seed_is_the_same_history() -> None:
    assert fuzz(7, steps=100) == fuzz(7, steps=100)
