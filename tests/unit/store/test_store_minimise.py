"""A failing schedule is cut down to what it takes."""

from dataclasses import replace

import pytest
from store_faults import Fault, parse
from store_fuzz import Plan
from store_minimise import Minimiser, describe, why_it_fails
from store_soak import command, main


def needs(*kinds: str, clients: int = 1, for_s: float = 0.0) -> Minimiser:
    """A minimiser of plans that fail when faults of these kinds are in this order among others."""

    def fails(plan: Plan) -> str | None:
        wanted = list(kinds)
        for fault in plan.faults or ():
            if wanted and fault.kind == wanted[0] and fault.for_s >= for_s:
                wanted.pop(0)
        return None if wanted or plan.clients < clients else "as expected"

    return Minimiser(fails)


def test_only_what_is_needed_is_left() -> None:
    plan = Plan(1, clients=5, faults=Plan(3).schedule())
    kinds = [fault.kind for fault in plan.schedule()]
    first, last = kinds[len(kinds) // 3], kinds[-1]
    minimiser = needs(first, last, clients=2, for_s=0.01)
    least = minimiser.run(plan)
    assert [fault.kind for fault in least.faults or ()] == [first, last]
    assert least.clients == 2
    assert all(fault.for_s <= 2 * 0.01 + 0.75 for fault in least.faults or ())
    assert minimiser.why == "as expected"


def test_a_plan_that_fails_by_itself_needs_no_fault() -> None:
    assert needs().run(Plan(1)).faults == ()
    assert "nothing goes wrong" in describe(())


def test_what_does_not_fail_is_not_minimised() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        needs("no such fault").run(Plan(1))


def test_it_gives_up_after_so_many_runs() -> None:
    runs: list[Plan] = []

    def fails(plan: Plan) -> str:
        runs.append(plan)
        return "always"

    Minimiser(fails, max_runs=3).run(Plan(1))
    assert len(runs) == 3


def test_a_good_plan_does_not_fail() -> None:
    assert why_it_fails(Plan(1, faults=())) is None


def test_the_command_says_everything() -> None:
    faults = (Fault(1.0, "crash", ("a",), 0.5), Fault(2.0, "partition", ("a|bc",), 1.0))
    plan = Plan(7, 3, faults=faults)
    assert command(replace(plan, faults=None)).endswith(
        "soak store --start 7 --seeds 1 --members 3"
    )
    text = command(replace(plan, clients=1))
    assert text.endswith(
        "--clients 1 --faults '1.000 crash a for 0.500; 2.000 partition a|bc for 1.000'"
    )
    assert parse(text.split("'")[1]) == list(faults)


def test_a_soak_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--start", "5", "--members", "1"]) == 0
    assert "2 seeds: 0 failed" in capsys.readouterr().out


def test_a_trace_tells_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = "1.0 crash a for 0.2"
    assert main(["--start", "5", "--members", "1", "--faults", schedule, "--trace"]) == 0
    out = capsys.readouterr().out
    assert "1.000 crash a for 0.200" in out
    assert "1.200 a starts" in out
