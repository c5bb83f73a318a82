"""Many histories of a whole store, each from one seed; see `tests/support/store_fuzz.py`.

`scripts/check` runs a few dozen, `scripts/test` 500, and `scripts/soak store` goes on for ever.
"""

import pytest
from store_faults import Fault, parse, render
from store_fuzz import Outcome, Plan, fuzz

_RANGE = 10


def run_range(first: int, members: int) -> Outcome:
    total = Outcome()
    for seed in range(first, first + _RANGE):
        total.add(fuzz(Plan(seed, members)))
    return total


@pytest.mark.parametrize("first", range(0, 40, _RANGE))
def test_nothing_acknowledged_is_lost_with_three_members(first: int) -> None:
    total = run_range(first, 3)
    assert total.acknowledged > 500
    assert total.reads > 500
    assert total.watched > 1000
    assert total.renewals > 20
    assert total.terms > _RANGE
    assert total.probed > 1000
    assert sum(total.faults.values()) > 50


def test_with_five_members() -> None:
    assert run_range(0, 5).acknowledged > 300


def test_with_one_member() -> None:
    total = run_range(0, 1)
    assert total.acknowledged > 500
    assert total.shown > 500


@pytest.mark.integration
@pytest.mark.parametrize(
    ("members", "first"),
    [
        *((3, first) for first in range(1000, 1300, _RANGE)),
        *((5, first) for first in range(1000, 1100, _RANGE)),
        *((1, first) for first in range(1000, 1100, _RANGE)),
    ],
)
def test_five_hundred_seeds(members: int, first: int) -> None:
    assert run_range(first, members).acknowledged > 100


def test_members_are_changed_by_hand_written_faults() -> None:
    text = "0.5 add f for 0.1; 1.5 replace b g for 0.1; 3.0 remove c for 0; 4.0 voter h for 0.1"
    total = fuzz(Plan(1, faults=tuple(parse(text))))
    assert total.faults.keys() >= {"add", "replace", "remove", "voter"}
    assert total.sent["Removed"] > 0
    assert total.acknowledged > 20


def test_the_same_seed_is_the_same_history() -> None:
    assert fuzz(Plan(7)) == fuzz(Plan(7))


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_is_its_text(seed: int) -> None:
    plan = Plan(seed, members=5)
    faults = plan.schedule()
    assert parse(render(faults)) == list(faults)


def test_every_fault_is_drawn() -> None:
    drawn = {fault.kind for seed in range(60) for fault in Plan(seed).schedule()}
    assert drawn >= {"crash", "kill", "blackout", "tear", "full", "broken", "slowdisk", "flip"}
    assert drawn >= {"segment", "wipe", "partition", "oneway", "slowlink", "drop", "repeat"}
    assert drawn >= {"delay", "hide", "clock", "say", "deaf", "handover"}
    assert drawn >= {"add", "voter", "remove", "replace"}


@pytest.mark.parametrize("text", ["1.0 crash", "x crash a for 1", "1 explode a for 1", "1 for 2"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a fault|could not convert"):
        parse(text)


def test_a_schedule_may_be_written_by_hand() -> None:
    faults = parse("1.0 crash leader for 0.5; 2.0 partition a|bc for 1  # the majority goes on\n")
    assert faults == [
        Fault(1.0, "crash", ("leader",), 0.5),
        Fault(2.0, "partition", ("a|bc",), 1.0),
    ]
    total = fuzz(Plan(1, faults=tuple(faults)))
    assert total.faults["crash"] == 1
    assert total.acknowledged > 20


@pytest.mark.parametrize("damage", ["flip c 1.000 1.00000 2", "segment c 1.000"])
def test_a_share_that_was_rounded_up_is_the_last_one(damage: str) -> None:
    total = fuzz(Plan(1, faults=tuple(parse(f"4.0 {damage} for 0.1"))))
    assert total.faults["detected"] + total.faults["harmless"] == 1
